package fleet

import (
	"context"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// Acceptance says what a person accepts in one inbox.
type Acceptance struct {
	Gone    bool // that the many recordings that disappeared at once are gone
	Journal bool // the faults that the journal has now
}

// preparedLedger is what Prepare asks of the ledger.
type preparedLedger interface {
	inboxLister
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error
	ScanWaiting(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
	Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error)
	AcceptFaults(ctx context.Context, org, inbox string, faults []state.AcceptedFault) error
}

// Prepare makes the selected failed recordings due, and enters what is accepted, before a
// run. It returns the faults of the journal that were accepted. What a person accepts is
// accepted of one inbox: the selection has to be of one.
func Prepare(ctx context.Context, l preparedLedger, a *archiver.Archiver, only Selection, accept Acceptance) ([]record.JournalFault, error) {
	if accept == (Acceptance{}) {
		return nil, makeDue(ctx, l, only)
	}
	inboxes, err := Selected(ctx, l, only)
	if err != nil {
		return nil, err
	}
	switch len(inboxes) {
	case 0:
		return nil, noSuchInbox(only)
	case 1:
	default:
		return nil, &UsageError{fmt.Errorf("--inbox %q is in several organizations: name one with --org", only.Inbox)}
	}
	in := inboxes[0]
	if accept.Gone {
		if err := l.EditInbox(ctx, in.Org, in.ID, func(i *state.Inbox) { i.AcceptGone = true }); err != nil {
			return nil, err
		}
	}
	var faults []record.JournalFault
	if accept.Journal {
		if faults, err = audit.AcceptJournal(ctx, a.Bucket, l, record.Keys{Prefix: a.Prefix, Org: in.Org, Inbox: in.ID}); err != nil {
			return nil, err
		}
	}
	return faults, makeDue(ctx, l, only)
}

// Selected returns the selected inboxes that the ledger knows. A selection of no inbox is
// a mistake, and an error.
func Selected(ctx context.Context, l inboxLister, only Selection) ([]state.Inbox, error) {
	inboxes, err := l.Inboxes(ctx, only.Org)
	if err != nil {
		return nil, err
	}
	inboxes = slices.DeleteFunc(inboxes, func(i state.Inbox) bool { return !only.has(i.ID) })
	if len(inboxes) == 0 && only != (Selection{}) {
		return nil, noSuchInbox(only)
	}
	return inboxes, nil
}

// makeDue moves failed recordings back to listed, so that the next pass tries them.
func makeDue(ctx context.Context, l preparedLedger, only Selection) error {
	var failed []state.Key
	err := l.ScanWaiting(ctx, only.Org, only.Inbox, func(k state.Key, e *state.Entry) error {
		if e.State == state.StateFailed {
			failed = append(failed, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range failed {
		if _, err := l.Move(ctx, k, state.StateFailed, state.StateListed, func(*state.Entry) {}); err != nil {
			return err
		}
	}
	return nil
}
