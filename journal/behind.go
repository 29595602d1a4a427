package journal

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

// ErrBehind says that the ledger is older than the journal: the original of a held recording
// would be deleted, and an erased recording archived again.
var ErrBehind = errors.New("the journal tells of what a person did, and the ledger does not know it: the ledger was restored from an old copy. Stop archiverd, move the ledger away, and run archiverd rebuild")

// NotBehind returns ErrBehind if an inbox's journal tells of an act that the ledger does not
// know. Every other error says why the journal could not be read.
func (w *Writer) NotBehind(ctx context.Context, org, inbox string) error {
	in, err := w.Ledger.Inbox(ctx, org, inbox)
	if err != nil {
		return failure.OfLedger(err)
	}
	b := w.book(Pass{Org: org, Inbox: inbox})
	chain := record.Chain{Bucket: w.Bucket, Keys: b.keys}
	_, err = chain.After(ctx, in.Journal, chain.Read, func(_ state.JournalHead, j *record.Journal) error { return b.knowsActs(ctx, j) })
	return err
}

// knowsActs returns ErrBehind if an object of the journal tells of an act that the ledger
// does not know.
func (b *book) knowsActs(ctx context.Context, j *record.Journal) error {
	var acted []string
	for _, ev := range j.Events {
		if ev.Act != nil {
			acted = append(acted, ev.Recording)
		}
	}
	if len(acted) == 0 {
		return nil
	}
	entries, err := b.Ledger.Entries(ctx, b.pass.Org, b.pass.Inbox, acted)
	if err != nil {
		return failure.OfLedger(err)
	}
	for _, ev := range j.Events {
		if ev.Act == nil {
			continue
		}
		e := entries[ev.Recording]
		if !slices.ContainsFunc(e.Acts, func(a state.Act) bool { return a.ID == ev.Act.ID }) {
			return fmt.Errorf("%s of recording %q by %s on %s: %w", ev.Act.Kind, ev.Recording, ev.Act.By, ev.Act.At.Format(time.DateOnly), ErrBehind)
		}
	}
	return nil
}
