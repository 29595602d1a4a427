package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/archiverd/archiverd/claims"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// session keeps the token, and sends the requests, of one inbox's clients. They renew the token
// under a claim on the inbox: a refresh token is good for one renewal, so no two processes may
// renew it. The claim is that of the pass, or one for the renewal alone. For the same reason
// they send nothing to Genesys once the claim has run out.
type session struct {
	ledger     ledger
	org, inbox string
	api        http.RoundTripper
	log        *slog.Logger

	waits bool        // for another process; for one caller at a time, like known
	known state.Token // what the ledger held when the client last asked or saved
	claim atomic.Pointer[state.Claim]
}

// under sets the claim of the pass or the renewal that begins; nil when that has ended.
func (s *session) under(c state.Claim) {
	if c == nil {
		s.claim.Store(nil)
		return
	}
	s.claim.Store(&c)
}

// RoundTrip sends a request to Genesys. A process that was stopped for longer than its claim
// lives, or whose machine was suspended, and that goes on in the middle of a pass, sends none.
func (s *session) RoundTrip(r *http.Request) (*http.Response, error) {
	if c := s.claim.Load(); c != nil {
		if claims.Over(*c) {
			if r.Body != nil {
				r.Body.Close()
			}
			return nil, fmt.Errorf("%w: it ran out at %s", state.ErrClaimLost, (*c).Until().Format(time.TimeOnly))
		}
	}
	return s.api.RoundTrip(r)
}

// alone calls renew while this process alone can renew the token: see
// genesys.TokensOptions.Alone. A pass has a claim already.
func (s *session) alone(ctx context.Context, renew func() error) error {
	if s.claim.Load() != nil {
		return renew()
	}
	c, err := s.ledger.Claim(ctx, s.org, s.inbox)
	claimed := errors.Is(err, state.ErrClaimed)
	if claimed && !s.waits {
		s.log.Info("the token has to be renewed: waiting for the process that has the inbox to do so", "error", err)
	}
	if s.waits = claimed; claimed {
		return fmt.Errorf("%w: %w", genesys.ErrTokenClaimed, err)
	}
	if err != nil {
		return err
	}
	defer claims.Release(ctx, c, s.log)
	s.under(c)
	defer s.under(nil)
	keeping, lose := context.WithCancelCause(context.WithoutCancel(ctx))
	defer lose(nil)
	return claims.Keep(keeping, c, s.log, lose, renew)
}

func (s *session) LoadToken(ctx context.Context) (genesys.Token, error) {
	t, err := s.ledger.Token(ctx, s.org, s.inbox)
	if err == nil {
		s.known = t
	}
	return genesys.Token(t), err
}

// SaveToken saves a renewed token. It replaces only the token from which it was made, so a
// login or logout in the meantime is not undone.
func (s *session) SaveToken(ctx context.Context, t genesys.Token) error {
	err := s.save(ctx, state.Token(t))
	if errors.Is(err, state.ErrTokenMoved) {
		err = fmt.Errorf("%w: %w", genesys.ErrOtherToken, err)
	}
	if err == nil {
		s.known = state.Token(t)
	}
	return err
}

// save saves under the claim, if there is one. While that lives, save waits for a database that
// is away: this token may be all that is left of a refresh token that is spent, and nobody has
// it once the pass has ended.
func (s *session) save(ctx context.Context, t state.Token) error {
	c := s.claim.Load()
	if c == nil {
		return s.ledger.SaveToken(ctx, s.org, s.inbox, s.known, t)
	}
	for {
		err := (*c).SaveToken(ctx, s.known, t)
		if !errors.Is(err, state.ErrUnavailable) || claims.Over(*c) {
			return err
		}
		s.log.Warn("the token could not be saved; tried again", "error", err)
		select {
		case <-time.After(savePause):
		case <-ctx.Done():
			return err
		}
		if have, lost := s.ledger.Token(ctx, s.org, s.inbox); lost == nil && have.Same(t) && have.Confirmed == t.Confirmed {
			return nil // it was saved, and the answer was lost
		}
	}
}

const savePause = time.Second
