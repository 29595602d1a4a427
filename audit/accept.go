package audit

import (
	"context"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// AcceptJournal keeps in the ledger that a person accepts what is wrong with an inbox's
// journal now, and gives what that is. The journal itself tells it with the next pass;
// what is wrong later is not accepted by it. No pass over the inbox may be under way.
func (a *Archiver) AcceptJournal(ctx context.Context, org, inbox string) (faults []record.JournalFault, err error) {
	in, err := a.Ledger.Inbox(ctx, org, inbox)
	if err != nil {
		return nil, failure.OfLedger(err)
	}
	faults, err = (record.Chain{Bucket: a.Bucket, Keys: record.Keys{Prefix: a.Prefix, Org: org, Inbox: inbox}}).Walk(ctx, in.Journal, func(state.JournalHead, *record.Journal) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("read the inbox's journal: %w", err)
	}
	faults = slices.DeleteFunc(faults, func(f record.JournalFault) bool { return f.Kind == record.JournalLock || f.Accepted(in) })
	var accepted []state.AcceptedFault
	for _, f := range faults {
		accepted = append(accepted, state.AcceptedFault{Key: f.Key, SHA256: f.SHA256, Fault: record.Clip(fmt.Sprintf("%s: %s", f.Kind, f.Detail))})
	}
	if err := a.Ledger.AcceptFaults(ctx, org, inbox, accepted); err != nil {
		return nil, failure.OfLedger(err)
	}
	return faults, nil
}
