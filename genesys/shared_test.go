package genesys

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// claims lets a client renew the token, unless another process has the claim.
type claims struct {
	log    *journal
	others func() bool
}

func (c *claims) share(o *TokensOptions) {
	o.Alone = func(_ context.Context, renew func() error) error {
		if c.others != nil && c.others() {
			return ErrTokenClaimed
		}
		c.log.add("claim")
		defer c.log.add("release")
		return renew()
	}
}

// newShared is a platform whose store several processes use. It holds an access token that
// has expired.
func newShared(t *testing.T) (*platform, *claims) {
	p := newPlatform(t)
	p.store.token = Token{Access: "A0", Refresh: "R0", Expiry: time.Now()}
	return p, &claims{log: p.log}
}

const summaryA1 = "GET /api/v2/userrecordings/summary A1"

// The refresh token is out of the store before it is sent, and the token is renewed and saved
// under one claim. A token that is good needs no claim.
func TestSharedRenewalOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newShared(t)
		for range 2 {
			if _, err := p.client(c.share).Summary(t.Context()); err != nil {
				t.Error(err)
			}
		}
		wantEvents(t, p,
			"claim", "save A0  confirmed=false", "POST token R0", "save A1 R1 confirmed=false", "release",
			"GET /api/v2/users/me A1", "save A1 R1 confirmed=true", summaryA1, summaryA1)
	})
}

// A renewal that failed leaves the refresh token to the next one, also if the store failed
// when it was to be put back. One that Genesys refused is never sent again.
func TestSharedRenewalFails(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		store  error
		first  []string
	}{
		"the host": {status: 503, first: []string{"claim", "save A0  confirmed=false", "POST token R0", "save A0 R0 confirmed=false", "release"}},
		"and the store": {status: 503, store: errDisk, first: []string{
			"claim", "save A0  confirmed=false", "POST token R0", "save fails", "release", "save A0 R0 confirmed=false"}},
		"refused": {first: []string{"claim", "save A0  confirmed=false", "POST token R0", "release"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, c := newShared(t)
				if p.refresh = "another"; tt.status != 0 {
					p.refresh = "R0"
				}
				p.login = func(w http.ResponseWriter, _ *http.Request) bool {
					if tt.status == 0 {
						return false
					}
					p.store.failSave = func(Token) error { return tt.store }
					w.WriteHeader(tt.status)
					return true
				}
				client := p.client(c.share)
				if _, err := client.Summary(t.Context()); err == nil || !errors.Is(err, tt.store) && tt.store != nil {
					t.Errorf("the failure is %v", err)
				}
				p.login, p.store.failSave = nil, nil
				_, err := client.Summary(t.Context())
				if _, anew := p.client(c.share).Summary(t.Context()); errors.Is(anew, ErrNeedsLogin) != (tt.status == 0) {
					t.Errorf("another process: %v", anew)
				}
				if tt.status == 0 {
					if !errors.Is(err, ErrNeedsLogin) {
						t.Error(err)
					}
					wantEvents(t, p, append(tt.first, "claim", "release", "claim", "release")...)
					return
				}
				if err != nil {
					t.Error(err)
				}
				wantEvents(t, p, append(tt.first, "claim", "save A0  confirmed=false", "POST token R0", "save A1 R1 confirmed=false", "release",
					"GET /api/v2/users/me A1", "save A1 R1 confirmed=true", summaryA1, summaryA1)...)
			})
		})
	}
}

// While another process may renew the token, nothing is sent to the login host. What that
// process saved is used; if it died during the renewal, the user has to log in; if it does
// nothing for long, the call fails, and is not worth another try at once.
func TestWaitingForAnotherProcess(t *testing.T) {
	for name, tt := range map[string]struct {
		saves Token
		dies  bool
		want  []string
		err   error
	}{
		"it renews":       {saves: Token{Access: "A0", Refresh: "R7", Confirmed: true}, want: []string{"GET /api/v2/userrecordings/summary A0"}},
		"it dies":         {saves: Token{Access: "old"}, dies: true, want: []string{"claim", "release"}, err: ErrNeedsLogin},
		"it does nothing": {err: ErrTokenClaimed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, c := newShared(t)
				p.store.token.Access = "old"
				began := time.Now()
				if tt.saves != (Token{}) && !tt.dies {
					tt.saves.Expiry = began.Add(time.Hour)
				}
				c.others = func() bool {
					waited := time.Since(began) >= 10*time.Second
					if waited && tt.saves != (Token{}) {
						p.store.mu.Lock()
						p.store.token = tt.saves
						p.store.mu.Unlock()
					}
					return !waited || !tt.dies
				}
				_, err := p.client(c.share).Summary(t.Context())
				if !errors.Is(err, tt.err) || err != nil && asError(t, err).Temporary() {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
				wantEvents(t, p, tt.want...)
			})
		})
	}
}

// A user who logs in right before the refresh token is sent gets no other token.
func TestSharedLoginMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, c := newShared(t)
		p.store.failSave = func(Token) error {
			p.store.token = Token{Access: "A0", Refresh: "R9", Expiry: time.Now().Add(time.Hour), Confirmed: true}
			return ErrOtherToken
		}
		if _, err := p.client(c.share).Summary(t.Context()); err != nil {
			t.Error(err)
		}
		wantEvents(t, p, "claim", "save fails", "release", "GET /api/v2/userrecordings/summary A0")
	})
}
