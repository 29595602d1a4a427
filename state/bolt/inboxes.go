package bolt

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// getInbox returns the stored record, without the fields that addKept adds; nil if there
// is none.
func getInbox(tx *bbolt.Tx, key string) (*state.Inbox, error) {
	data := tx.Bucket([]byte("inboxes")).Get([]byte(key))
	if data == nil {
		return nil, nil
	}
	var in state.Inbox
	if err := codec.Unmarshal(data, &in); err != nil {
		return nil, damaged(fmt.Errorf("inbox %s: %w", key, err))
	}
	return &in, nil
}

func putInbox(tx *bbolt.Tx, key string, in *state.Inbox) error {
	c := *in
	c.Org, c.ID, c.LastPass = "", "", nil
	return putJSON(tx.Bucket([]byte("inboxes")), key, &c)
}

// addKept sets the fields of an inbox that are not in its record.
func addKept(in *state.Inbox, tx *bbolt.Tx, key string) error {
	in.Org, in.ID = splitKey([]byte(key))
	passes, err := getPasses(tx, key, 1)
	if len(passes) > 0 {
		in.LastPass = &passes[0]
	}
	return err
}

// Inbox implements state.Inboxes.
func (l *Ledger) Inbox(ctx context.Context, org, id string) (state.Inbox, error) {
	key, err := inboxKey(org, id)
	if err != nil {
		return state.Inbox{}, fmt.Errorf("read inbox: %w", err)
	}
	var in *state.Inbox
	err = l.view(ctx, func(tx *bbolt.Tx) (err error) {
		if in, err = getInbox(tx, key); err != nil {
			return err
		}
		if in == nil {
			return state.ErrNotFound
		}
		return addKept(in, tx, key)
	})
	if err != nil {
		return state.Inbox{}, fmt.Errorf("read inbox %s: %w", key, err)
	}
	return *in, nil
}

// Inboxes implements state.Inboxes.
func (l *Ledger) Inboxes(ctx context.Context, org string) ([]state.Inbox, error) {
	keys, err := l.inboxKeys(ctx, org, "")
	if err != nil {
		return nil, fmt.Errorf("read inboxes: %w", err)
	}
	out := make([]state.Inbox, 0, len(keys))
	for _, key := range keys {
		o, id := splitKey([]byte(key))
		in, err := l.Inbox(ctx, o, id)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// EditInbox implements state.Inboxes. edit runs once.
func (l *Ledger) EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error {
	err := l.changeInbox(ctx, l.update, org, id, func(p *page) error {
		was := p.inbox.Clone()
		if err := errors.Join(addKept(was, p.tx, p.key), p.edit(edit)); err != nil || !p.inbox.Equal(was) {
			return err
		}
		return errUnchanged
	})
	if err != nil {
		return fmt.Errorf("edit inbox %s/%s: %w", org, id, err)
	}
	return nil
}

// edit edits the inbox as state.Inbox.Edit does.
func (p *page) edit(edit func(*state.Inbox)) error {
	if err := addKept(p.inbox, p.tx, p.key); err != nil {
		return err
	}
	p.inbox.Edit(edit)
	return nil
}

// passesKept is how many passes are kept for an inbox.
const passesKept = 100

// startTime is RFC 3339 in UTC with all nine digits, so that keys sort.
const startTime = "2006-01-02T15:04:05.000000000Z"

// AddPass implements state.Inboxes. Concurrent calls share a transaction, so edit may
// run more than once.
func (l *Ledger) AddPass(ctx context.Context, org, inbox string, p state.Pass, edit func(*state.Inbox)) error {
	err := l.changeInbox(ctx, l.batch, org, inbox, func(pg *page) error {
		pg.inbox.Totals.Findings += p.Findings
		b, err := nested(pg.tx, "passes", pg.key)
		if err != nil {
			return err
		}
		if err := addStarted(b, p.Start, "", &p, passesKept); err != nil {
			return err
		}
		return pg.edit(edit)
	})
	if err != nil {
		return fmt.Errorf("add pass of %s/%s: %w", org, inbox, err)
	}
	return nil
}

// addStarted stores v under its start, followed by its id if it has one, and deletes the
// oldest beyond the number kept.
func addStarted(b *bbolt.Bucket, start time.Time, id string, v any, kept int) error {
	if y := start.UTC().Year(); start.IsZero() || y < 1 || y > 9999 {
		return fmt.Errorf("its start %v is not a valid time", start)
	}
	if err := putJSON(b, startKey(start, id), v); err != nil {
		return err
	}
	var old [][]byte
	n, c := 0, b.Cursor()
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		if n++; n > kept {
			old = append(old, k)
		}
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

func startKey(start time.Time, id string) string {
	return strings.TrimSpace(start.UTC().Format(startTime) + " " + id)
}

// Passes implements state.Inboxes.
func (l *Ledger) Passes(ctx context.Context, org, inbox string, limit int) ([]state.Pass, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("read passes: %w", err)
	}
	var out []state.Pass
	err = l.view(ctx, func(tx *bbolt.Tx) (err error) {
		out, err = getPasses(tx, key, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read passes of %s: %w", key, err)
	}
	return out, nil
}

func getPasses(tx *bbolt.Tx, key string, limit int) ([]state.Pass, error) {
	return newest[state.Pass](tx.Bucket([]byte("passes")).Bucket([]byte(key)), limit)
}

// newest reads records that addStarted stored, newest first. b may be nil.
func newest[T any](b *bbolt.Bucket, limit int) ([]T, error) {
	if b == nil {
		return nil, nil
	}
	var out []T
	c := b.Cursor()
	for k, data := c.Last(); k != nil && len(out) < limit; k, data = c.Prev() {
		var v T
		if err := codec.Unmarshal(data, &v); err != nil {
			return nil, damaged(fmt.Errorf("the record of start %s: %w", k, err))
		}
		out = append(out, v)
	}
	return out, nil
}
