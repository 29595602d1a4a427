package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// errBehind ends a pass with a ledger that is older than the journal: the original of a held
// recording would be deleted, and an erased recording archived again.
var errBehind = errors.New("the journal tells of what a person did, and the ledger does not know it: the ledger was restored from an old copy. Stop archiverd, move the ledger away, and run archiverd rebuild")

// notBehind returns errBehind if the journal tells of an act that the ledger does not know.
// Every other error says why the journal could not be read.
func (p *pass) notBehind(ctx context.Context) error {
	in, err := p.Ledger.Inbox(ctx, p.in.Org, p.in.ID)
	if err != nil {
		return failure.OfLedger(err)
	}
	journal := record.Chain{Bucket: p.Bucket, Keys: p.keys}
	_, err = journal.After(ctx, in.Journal, journal.Read, func(_ state.JournalHead, j *record.Journal) error { return p.knowsActs(ctx, j) })
	return err
}

// knowsActs returns errBehind if an object of the journal tells of an act that the ledger
// does not know.
func (p *pass) knowsActs(ctx context.Context, j *record.Journal) error {
	for _, ev := range j.Events {
		if ev.Act == nil {
			continue
		}
		e, err := p.Ledger.Entry(ctx, p.keyOf(ev.Recording))
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return failure.OfLedger(err)
		}
		if !slices.ContainsFunc(e.Acts, func(a state.Act) bool { return a.ID == ev.Act.ID }) {
			return fmt.Errorf("%s of recording %q by %s on %s: %w", ev.Act.Kind, ev.Recording, ev.Act.By, ev.Act.At.Format(time.DateOnly), errBehind)
		}
	}
	return nil
}
