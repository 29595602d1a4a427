// Package claims keeps a claim on an inbox while work is done under it, and releases the
// claim after that.
package claims

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/archiverd/archiverd/state"
)

// Keep calls f, and keeps the claim while f runs. If the claim is lost meanwhile, Keep calls
// lose, which must end ctx with this cause; f itself may call lose, too. The error then Is
// state.ErrClaimLost, whatever f returned. The claim counts as lost when its time is over,
// also if the ledger could not be asked.
func Keep(ctx context.Context, c state.Claim, log *slog.Logger, lose context.CancelCauseFunc, f func() error) error {
	asking, end := context.WithCancel(ctx)
	var keeping sync.WaitGroup
	keeping.Go(func() { keep(asking, c, log, lose) })
	err := f()
	end()
	keeping.Wait()
	if lost := context.Cause(ctx); errors.Is(lost, state.ErrClaimLost) {
		err = errors.Join(lost, err)
	}
	return err
}

// keep prolongs the claim until ctx ends.
func keep(ctx context.Context, c state.Claim, log *slog.Logger, lose context.CancelCauseFunc) {
	for until := c.Until(); !until.IsZero(); until = c.Until() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(time.Until(until)/2, minPause)):
		}
		asking, cancel := context.WithDeadline(ctx, until)
		err := c.Keep(asking)
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, state.ErrClaimLost):
			lose(err)
		case time.Now().Before(until):
			log.Warn("the claim on the inbox could not be kept; tried again", "until", until, "error", err)
		default:
			lose(errors.Join(state.ErrClaimLost, err))
		}
	}
}

// minPause keeps the requests apart that try to keep a claim which has nearly run out.
const minPause = 100 * time.Millisecond

// releaseTimeout bounds the wait for a ledger that does not answer.
const releaseTimeout = 10 * time.Second

// Release ends a claim, although ctx has ended. If the ledger does not answer, Release warns:
// the claim then runs out.
func Release(ctx context.Context, c state.Claim, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := c.Release(ctx); err != nil {
		log.Warn("the claim on the inbox could not be released: others can take the inbox when the claim has run out", "error", err)
	}
}
