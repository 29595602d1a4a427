package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// Recount compares the entries of every inbox with its counters: their number is right,
// each is found under its key and has a row in the index, no entry belongs to an unknown inbox, and no event between
// others is missing. Any difference is ErrDamaged: if a page loses a part, entries
// disappear without another sign. Recount is far cheaper than Check, because it decodes no
// entry, and it blocks no other method.
func (l *Ledger) Recount(ctx context.Context) error {
	err := l.read(func(tx *bbolt.Tx) error {
		inboxes := tx.Bucket([]byte("inboxes"))
		_, err := countKeys(inboxes)
		for _, top := range []string{"live", "past"} {
			b := tx.Bucket([]byte(top))
			_, failed := countKeys(b)
			err = errors.Join(err, failed, b.ForEach(func(k, _ []byte) error {
				if inboxes.Get(k) == nil {
					return fmt.Errorf("it has entries of inbox %q, and not the inbox", k)
				}
				return nil
			}))
		}
		if err != nil {
			return damaged(err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("recount ledger: %w", err)
	}
	keys, err := l.inboxKeys(ctx, "", "")
	if err != nil {
		return fmt.Errorf("recount ledger: %w", err)
	}
	for _, key := range keys {
		if err := l.recount(key); err != nil {
			return fmt.Errorf("recount ledger: %w", err)
		}
	}
	return nil
}

// recount compares the entries of one inbox with its counters.
func (l *Ledger) recount(key string) error {
	return l.read(func(tx *bbolt.Tx) error {
		in, err := getInbox(tx, key)
		if err != nil || in == nil {
			return err
		}
		for top, holds := range map[string][]string{"live": {"live"}, "past": {"past"}, "search": {"live", "past"}} {
			b := tx.Bucket([]byte(top))
			if top == "search" {
				b = indexIn(tx)
			}
			if b == nil {
				continue
			}
			var have int64
			if b = b.Bucket([]byte(key)); b != nil {
				have, err = countKeys(b)
			}
			if want := counted(in, holds...); err == nil && have != want {
				err = fmt.Errorf("it counts %d recordings and has %d among the %s", want, have, top)
			}
			if err != nil {
				return damaged(fmt.Errorf("inbox %s: %w", key, err))
			}
		}
		if err := countEvents(tx.Bucket([]byte("events")).Bucket([]byte(key))); err != nil {
			return damaged(fmt.Errorf("inbox %s: %w", key, err))
		}
		return nil
	})
}

// countEvents checks that the events are numbered without a gap up to the last number
// given. b may be nil.
func countEvents(b *bbolt.Bucket) error {
	if b == nil {
		return nil
	}
	n, err := countKeys(b)
	first, _ := b.Cursor().First()
	if err == nil && n > 0 && (len(first) != 8 || binary.BigEndian.Uint64(first)+uint64(n)-1 != b.Sequence()) {
		err = fmt.Errorf("%d events from number %x to number %d", n, first, b.Sequence())
	}
	return err
}

// saw recounts an inbox if a scan saw another number of entries than its counters say:
// either entries changed meanwhile, or the file is damaged.
func (l *Ledger) saw(key string, seen int64, tops ...string) error {
	var in *state.Inbox
	err := l.read(func(tx *bbolt.Tx) (err error) {
		in, err = getInbox(tx, key)
		return err
	})
	if err != nil || in == nil || counted(in, tops...) == seen {
		return err
	}
	return l.recount(key)
}

// counted returns the number of entries in some of the buckets, by the counters.
func counted(in *state.Inbox, tops ...string) (n int64) {
	for s, count := range in.Counts {
		if slices.Contains(tops, bucketOf(s)) {
			n += count
		}
	}
	return n
}

// countKeys counts the keys of b. It returns an error if they are not in order, or if a
// look-up does not find one.
func countKeys(b *bbolt.Bucket) (n int64, err error) {
	var last []byte
	looked := b.Cursor()
	c := b.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		found, _ := looked.Seek(k)
		if n > 0 && bytes.Compare(last, k) >= 0 || !bytes.Equal(found, k) {
			return n, fmt.Errorf("key %q is in the wrong place", k)
		}
		last = k
		n++
	}
	return n, nil
}
