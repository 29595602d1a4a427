package claims_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

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
