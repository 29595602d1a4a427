package archiver

import (
	"context"
	"errors"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// keepJournal writes the events that the ledger has into the journal, and notes what is
// wrong with the journal's newest objects.
func (p *pass) keepJournal(ctx context.Context) error {
	faults, err := p.Journal.Write(ctx, p.claim, journal.Pass{
		Org: p.in.Org, Inbox: p.in.ID,
		JournalPass: record.JournalPass{Pass: p.soFar(), Summary: p.walk.Summary, Total: p.walk.Total},
		Daily:       p.ownerKnown,
	})
	if errors.Is(err, state.ErrClaimLost) {
		p.lose(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range faults {
		if f.Kind == record.FaultForeign {
			p.foreign = append(p.foreign, f.Key)
		} else {
			p.corrupt = append(p.corrupt, f.Key)
		}
	}
	return err
}

// keepUp writes the journal during a pass that has begun n transfers, so that the ledger
// does not fill up with events. If it cannot, the events wait for the end of the pass.
func (p *pass) keepUp(ctx context.Context, n int) error {
	if n%p.journalEvery != 0 {
		return nil
	}
	err := p.keepJournal(ctx)
	if err == nil || failure.KindOf(err) == failure.KindLedger {
		return err
	}
	p.log.Warn("the journal could not be written now; the end of the pass tries again", "error", err)
	return nil
}

// soFar returns the pass's record as it is now.
func (p *pass) soFar() state.Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.record
	if r.End.IsZero() {
		r.End = time.Now().UTC()
	}
	return r
}
