package claims_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/archiverd/archiverd/claims"
	"github.com/archiverd/archiverd/state"
)

// timedClaim lives for a minute, and for another when it is kept. Only so many times it
// can be kept.
type timedClaim struct {
	state.Claim
	until time.Time
	times int
	fails error
}

func (c *timedClaim) Until() time.Time { return c.until }

func (c *timedClaim) Keep(context.Context) error {
	if c.times == 0 {
		return c.fails
	}
	c.times--
	c.until = time.Now().Add(time.Minute)
	return nil
}

// A claim is kept for as long as the ledger answers, lost at once when the ledger says so,
// and lost when its time is over if the ledger does not answer.
func TestKeep(t *testing.T) {
	for name, c := range map[string]struct {
		fails error
		lost  time.Duration // how long after the claim was kept for the last time
	}{
		"another's":        {state.ErrClaimLost, 30 * time.Second},
		"the ledger fails": {errors.New("connection refused"), time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				claim := &timedClaim{until: begun.Add(time.Minute), times: 100, fails: c.fails}
				ctx, lose := context.WithCancelCause(t.Context())
				err := claims.Keep(ctx, claim, slog.New(slog.DiscardHandler), lose, func() error {
					<-ctx.Done()
					return ctx.Err()
				})
				if took := time.Since(begun).Round(time.Second); took != 100*30*time.Second+c.lost {
					t.Errorf("lost after %v", took)
				}
				if !errors.Is(err, state.ErrClaimLost) || !errors.Is(context.Cause(ctx), state.ErrClaimLost) {
					t.Errorf("%v, and the context ended with %v", err, context.Cause(ctx))
				}
			})
		})
	}
}

// suspended returns what a time that was computed before a suspension is worth after it: the
// monotonic clock lags by as much. Only the kernel makes such times, so their second word, which
// is the monotonic reading, is changed here.
func suspended(t time.Time, lag time.Duration) time.Time {
	*(*int64)(unsafe.Add(unsafe.Pointer(&t), 8)) += int64(lag)
	return t
}

// A claim that ran out while the machine was suspended is over at once, and is soon lost,
// although it has an hour left by the monotonic clock.
func TestSuspended(t *testing.T) {
	begun := time.Now()
	claim := &timedClaim{until: suspended(begun.Add(-time.Minute), time.Minute+time.Hour), fails: state.ErrClaimLost}
	if !begun.Before(claim.until) || begun.Round(0).Before(claim.until.Round(0)) {
		t.Fatalf("the test does not make such times: %v", claim.until)
	}
	if !claims.Over(claim) {
		t.Error("the claim is not over")
	}
	ctx, lose := context.WithCancelCause(t.Context())
	err := claims.Keep(ctx, claim, slog.New(slog.DiscardHandler), lose, func() error {
		select {
		case <-ctx.Done():
		case <-time.After(time.Minute): // only a test that fails waits
		}
		return nil
	})
	if !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("the claim was not lost: %v", err)
	}
}
