package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// Entry implements state.Recordings.
func (l *Ledger) Entry(ctx context.Context, k state.Key) (state.Entry, error) {
	in, err := inboxKey(k.Org, k.Inbox)
	if err != nil {
		return state.Entry{}, fmt.Errorf("read entry: %w", err)
	}
	var e *state.Entry
	err = l.view(ctx, func(tx *bbolt.Tx) (err error) {
		e, err = l.getEntry(tx, in, k)
		return err
	})
	if err == nil && e == nil {
		err = state.ErrNotFound
	}
	if err != nil {
		return state.Entry{}, fmt.Errorf("read entry %s: %w", k, err)
	}
	return *e, nil
}

// Entries implements state.Recordings.
func (l *Ledger) Entries(ctx context.Context, org, inbox string, recordings []string) (map[string]state.Entry, error) {
	in, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	found := map[string]state.Entry{}
	err = l.view(ctx, func(tx *bbolt.Tx) error {
		for _, r := range recordings {
			switch e, err := l.getEntry(tx, in, state.Key{Org: org, Inbox: inbox, Recording: r}); {
			case err != nil:
				return fmt.Errorf("%q: %w", r, err)
			case e != nil:
				found[r] = *e
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read entries of %s: %w", in, err)
	}
	return found, nil
}

// Move implements state.Recordings. Concurrent Moves share a transaction and its fsync;
// if one fails, the others succeed.
func (l *Ledger) Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	var e *state.Entry
	err := l.changeInbox(ctx, l.batch, k.Org, k.Inbox, func(p *page) (err error) {
		e, err = p.apply(state.Change{Recording: k.Recording, From: from, To: to, Edit: edit})
		return err
	})
	if err != nil {
		return state.Entry{}, fmt.Errorf("move %s from %q to %q: %w", k, from, to, err)
	}
	return *e, nil
}

// List implements state.Recordings. f runs once, and every other writer waits for it.
func (l *Ledger) List(ctx context.Context, org, inbox string, _ []string, f func(get func(recording string) (state.Entry, bool)) []state.Change) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		var failed error
		get := func(recording string) (state.Entry, bool) {
			e, err := l.getEntry(p.tx, p.key, state.Key{Org: org, Inbox: inbox, Recording: recording})
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("read entry %q: %w", recording, err))
			}
			if e == nil {
				return state.Entry{}, false
			}
			return *e, true
		}
		changes := f(get)
		if failed == nil && len(changes) == 0 {
			return errUnchanged
		}
		for _, c := range changes {
			if failed != nil {
				break
			}
			if _, err := p.apply(c); err != nil {
				failed = fmt.Errorf("%q from %q to %q: %w", c.Recording, c.From, c.To, err)
			}
		}
		return failed
	})
	if err != nil {
		return fmt.Errorf("list %s/%s: %w", org, inbox, err)
	}
	return nil
}

// page is a transaction on the entries of one inbox.
type page struct {
	tx    *bbolt.Tx
	l     *Ledger
	key   string
	inbox *state.Inbox
}

// errUnchanged rolls back a transaction that changes nothing, which costs no write. Most
// inboxes have nothing new most of the time.
var errUnchanged = errors.New("nothing to change")

// changeInbox runs f in a transaction and stores the inbox's record, which it creates if
// there is none. run is update or batch. If f returns errUnchanged, changeInbox returns
// nil.
func (l *Ledger) changeInbox(ctx context.Context, run transaction, org, inbox string, f func(*page) error) error {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return err
	}
	err = run(ctx, func(tx *bbolt.Tx) error {
		in, err := getInbox(tx, key)
		if err != nil {
			return err
		}
		known := in != nil
		if !known {
			in = &state.Inbox{AddedAt: l.now()}
		}
		was := in.Clone()
		if err := f(&page{tx, l, key, in}); err != nil && (known || err != errUnchanged) {
			return err
		}
		if known && in.Equal(was) {
			return nil
		}
		return putInbox(tx, key, in)
	})
	if err == errUnchanged {
		return nil
	}
	return err
}

// apply makes one change and updates the counters.
func (p *page) apply(c state.Change) (*state.Entry, error) {
	org, inbox := splitKey([]byte(p.key))
	k := state.Key{Org: org, Inbox: inbox, Recording: c.Recording}
	if err := state.CheckRecording(c.Recording); err != nil {
		return nil, err
	}
	old, err := p.l.getEntry(p.tx, p.key, k)
	if err != nil {
		return nil, err
	}
	e, ev, err := c.Apply(k, old, p.l.now())
	if err != nil {
		return nil, err
	}
	if err := p.l.putEntry(p.tx, p.key, k, old, e); err != nil {
		return nil, err
	}
	p.inbox.Account(old, e)
	if ev == nil {
		return e, nil
	}
	return e, p.addEvent(*ev)
}

func bucketOf(s state.State) string {
	if s.Past() {
		return "past"
	}
	return "live"
}

// getEntry returns an entry, or nil if there is none.
func (l *Ledger) getEntry(tx *bbolt.Tx, inbox string, k state.Key) (*state.Entry, error) {
	for _, top := range []string{"live", "past"} {
		b := tx.Bucket([]byte(top)).Bucket([]byte(inbox))
		if b == nil {
			continue
		}
		if data := b.Get([]byte(k.Recording)); data != nil {
			return l.readEntry(tx, inbox, k, data)
		}
	}
	return nil, nil
}

// readEntry decodes data and adds Raw.
func (l *Ledger) readEntry(tx *bbolt.Tx, inbox string, k state.Key, data []byte) (*state.Entry, error) {
	e, err := l.entries.Decode(data)
	if err != nil {
		return nil, damaged(fmt.Errorf("entry %s: %w", k, err))
	}
	if b := tx.Bucket([]byte("raw")).Bucket([]byte(inbox)); b != nil {
		e.Raw = bytes.Clone(b.Get([]byte(k.Recording)))
	}
	return e, nil
}

// putEntry writes e in place of old, which may be nil.
func (l *Ledger) putEntry(tx *bbolt.Tx, inbox string, k state.Key, old, e *state.Entry) error {
	data, err := l.entries.Encode(e)
	if err != nil {
		return err
	}
	indexed := old
	if old == nil {
		old = &state.Entry{State: e.State}
	}
	if was, is := bucketOf(old.State), bucketOf(e.State); was != is {
		if err := put(tx, was, inbox, k.Recording, nil); err != nil {
			return err
		}
	}
	if !bytes.Equal(old.Raw, e.Raw) {
		if err := put(tx, "raw", inbox, k.Recording, e.Raw); err != nil {
			return err
		}
	}
	if err := index(tx, inbox, k.Recording, indexed, e); err != nil {
		return err
	}
	return put(tx, bucketOf(e.State), inbox, k.Recording, data)
}

// put writes a value of an inbox, or deletes it if data is empty.
func put(tx *bbolt.Tx, top, inbox, key string, data []byte) error {
	b, err := nested(tx, top, inbox)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return b.Delete([]byte(key))
	}
	return b.Put([]byte(key), data)
}

// Archived implements state.Recordings.
func (l *Ledger) Archived(ctx context.Context, org, inbox string, recordings []string) ([]string, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("look entries up: %w", err)
	}
	dates := make([]string, len(recordings))
	err = l.view(ctx, func(tx *bbolt.Tx) error {
		live := tx.Bucket([]byte("live")).Bucket([]byte(key))
		if live == nil {
			return nil
		}
		for i, recording := range recordings {
			data := live.Get([]byte(recording))
			if data == nil {
				continue
			}
			date, _, err := codec.Settled(data)
			if err != nil {
				return damaged(fmt.Errorf("entry %q: %w", recording, err))
			}
			dates[i] = string(date)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look entries of %s up: %w", key, err)
	}
	return dates, nil
}

// Live implements state.Recordings.
func (l *Ledger) Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error) {
	return l.live(ctx, org, inbox, after, limit, func(k, _ []byte) bool { return skip != nil && skip(string(k)) })
}

// Waiting implements state.Recordings. An entry with Settled is skipped without decoding.
func (l *Ledger) Waiting(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error) {
	return l.live(ctx, org, inbox, after, limit, l.waitsNot)
}

// waitsNot reports whether an entry is neither listed nor failed. It decodes only entries
// without Settled.
func (l *Ledger) waitsNot(_, v []byte) bool {
	date, _, _ := codec.Settled(v)
	if len(date) > 0 {
		return true
	}
	e, err := l.entries.Decode(v)
	return err == nil && e.State != state.StateListed && e.State != state.StateFailed
}

func (l *Ledger) live(ctx context.Context, org, inbox, after string, limit int, skip func(k, v []byte) bool) ([]state.KeyedEntry, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	var out []state.KeyedEntry
	err = l.view(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = l.collect(tx, stretch{key, after, limit}, skip, "live")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read entries of %s/%s: %w", org, inbox, err)
	}
	return out, nil
}

// scanChunk is the number of entries that Scan reads in one transaction. A read
// transaction must be short, because it keeps freed pages from being reused.
const scanChunk = 256

// Scan implements state.Recordings. It returns ErrDamaged if the number of entries in the
// file differs from the counters.
func (l *Ledger) Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error {
	return l.scan(ctx, org, inbox, func(_, _ []byte) bool { return false }, f, "live", "past")
}

// ScanWaiting implements state.Recordings.
func (l *Ledger) ScanWaiting(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error {
	return l.scan(ctx, org, inbox, l.waitsNot, f, "live")
}

func (l *Ledger) scan(ctx context.Context, org, inbox string, skip func(k, v []byte) bool, f func(state.Key, *state.Entry) error, tops ...string) error {
	keys, err := l.inboxKeys(ctx, org, inbox)
	if err != nil {
		return fmt.Errorf("scan ledger: %w", err)
	}
	for _, key := range keys {
		seen := int64(0)
		counted := func(k, v []byte) bool { seen++; return skip(k, v) }
		for after := ""; ; {
			var chunk []state.KeyedEntry
			err := l.view(ctx, func(tx *bbolt.Tx) (err error) {
				chunk, err = l.collect(tx, stretch{key, after, scanChunk}, counted, tops...)
				return err
			})
			if err != nil {
				return fmt.Errorf("scan ledger: %s: %w", key, err)
			}
			for i := range chunk {
				if err := f(chunk[i].Key, &chunk[i].Entry); err != nil {
					return err
				}
			}
			if len(chunk) < scanChunk {
				break
			}
			after = chunk[len(chunk)-1].Key.Recording
		}
		if err := l.saw(key, seen, tops...); err != nil {
			return fmt.Errorf("scan ledger: %w", err)
		}
	}
	return nil
}

// inboxKeys returns the keys of the inboxes that org and inbox, "" for all, select.
func (l *Ledger) inboxKeys(ctx context.Context, org, inbox string) ([]string, error) {
	var keys []string
	err := l.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("inboxes")).ForEach(func(k, _ []byte) error {
			o, in := splitKey(k)
			if (org == "" || o == org) && (inbox == "" || in == inbox) {
				keys = append(keys, string(k))
			}
			return nil
		})
	})
	return keys, err
}

// stretch is at most limit entries of one inbox, from the first with an id after `after`.
type stretch struct {
	inbox, after string
	limit        int
}

// collect returns the stretch's entries in several buckets, in the order of ids. It leaves
// out those for which skip returns true.
func (l *Ledger) collect(tx *bbolt.Tx, of stretch, skip func(k, v []byte) bool, tops ...string) ([]state.KeyedEntry, error) {
	type pos struct {
		c    *bbolt.Cursor
		k, v []byte
	}
	var at []*pos
	for _, top := range tops {
		if b := tx.Bucket([]byte(top)).Bucket([]byte(of.inbox)); b != nil {
			p := &pos{c: b.Cursor()}
			if p.k, p.v = p.c.Seek([]byte(of.after)); p.k != nil && string(p.k) == of.after {
				p.k, p.v = p.c.Next()
			}
			at = append(at, p)
		}
	}
	org, id := splitKey([]byte(of.inbox))
	var out []state.KeyedEntry
	for len(out) < of.limit {
		var least *pos
		for _, p := range at {
			if p.k != nil && (least == nil || bytes.Compare(p.k, least.k) < 0) {
				least = p
			}
		}
		if least == nil {
			break
		}
		if !skip(least.k, least.v) {
			k := state.Key{Org: org, Inbox: id, Recording: string(least.k)}
			e, err := l.readEntry(tx, of.inbox, k, least.v)
			if err != nil {
				return nil, err
			}
			out = append(out, state.KeyedEntry{Key: k, Entry: *e})
		}
		least.k, least.v = least.c.Next()
	}
	return out, nil
}
