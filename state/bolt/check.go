package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// checkLimit is the largest number of faults that Check returns.
const checkLimit = 20

// Check reads the whole file and checks that it keeps the promises of this package: its
// pages are sound, also by bbolt's own check; every entry is readable, valid, and in the
// bucket of its state alone, and in the index as it is; counters equal a recount; the inboxes hold every inbox that
// has data elsewhere; events, passes, uploads and tokens are readable. Check returns up
// to 20 faults, joined. Writers wait while it runs.
func (l *Ledger) Check() error {
	l.writing.Lock() // bbolt's check must not run beside a writer
	defer l.writing.Unlock()
	return l.read(func(tx *bbolt.Tx) error {
		h, err := readHeader(l.file)
		if err != nil {
			return fmt.Errorf("check ledger: %w", err)
		}
		c := checker{tx: tx, l: l}
		c.fault((&pageTree{header: h, file: l.file, seen: map[uint64]bool{}}).check())
		if len(c.faults) == 0 {
			for err := range tx.Check() {
				c.fault(err)
			}
		}
		if len(c.faults) == 0 { // else the file may be unreadable
			c.buckets()
			c.inboxes()
			c.started(tx.Bucket([]byte("runs")), "run", runsKept, func(data []byte) (string, error) {
				var r state.Run
				err := codec.Unmarshal(data, &r)
				return startKey(r.Start, r.ID), err
			})
			c.uploads()
		}
		if len(c.faults) > 0 {
			return fmt.Errorf("check ledger: %w", damaged(errors.Join(c.faults...)))
		}
		return nil
	})
}

type checker struct {
	tx     *bbolt.Tx
	l      *Ledger
	faults []error
}

func (c *checker) fault(err error) {
	if err != nil && len(c.faults) < checkLimit {
		c.faults = append(c.faults, err)
	}
}

func (c *checker) faultf(format string, args ...any) {
	c.fault(fmt.Errorf(format, args...))
}

// buckets checks that no data belong to an unknown bucket or inbox.
func (c *checker) buckets() {
	c.fault(c.tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
		if !slices.Contains(buckets[:], string(name)) {
			c.faultf("unknown bucket %q", name)
		}
		return nil
	}))
	inboxes := c.tx.Bucket([]byte("inboxes"))
	for _, top := range []string{"tokens", "live", "past", "search", "raw", "events", "passes"} {
		b := c.tx.Bucket([]byte(top))
		if b == nil {
			continue // search, of an older file that is only read
		}
		c.fault(b.ForEach(func(k, v []byte) error {
			if inboxes.Get(k) == nil {
				c.faultf("%s: no inbox %q", top, k)
			}
			if (v != nil) != (top == "tokens") {
				c.faultf("%s: %q has the wrong form", top, k)
			}
			return nil
		}))
	}
}

func (c *checker) inboxes() {
	c.fault(c.tx.Bucket([]byte("inboxes")).ForEach(func(k, _ []byte) error {
		key := string(k)
		in, err := getInbox(c.tx, key)
		if err != nil {
			c.fault(err)
			return nil
		}
		if in.Org != "" || in.ID != "" || in.LastPass != nil {
			c.faultf("inbox %q repeats what is kept elsewhere", key)
		}
		if _, err := inboxKey(splitKey(k)); err != nil {
			c.faultf("inbox %q: %w", key, err)
		}
		var count state.Inbox
		c.entries(key, "live", &count)
		c.entries(key, "past", &count)
		c.fault(c.l.recount(key)) // also of the index
		c.raw(key)
		if !maps.Equal(in.Counts, count.Counts) || in.Bytes != count.Bytes || in.Totals.Archived != count.Totals.Archived || in.NeedsPerson != count.NeedsPerson {
			c.faultf("inbox %q counts %v, %d bytes, %d versions and %d for a person, but has %v, %d, %d and %d", key,
				in.Counts, in.Bytes, in.Totals.Archived, in.NeedsPerson, count.Counts, count.Bytes, count.Totals.Archived, count.NeedsPerson)
		}
		if in.Suspect != count.Suspect || in.Unproved != count.Unproved {
			c.faultf("inbox %q counts %d suspect recordings and %d unproved, but has %d and %d", key, in.Suspect, in.Unproved, count.Suspect, count.Unproved)
		}
		c.events(key)
		c.started(c.tx.Bucket([]byte("passes")).Bucket(k), fmt.Sprintf("pass of inbox %q", key), passesKept, func(data []byte) (string, error) {
			var p state.Pass
			err := codec.Unmarshal(data, &p)
			return startKey(p.Start, ""), err
		})
		if data := c.tx.Bucket([]byte("tokens")).Get(k); data != nil {
			if _, err := c.l.token(key, data); err != nil {
				c.faultf("token of %q: %w", key, err)
			}
		}
		return nil
	}))
}

// entries checks the entries of an inbox in one bucket, and adds them to count.
func (c *checker) entries(inbox, top string, count *state.Inbox) {
	b := c.tx.Bucket([]byte(top)).Bucket([]byte(inbox))
	if b == nil {
		return
	}
	org, id := splitKey([]byte(inbox))
	c.fault(b.ForEach(func(k, v []byte) error {
		key := state.Key{Org: org, Inbox: id, Recording: string(k)}
		e, err := c.l.entries.Decode(v)
		if err != nil {
			c.faultf("entry %s: %w", key, err)
			return nil
		}
		if bucketOf(e.State) != top {
			c.faultf("entry %s is %s, but among the %s", key, e.State, top)
		}
		if top == "past" {
			if live := c.tx.Bucket([]byte("live")).Bucket([]byte(inbox)); live != nil && live.Get(k) != nil {
				c.faultf("entry %s is there twice", key)
			}
		}
		if rows := indexIn(c.tx); rows != nil {
			if rows = rows.Bucket([]byte(inbox)); rows == nil || !bytes.Equal(rows.Get(rowKey(e.Created().UnixMilli(), key.Recording)), appendRow(nil, key.Recording, e)) {
				c.faultf("the index does not hold entry %s as it is", key)
			}
		}
		count.Account(nil, e)
		return nil
	}))
}

// raw checks that every Raw belongs to an entry that may have one.
func (c *checker) raw(inbox string) {
	b := c.tx.Bucket([]byte("raw")).Bucket([]byte(inbox))
	if b == nil {
		return
	}
	org, id := splitKey([]byte(inbox))
	c.fault(b.ForEach(func(k, v []byte) error {
		key := state.Key{Org: org, Inbox: id, Recording: string(k)}
		e, err := c.l.getEntry(c.tx, inbox, key)
		if err == nil && (e == nil || e.State.Stored() || len(v) == 0) {
			c.faultf("recording %s as listed has no use", key)
		}
		return nil
	}))
}

func (c *checker) events(inbox string) {
	b := c.tx.Bucket([]byte("events")).Bucket([]byte(inbox))
	if b == nil {
		return
	}
	if err := countEvents(b); err != nil {
		c.faultf("inbox %q: %w", inbox, err)
	}
	c.fault(b.ForEach(func(k, v []byte) error {
		ev, err := decodeEvent(k, v)
		if err != nil || ev.Number > b.Sequence() || ev.Accepted == nil && !state.Allowed(ev.From, ev.To) {
			c.faultf("inbox %q: event %d of %d, from %q to %q: %v", inbox, ev.Number, b.Sequence(), ev.From, ev.To, err)
		}
		return nil
	}))
}

// started checks records whose key is their start: passes of an inbox, or runs.
func (c *checker) started(b *bbolt.Bucket, what string, most int, keyOf func(data []byte) (string, error)) {
	if b == nil {
		return
	}
	n := 0
	c.fault(b.ForEach(func(k, v []byte) error {
		if key, err := keyOf(v); err != nil || key != string(k) {
			c.faultf("%s %q: %v, and its key should be %q", what, k, err, key)
		}
		n++
		return nil
	}))
	if n > most {
		c.faultf("%s has %d where %d are kept", what, n, most)
	}
}

func (c *checker) uploads() {
	c.fault(c.tx.Bucket([]byte("uploads")).ForEach(func(k, v []byte) error {
		u, err := decodeUpload(k, v)
		if err == nil {
			_, err = uploadKey(u.Key, u.ID)
		}
		c.fault(err)
		return nil
	}))
}
