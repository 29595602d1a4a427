package archiver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// releaseTimeout bounds how long a pass that has ended waits for a ledger that does not
// answer. Without a release the claim runs out.
const releaseTimeout = 10 * time.Second

// underClaim claims the inbox, calls f, and releases the claim, unless the pass was given a
// claim. It keeps the claim while f
// runs. Once the claim is lost, the context that f gets ends, because another process may
// have the inbox: then nothing more is sent to Genesys or the store but the aborts of the
// pass's own uploads. The error Is state.ErrClaimed if another process has the inbox, and
// state.ErrClaimLost if the claim was lost.
func (p *pass) underClaim(ctx context.Context, f func(context.Context) error) error {
	if p.claim == nil {
		var err error
		if p.claim, err = p.Ledger.Claim(ctx, p.in.Org, p.in.ID); err != nil {
			return failure.OfLedger(err)
		}
		defer p.release(ctx)
	}
	if p.in.Under != nil {
		p.in.Under(p.claim)
		defer p.in.Under(nil)
	}
	ctx, p.abandon = context.WithCancelCause(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { p.keep(ctx) })
	err := f(ctx)
	if lost := context.Cause(ctx); errors.Is(lost, state.ErrClaimLost) {
		err = errors.Join(lost, err)
	}
	p.abandon(nil)
	keeping.Wait()
	return err
}

func (p *pass) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := p.claim.Release(ctx); err != nil {
		p.log.Warn("the claim on the inbox could not be released: others can take the inbox when the claim has run out", "error", err)
	}
}

// keep prolongs the claim until ctx ends. The claim counts as lost when its time is over,
// also if the ledger could not be asked.
func (p *pass) keep(ctx context.Context) {
	for until := p.claim.Until(); !until.IsZero(); until = p.claim.Until() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(time.Until(until)/2, minPause)):
		}
		asking, cancel := context.WithDeadline(ctx, until)
		err := p.claim.Keep(asking)
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, state.ErrClaimLost):
			p.lose(err)
		case time.Now().Before(until):
			p.log.Warn("the claim on the inbox could not be kept; tried again", "until", until, "error", err)
		default:
			p.lose(errors.Join(state.ErrClaimLost, err))
		}
	}
}

// minPause keeps the requests apart that try to keep a claim which has nearly run out.
const minPause = 100 * time.Millisecond

// lose ends the pass because its claim is lost.
func (p *pass) lose(err error) {
	p.halt(err)
	p.abandon(err)
}

// written marks an error of a change of the ledger. One that says that the claim is lost
// ends the pass.
func (p *pass) written(err error) error {
	if errors.Is(err, state.ErrClaimLost) {
		p.lose(err)
	}
	return failure.OfLedger(err)
}
