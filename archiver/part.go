package archiver

import (
	"context"
	"errors"
	"time"

	"github.com/archiverd/archiverd/state"
)

// ErrYielded ends a Pass that leaves its place to another, was stopped, or could not reach the
// ledger, and goes on later.
var ErrYielded = errors.New("the pass goes on later")

// Part says how a Pass is made beside others, and in parts.
type Part struct {
	Claim state.Claim // on the inbox; the caller releases it
	Side  int         // passes that are made side by side, at most; at least 1
	// Slice is how long the pass transfers before it yields; above 0. It does not bound the
	// pass: transfers under way are finished, and a listing is made as a whole.
	Slice time.Duration
	// Earlier is what the Pass before gave whose error Is ErrYielded; nil: this one begins.
	Earlier *InboxReport
	// AddPass writes the pass into the ledger as Claim.AddPass does, with r.Pass. r is what
	// Pass will return if nothing fails after that. It is called once at most, and not for a
	// pass that goes on later. nil: Claim.AddPass.
	AddPass func(ctx context.Context, r InboxReport, edit func(*state.Inbox)) error
}

// Pass makes one pass over one inbox, as Run does. Passes over different inboxes may run
// at the same time. An error that Is ErrYielded asks for another call, by this process or
// another, that goes on: what was listed is transferred first, then the inbox is listed
// anew, since only a fresh listing shows what may be deleted. The last part's report is
// that of the whole pass.
func (a *Archiver) Pass(ctx, stop context.Context, in Inbox, part Part) InboxReport {
	p := a.newPass(stop, in)
	p.claim, p.slice, p.addPass = part.Claim, part.Slice, part.AddPass
	p.limits = limits{min(max(2, maxBegun/part.Side), a.Workers*begunPerWorker), a.Twins.Register(in.Org)}
	p.register.Transferring.Add(1)
	if e := part.Earlier; e != nil {
		p.goesOn, p.record, p.foreign, p.corrupt = true, e.Pass, e.Foreign, e.Corrupt
		p.deletions.Store(e.Pass.DeleteRequested)
	}
	return p.make(ctx, func(error) {})
}
