package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

type acceptances interface {
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	AcceptFaults(ctx context.Context, org, inbox string, faults []state.AcceptedFault) error
}

// AcceptJournal writes into the ledger that a person accepts what is wrong with an inbox's
// journal now, and returns what that is. The next pass writes the acceptance into the
// journal too. What goes wrong later is not accepted. No pass over the inbox may be under
// way.
func AcceptJournal(ctx context.Context, b record.Bucket, l acceptances, of record.Keys) ([]record.JournalFault, error) {
	in, err := l.Inbox(ctx, of.Org, of.Inbox)
	if err != nil {
		return nil, failure.OfLedger(err)
	}
	faults, err := record.Chain{Bucket: b, Keys: of}.Walk(ctx, in.Journal, func(state.JournalHead, *record.Journal) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("read the inbox's journal: %w", err)
	}
	faults = slices.DeleteFunc(faults, func(f record.JournalFault) bool { return f.Kind == record.FaultLock || f.Accepted(in) })
	var accepted []state.AcceptedFault
	for _, f := range faults {
		accepted = append(accepted, state.AcceptedFault{Key: f.Key, SHA256: f.SHA256, Fault: record.Clip(fmt.Sprintf("%s: %s", f.Kind, f.Detail))})
	}
	if err := l.AcceptFaults(ctx, of.Org, of.Inbox, accepted); err != nil {
		return nil, failure.OfLedger(err)
	}
	return faults, nil
}
