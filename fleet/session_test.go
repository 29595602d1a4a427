package fleet

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// endingClaim runs out at a time of the test's.
type endingClaim struct {
	state.Claim
	until time.Time
}

func (c endingClaim) Until() time.Time { return c.until }

type counter int

func (c *counter) RoundTrip(*http.Request) (*http.Response, error) {
	*c++
	return &http.Response{Body: http.NoBody}, nil
}

// claimed returns a ledger with the token of one inbox, and a claim on the inbox.
func claimed(t *testing.T) (*bolt.Ledger, state.Claim) {
	t.Helper()
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := l.Login(t.Context(), "acme", "u1", state.Token{Refresh: "1"}, nil); err != nil {
		t.Fatal(err)
	}
	c, err := l.Claim(t.Context(), "acme", "u1")
	if err != nil {
		t.Fatal(err)
	}
	return l, c
}

// Once the claim is over, no request is sent and no token is saved. After the pass the
// client works as before.
func TestSessionAfterItsClaim(t *testing.T) {
	l, c := claimed(t)
	var sent counter
	s := &session{ledger: l, org: "acme", inbox: "u1", api: &sent}
	if _, err := s.LoadToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://genesys.invalid", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.RoundTrip(req)
		return err
	}
	s.under(endingClaim{c, time.Now().Add(time.Hour)})
	if err := errors.Join(ask(), s.SaveToken(t.Context(), genesys.Token{Refresh: "2"})); err != nil || sent != 1 {
		t.Errorf("under a claim that lives: %d sent, %v", sent, err)
	}
	s.under(endingClaim{c, time.Now().Add(-time.Nanosecond)})
	if err := ask(); !errors.Is(err, state.ErrClaimLost) || sent != 1 {
		t.Errorf("after the claim ran out: %d sent, %v", sent, err)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveToken(t.Context(), genesys.Token{Refresh: "3"}); !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("a token was saved under a lost claim: %v", err)
	}
	if have, err := l.Token(t.Context(), "acme", "u1"); err != nil || have.Refresh != "2" {
		t.Errorf("the ledger has another token: %v", err)
	}
	s.under(nil)
	if err := errors.Join(ask(), s.SaveToken(t.Context(), genesys.Token{Refresh: "4"})); err != nil || sent != 2 {
		t.Errorf("after the pass: %d sent, %v", sent, err)
	}
}

// Outside a pass a renewal takes a claim for itself and gives it back; in a pass it uses the
// pass's. No two processes renew a token at once.
func TestRenewalClaimsTheInbox(t *testing.T) {
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Login(t.Context(), "acme", "u1", state.Token{Refresh: "1"}, nil); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	one, other := &session{ledger: l, org: "acme", inbox: "u1", log: log}, &session{ledger: l, org: "acme", inbox: "u1", log: log}
	refused := func(other *session) {
		t.Helper()
		if err := other.alone(t.Context(), func() error { return nil }); !errors.Is(err, genesys.ErrTokenClaimed) || !errors.Is(err, state.ErrClaimed) {
			t.Errorf("another process renews the token too: %v", err)
		}
	}
	renew := func(s, other *session) {
		t.Helper()
		err := s.alone(t.Context(), func() error {
			refused(other)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	renew(one, other)
	renew(other, one)
	c, err := l.Claim(t.Context(), "acme", "u1")
	if err != nil {
		t.Fatal(err)
	}
	one.under(c)
	renew(one, other)
	refused(other) // the pass goes on
	one.under(nil)
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	renew(other, one)
}

// awayClaim is one whose ledger was away when it answered for the first time.
type awayClaim struct {
	state.Claim
	asked int
}

func (c *awayClaim) SaveToken(ctx context.Context, from, to state.Token) error {
	err := c.Claim.SaveToken(ctx, from, to)
	if c.asked++; c.asked == 1 {
		return state.ErrUnavailable
	}
	return err
}

// A token that was saved although the answer was lost is not taken for another's.
func TestSavedWithoutAnAnswer(t *testing.T) {
	l, c := claimed(t)
	away := &awayClaim{Claim: c}
	s := &session{ledger: l, org: "acme", inbox: "u1", log: slog.New(slog.DiscardHandler)}
	if _, err := s.LoadToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.under(away)
	if err := s.SaveToken(t.Context(), genesys.Token{Refresh: "2"}); err != nil {
		t.Errorf("a token that was saved: %v", err)
	}
	if err := s.SaveToken(t.Context(), genesys.Token{Refresh: "3"}); err != nil || away.asked != 2 {
		t.Errorf("the next token, asked %d times: %v", away.asked, err)
	}
}

// A Retry-After never shortens the wait that is saved, and a process whose claim is lost saves
// none.
func TestWaitGoesForward(t *testing.T) {
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.EditInbox(t.Context(), "acme", "u1", func(*state.Inbox) {}); err != nil {
		t.Fatal(err)
	}
	s := &session{ledger: l, org: "acme", inbox: "u1", log: slog.New(slog.DiscardHandler)}
	at := time.Now().UTC().Truncate(time.Second)
	wants := func(want time.Time) {
		t.Helper()
		if in, err := l.Inbox(t.Context(), "acme", "u1"); err != nil || !in.NotBefore.Equal(want) {
			t.Errorf("nothing is sent before %v, want %v; %v", in.NotBefore, want, err)
		}
	}
	s.keepWait(at.Add(time.Minute), "")
	s.keepWait(at, "")
	wants(at.Add(time.Minute))
	c, err := l.Claim(t.Context(), "acme", "u1")
	if err != nil {
		t.Fatal(err)
	}
	s.under(c)
	s.keepWait(at.Add(2*time.Minute), "")
	wants(at.Add(2 * time.Minute))
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.keepWait(at.Add(3*time.Minute), "")
	wants(at.Add(2 * time.Minute))
}
