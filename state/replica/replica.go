// Package replica copies a ledger into an empty one of any kind, and compares the two.
package replica

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"slices"

	"github.com/archiverd/archiverd/state"
)

// Source is a ledger that can be copied and compared. *bolt.Ledger and *postgres.Ledger
// implement it, and Target.
type Source interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
	Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
	CopyInbox(ctx context.Context, org, inbox string) (state.InboxCopy, error)
	Uploads(ctx context.Context, org, inbox string) ([]state.UploadRef, error)
	Runs(ctx context.Context, limit int) ([]state.Run, error)
}

// Target is a ledger that a copy can be written into.
type Target interface {
	Restore(ctx context.Context, org, inbox string, all []state.Restored) error
	PutInbox(ctx context.Context, c state.InboxCopy) error
	AddUpload(ctx context.Context, u state.UploadRef) error
	AddRun(ctx context.Context, r state.Run) error
}

// ErrDiffers: the two ledgers do not hold the same.
var ErrDiffers = errors.New("the copy differs from the ledger")

// most is more runs than a ledger keeps.
const most = 1000

// chunk is the number of entries that one transaction copies.
const chunk = 1000

// Copy copies all of one ledger into another, which is empty and has the same id. It calls
// copied for each entry. It does not change from.
func Copy(ctx context.Context, from Source, to Target, copied func()) error {
	inboxes, err := from.Inboxes(ctx, "")
	if err != nil {
		return err
	}
	for _, in := range inboxes {
		if err := copyInbox(ctx, from, to, in, copied); err != nil {
			return err
		}
	}
	uploads, err := from.Uploads(ctx, "", "")
	for _, u := range uploads {
		err = errors.Join(err, to.AddUpload(ctx, u))
	}
	runs, runsErr := from.Runs(ctx, most)
	err = errors.Join(err, runsErr)
	for _, r := range slices.Backward(runs) {
		err = errors.Join(err, to.AddRun(ctx, r))
	}
	return err
}

func copyInbox(ctx context.Context, from Source, to Target, in state.Inbox, copied func()) error {
	var some []state.Restored
	put := func() error {
		err := to.Restore(ctx, in.Org, in.ID, some)
		some = nil
		return err
	}
	err := from.Scan(ctx, in.Org, in.ID, func(k state.Key, e *state.Entry) error {
		some = append(some, state.Restored{Recording: k.Recording, Edit: func(to *state.Entry) { *to = e.Clone() }})
		copied()
		if len(some) < chunk {
			return nil
		}
		return put()
	})
	if err == nil {
		err = put()
	}
	if err != nil {
		return err
	}
	c, err := from.CopyInbox(ctx, in.Org, in.ID)
	if err != nil {
		return err
	}
	return to.PutInbox(ctx, c)
}

// Compare returns ErrDiffers if the ledgers differ in any entry, inbox, pass, event, token,
// upload or run. It calls compared for each entry.
func Compare(ctx context.Context, a, b Source, compared func()) error {
	inboxes, err := equal("the inboxes", func(l Source) (any, error) { return l.Inboxes(ctx, "") }, a, b)
	if err != nil {
		return err
	}
	for _, in := range inboxes.([]state.Inbox) {
		name := "inbox " + in.Org + "/" + in.ID
		if _, err := equal(name, func(l Source) (any, error) { return l.CopyInbox(ctx, in.Org, in.ID) }, a, b); err != nil {
			return err
		}
	}
	if _, err := equal("the uploads", func(l Source) (any, error) { return l.Uploads(ctx, "", "") }, a, b); err != nil {
		return err
	}
	if _, err := equal("the runs", func(l Source) (any, error) { return l.Runs(ctx, most) }, a, b); err != nil {
		return err
	}
	return compareEntries(ctx, a, b, compared)
}

// equal compares what the ledgers give, and returns it.
func equal(what string, read func(Source) (any, error), a, b Source) (any, error) {
	have, err := read(a)
	if err != nil {
		return nil, err
	}
	other, err := read(b)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(have, other) {
		return nil, fmt.Errorf("%w: %s", ErrDiffers, what)
	}
	return have, nil
}

// compareEntries walks through both ledgers side by side: all have the same order.
func compareEntries(ctx context.Context, a, b Source, compared func()) error {
	var failedA, failedB error
	next, stop := iter.Pull2(entries(ctx, b, &failedB))
	defer stop()
	for k, e := range entries(ctx, a, &failedA) {
		other, have, more := next()
		if failedB != nil {
			return failedB
		}
		if !more || other != k || !reflect.DeepEqual(e, have) {
			return fmt.Errorf("%w: entry %s", ErrDiffers, k)
		}
		compared()
	}
	if failedA != nil {
		return failedA
	}
	k, _, more := next()
	if more {
		return fmt.Errorf("%w: entry %s", ErrDiffers, k)
	}
	return failedB
}

var errEnough = errors.New("enough")

// entries are all entries of a ledger; failed is set if they can't be read to their end.
func entries(ctx context.Context, l Source, failed *error) iter.Seq2[state.Key, *state.Entry] {
	return func(yield func(state.Key, *state.Entry) bool) {
		err := l.Scan(ctx, "", "", func(k state.Key, e *state.Entry) error {
			if !yield(k, e) {
				return errEnough
			}
			return nil
		})
		if err != errEnough {
			*failed = err
		}
	}
}
