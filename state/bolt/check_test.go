package bolt

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// setEntry edits an entry behind the ledger's back.
func setEntry(l *Ledger, k state.Key, edit func(*state.Entry)) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		key := k.Org + "/" + k.Inbox
		e, err := l.getEntry(tx, key, k)
		if err != nil {
			return err
		}
		b, err := nested(tx, bucketOf(e.State), key)
		if err != nil {
			return err
		}
		in, err := getInbox(tx, key)
		if err != nil {
			return err
		}
		was := e.Clone()
		edit(e)
		counts, totals := maps.Clone(in.Counts), in.Totals
		in.Account(&was, e)
		in.Counts, totals.Archived = counts, in.Totals.Archived // setEntry does not change the counters
		in.Totals = totals
		data, err := l.entries.Encode(e)
		if err != nil {
			return err
		}
		if err := putInbox(tx, key, in); err != nil {
			return err
		}
		return b.Put([]byte(k.Recording), data)
	}
}

// TestCheckFinds breaks a good ledger in every way that Check detects.
func TestCheckFinds(t *testing.T) {
	const in = "acme/u1"
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	raw := func(top string, path ...string) func(*bbolt.Tx) error { // path: nested buckets, key, value
		return func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(top))
			for _, name := range path[:len(path)-2] {
				var err error
				if b, err = b.CreateBucketIfNotExists([]byte(name)); err != nil {
					return err
				}
			}
			return b.Put([]byte(path[len(path)-2]), []byte(path[len(path)-1]))
		}
	}
	edited := func(l *Ledger, edit func(*state.Entry)) string {
		e, err := l.Entry(t.Context(), k)
		statetest.Must(t, err)
		edit(&e)
		data, err := l.entries.Encode(&e)
		statetest.Must(t, err)
		return string(data)
	}
	faults := map[string]func(*Ledger) func(*bbolt.Tx) error{
		"unknown bucket": func(*Ledger) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("more")); return err }
		},
		"counts map": func(*Ledger) func(*bbolt.Tx) error {
			return raw("inboxes", in, `{"counts":{"archived":2},"bytes":1000,"totals":{"archived":1}}`)
		},
		"archived:1], 1000, 1 and 0": func(*Ledger) func(*bbolt.Tx) error {
			return raw("inboxes", in, `{"counts":{"archived":1},"bytes":1001,"totals":{"archived":1}}`)
		},
		"2 versions": func(*Ledger) func(*bbolt.Tx) error {
			return raw("inboxes", in, `{"counts":{"archived":1},"bytes":1000,"totals":{"archived":2}}`)
		},
		"repeats": func(*Ledger) func(*bbolt.Tx) error { return raw("inboxes", in, `{"org":"acme"}`) },
		"inbox acme/u1: ": func(*Ledger) func(*bbolt.Tx) error {
			return raw("inboxes", in, `{"unheard":1}`)
		},
		"no inbox":     func(*Ledger) func(*bbolt.Tx) error { return raw("live", "acme/u2", "r1", "x") },
		"want letters": func(*Ledger) func(*bbolt.Tx) error { return raw("inboxes", "ACME/u1", "{}") },
		"wrong form":   func(*Ledger) func(*bbolt.Tx) error { return raw("live", in+"x", "x") },
		"but among the live": func(l *Ledger) func(*bbolt.Tx) error {
			return setEntry(l, k, func(e *state.Entry) { e.State = state.StateGone })
		},
		"is there twice": func(l *Ledger) func(*bbolt.Tx) error {
			return raw("past", in, "r1", edited(l, func(e *state.Entry) { e.State = state.StateGone }))
		},
		"cut short": func(*Ledger) func(*bbolt.Tx) error { return raw("live", in, "r1", "\xff\xff\xff") },
		"stands before it": func(l *Ledger) func(*bbolt.Tx) error {
			return raw("live", in, "r1", "\x042026"+edited(l, func(*state.Entry) {})[1:])
		},
		"flate": func(*Ledger) func(*bbolt.Tx) error { return raw("live", in, "r1", "\x00no flate") },
		"archived without a version": func(l *Ledger) func(*bbolt.Tx) error {
			return setEntry(l, k, func(e *state.Entry) { e.Versions = nil })
		},
		"has no use":   func(*Ledger) func(*bbolt.Tx) error { return raw("raw", in, "r1", "{}") },
		"r2 as listed": func(*Ledger) func(*bbolt.Tx) error { return raw("raw", in, "r2", "{}") },
		"event 7 of 1": func(*Ledger) func(*bbolt.Tx) error {
			return raw("events", in, string(eventKey(7)), `{"at":"2026-11-23T00:00:00Z","from":"listed","to":"archived"}`+"\nr1")
		},
		"from \"deleted\" to \"vanished\"": func(*Ledger) func(*bbolt.Tx) error {
			return raw("events", in, string(eventKey(1)), `{"at":"2026-11-23T00:00:00Z","from":"deleted","to":"vanished"}`+"\nr1")
		},
		"pass": func(*Ledger) func(*bbolt.Tx) error { return raw("passes", in, "2026", "{}") },
		"has 101 where": func(*Ledger) func(*bbolt.Tx) error {
			return func(tx *bbolt.Tx) error {
				for i := range 101 {
					at := testTime.Add(time.Duration(i) * time.Hour)
					v := fmt.Sprintf(`{"start":%q}`, at.Format(time.RFC3339Nano))
					if err := raw("passes", in, at.Format(startTime), v)(tx); err != nil {
						return err
					}
				}
				return nil
			}
		},
		"token of":           func(*Ledger) func(*bbolt.Tx) error { return raw("tokens", in, "{") },
		"upload \"k\\x00i\"": func(*Ledger) func(*bbolt.Tx) error { return raw("uploads", "k\x00i", "{") },
		"an upload with":     func(*Ledger) func(*bbolt.Tx) error { return raw("uploads", "k", "{}") },
	}
	for want, fault := range faults {
		t.Run(want, func(t *testing.T) {
			l, err := Open(newPath(t), Options{})
			statetest.Must(t, err)
			defer l.Close()
			statetest.Bring(t, l, k, state.StateArchived)
			statetest.Must(t, l.Check())
			statetest.Must(t, l.db.Update(fault(l)))
			if err := l.Check(); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Check: %v", err)
			}
		})
	}
}
