package bolt

import (
	"errors"
	"os"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// A ledger of schema 1 gets the counters that schema 2 added, after a copy was made that
// an earlier archiverd still opens. Opened with ReadOnly, it is not changed.
func TestSchema1IsMigrated(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	for recording, to := range map[string]state.State{"r1": state.StateArchived, "r2": state.StateGone, "r3": state.StateListed} {
		statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: recording}, to)
	}
	doubted := func(e *state.Entry) { e.Versions[len(e.Versions)-1].Suspect = "cut" }
	_, err := l.Move(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateArchived, state.StateArchived, doubted)
	statetest.Must(t, err)
	statetest.Must(t, l.db.Update(func(tx *bbolt.Tx) error {
		in, err := getInbox(tx, "acme/u1")
		statetest.Must(t, err)
		in.Suspect = 0
		statetest.Must(t, putInbox(tx, "acme/u1", in))
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte("1"))
	}))
	statetest.Must(t, l.Close())

	read := open(t, path, Options{ReadOnly: true})
	if in, err := read.Inbox(t.Context(), "acme", "u1"); err != nil || in.Suspect != 0 {
		t.Errorf("read only: %+v, %v", in, err)
	}
	statetest.Must(t, read.Close())
	if _, err := os.Stat(path + ".schema1"); err == nil {
		t.Error("reading made a copy")
	}

	l = open(t, path, Options{})
	if in, err := l.Inbox(t.Context(), "acme", "u1"); err != nil || in.Suspect != 1 || in.Unproved != 0 {
		t.Errorf("migrated: %+v, %v", in, err)
	}
	if now, err := l.schema(); err != nil || now != schema {
		t.Errorf("schema %d, %v", now, err)
	}
	statetest.Must(t, l.Check())
	before := open(t, path+".schema1", Options{ReadOnly: true})
	if was, err := before.schema(); err != nil || was != 1 {
		t.Errorf("the copy has schema %d, %v", was, err)
	}
	statetest.Must(t, before.Close())
}

// A ledger of schema 2 gets the index. Until it is opened for writing, Search reads every
// entry; a try that was interrupted begins anew.
func TestSchema2GetsTheIndex(t *testing.T) {
	for name, left := range map[string]func(tx *bbolt.Tx) error{
		"first try": func(*bbolt.Tx) error { return nil },
		"interrupted": func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("search"))
			if err == nil {
				b, err = b.CreateBucket([]byte("acme/u1"))
			}
			return errors.Join(err, b.Put([]byte("stale row"), []byte("x")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			l := open(t, path, Options{})
			for _, s := range state.States() {
				statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: string(s)}, s)
			}
			statetest.Must(t, l.db.Update(func(tx *bbolt.Tx) error {
				return errors.Join(tx.DeleteBucket([]byte("search")), tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte("2")))
			}))
			statetest.Must(t, l.Close())
			find := func(l *Ledger) {
				t.Helper()
				var got []string
				statetest.Must(t, l.Search(t.Context(), state.Query{Selection: state.Selection{Name: "N"}, Limit: 3}, func(k state.Key, _ *state.Entry) error {
					got = append(got, k.Recording)
					return nil
				}))
				statetest.Same(t, got, []string{"archived", "delete_requested", "deleted"})
			}
			read := open(t, path, Options{ReadOnly: true})
			find(read)
			statetest.Must(t, read.Close())
			db, err := bbolt.Open(path, 0o600, nil)
			statetest.Must(t, err)
			statetest.Must(t, errors.Join(db.Update(left), db.Close()))
			read = open(t, path, Options{ReadOnly: true})
			find(read)
			statetest.Must(t, errors.Join(read.Recount(t.Context()), read.Close()))
			l = open(t, path, Options{})
			find(l)
			statetest.Must(t, l.Check())
		})
	}
}
