// Package claims keeps a claim on an inbox while work is done under it, and releases the
// claim after that. The ledger makes and compares the number that fences off an earlier
// holder: see [state.Claim].
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

// Over reports whether a claim has run out for this process, unless it was kept since. Both of
// the process's clocks count: the monotonic one stands still while the machine is suspended,
// and the wall clock may be set back.
func Over(c state.Claim) bool {
	until, now := c.Until(), time.Now()
	return !until.IsZero() && (!now.Before(until) || !now.Round(0).Before(until.Round(0)))
}

// keep prolongs the claim until ctx ends.
func keep(ctx context.Context, c state.Claim, log *slog.Logger, lose context.CancelCauseFunc) {
	for until := c.Until(); !until.IsZero(); until = c.Until() {
		if !rest(ctx, c, max(time.Until(until)/2, minPause)) {
			return
		}
		asking, cancel := context.WithDeadline(ctx, until)
		err := c.Keep(asking)
		cancel()
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, state.ErrClaimLost):
			lose(err)
		case !Over(c):
			log.Warn("the claim on the inbox could not be kept; tried again", "until", until, "error", err)
		default:
			lose(errors.Join(state.ErrClaimLost, err))
		}
	}
}

// rest waits for so long, or until the claim is over, as when a suspended machine wakes. It
// returns false once ctx has ended.
func rest(ctx context.Context, c state.Claim, pause time.Duration) bool {
	for end := time.Now().Add(pause); time.Now().Before(end); {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(time.Until(end), lookEvery)):
		}
		if Over(c) {
			return true
		}
	}
	return true
}

// lookEvery is how often the clocks are read.
const lookEvery = time.Second

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
