package archiver

import (
	"context"
	"errors"

	"github.com/archiverd/archiverd/claims"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// underClaim claims the inbox, calls f, and releases the claim, unless the pass was given a
// claim. Once the claim is lost, the context that f gets ends, because another process may
// have the inbox: then nothing more is sent to Genesys or the store but the aborts of the
// pass's own uploads. The error Is state.ErrClaimed if another process has the inbox, and
// state.ErrClaimLost if the claim was lost.
func (p *pass) underClaim(ctx context.Context, f func(context.Context) error) error {
	if p.claim == nil {
		var err error
		if p.claim, err = p.Ledger.Claim(ctx, p.in.Org, p.in.ID); err != nil {
			return failure.OfLedger(err)
		}
		defer claims.Release(ctx, p.claim, p.log)
	}
	if p.in.Under != nil {
		p.in.Under(p.claim)
		defer p.in.Under(nil)
	}
	ctx, abandon := context.WithCancelCause(ctx)
	defer abandon(nil)
	p.lose = func(err error) {
		p.halt(err)
		abandon(err)
	}
	return claims.Keep(ctx, p.claim, p.log, p.lose, func() error { return f(ctx) })
}

// written marks an error of a change of the ledger. One that says that the claim is lost
// ends the pass.
func (p *pass) written(err error) error {
	if errors.Is(err, state.ErrClaimLost) {
		p.lose(err)
	}
	return failure.OfLedger(err)
}
