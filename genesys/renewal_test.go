package genesys

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func wantEvents(t *testing.T, p *platform, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, p.log.all()); diff != "" {
		t.Errorf("order of events:\n%s", diff)
	}
}

var errDisk = errors.New("disk full")

// The write order of a renewal: a token is not used before it is durable, and only for users/me before it is confirmed.
func TestRenewalOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		c := p.client()
		if c.tokens.Confirmed() {
			t.Error("confirmed before anyone was asked")
		}
		for range 2 {
			if _, err := c.Summary(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantEvents(t, p,
			"POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "save A1 R1 confirmed=true",
			"GET /api/v2/userrecordings/summary A1", "GET /api/v2/userrecordings/summary A1")
		want := Token{Access: "A1", Refresh: "R1", Expiry: time.Now().Add(24 * time.Hour), Confirmed: true}
		if got := p.store.saved(); got.Expiry.Sub(want.Expiry).Abs() > time.Second || got.Access != want.Access || !got.Confirmed || !c.tokens.Confirmed() {
			t.Errorf("saved: expiry %v, confirmed %v", got.Expiry, got.Confirmed)
		}
	})
}

// A start spends no refresh token: a saved access token with more than 60 s to live is used as it is.
func TestSavedToken(t *testing.T) {
	for name, tt := range map[string]struct {
		saved Token
		life  time.Duration
		want  []string
	}{
		"confirmed": {Token{Access: "A0", Refresh: "R0", Confirmed: true}, 61 * time.Second, []string{
			"GET /api/v2/userrecordings/summary A0"}},
		"unconfirmed": {Token{Access: "A0", Refresh: "R0"}, 61 * time.Second, []string{
			"GET /api/v2/users/me A0", "save A0 R0 confirmed=true", "GET /api/v2/userrecordings/summary A0"}},
		"about to expire": {Token{Access: "A0", Refresh: "R0", Confirmed: true}, 60 * time.Second, []string{
			"POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1"}},
		"revoked, confirmed": {Token{Access: "old", Refresh: "R0", Confirmed: true}, time.Hour, []string{
			"GET /api/v2/userrecordings/summary old",
			"POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1"}},
		"revoked, unconfirmed": {Token{Access: "old", Refresh: "R0"}, time.Hour, []string{
			"GET /api/v2/users/me old",
			"POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1"}},
		"no refresh token, still good": {Token{Access: "A0", Confirmed: true}, time.Hour, []string{"GET /api/v2/userrecordings/summary A0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				tt.saved.Expiry = time.Now().Add(tt.life)
				p.store.token = tt.saved
				c := p.client()
				if _, err := c.Summary(t.Context()); err != nil {
					t.Error(err)
				}
				wantEvents(t, p, tt.want...)
				if !c.tokens.Confirmed() {
					t.Error("not confirmed")
				}
			})
		})
	}
}

func TestLifeOfToken(t *testing.T) {
	for life, want := range map[string]time.Duration{
		`3600`: time.Hour, `"3600"`: time.Hour, `3600.9`: time.Hour, `null`: 5 * time.Minute, `-1`: 5 * time.Minute, `{}`: 5 * time.Minute, `"soon"`: 5 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlatform(t)
			p.life = life
			if _, err := p.client().Summary(t.Context()); err != nil {
				t.Errorf("expires_in %s: %v", life, err)
			}
			if got := time.Until(p.store.saved().Expiry); got != want {
				t.Errorf("expires_in %s: %v, want %v", life, got, want)
			}
		})
	}
}

// Odd fields in a reply must not make the client lose the new refresh token: the old one is spent.
func TestOddTokenReplies(t *testing.T) {
	for name, tt := range map[string]struct{ contentType, body, refresh string }{
		"text/plain":             {"text/plain", `{"access_token":"A0","refresh_token":"N","expires_in":600}`, "N"},
		"mistyped neighbours":    {"application/json", `{"access_token":"A0","refresh_token":"N","token_type":7,"error":null,"error_description":[],"scope":{}}`, "N"},
		"no new refresh token":   {"application/json", `{"access_token":"A0"}`, "R0"},
		"mistyped refresh token": {"application/json", `{"access_token":"A0","refresh_token":5}`, "R0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				p.login = func(w http.ResponseWriter, r *http.Request) bool {
					w.Header().Set("Content-Type", tt.contentType)
					io.WriteString(w, tt.body)
					return true
				}
				if _, err := p.client().Summary(t.Context()); err != nil || p.store.saved().Refresh != tt.refresh {
					t.Errorf("%v, refresh token %q", err, p.store.saved().Refresh)
				}
			})
		})
	}
}

func TestTokenErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		status             int
		body               string
		code, message      string
		needsLogin, parsed bool
		temporary          bool
	}{
		"invalid_grant":         {status: 400, body: `{"error":"invalid_grant","description":"gone"}`, code: "invalid_grant", message: "gone", needsLogin: true, parsed: true},
		"invalid_grant as 401":  {status: 401, body: `{"error":"invalid_grant","error_description":"gone","description":"x"}`, code: "invalid_grant", message: "gone", needsLogin: true, parsed: true},
		"invalid_client":        {status: 401, body: `{"error":"invalid_client"}`, code: "invalid_client", parsed: true},
		"unavailable":           {status: 503, body: `<html>`, temporary: true},
		"html":                  {status: 200, body: `<html>login</html>`, temporary: true},
		"no access token":       {status: 200, body: `{"refresh_token":"x"}`, temporary: true},
		"redirect":              {status: 302, body: ``},
		"quotes the old secret": {status: 400, body: `{"error":"x","description":"R0 s3cret"}`, code: "x", message: "[redacted] [redacted]", parsed: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				p.login = func(w http.ResponseWriter, r *http.Request) bool {
					w.Header().Set("Location", "https://elsewhere.test/%zz")
					w.WriteHeader(tt.status)
					io.WriteString(w, tt.body)
					return true
				}
				c := p.client()
				_, err := c.Summary(t.Context())
				e := asError(t, err)
				want := Error{Op: "oauth_token", Status: tt.status, Code: tt.code, Message: tt.message, CorrelationID: "corr-1", Parsed: tt.parsed, Err: e.Err}
				if diff := cmp.Diff(want, *e, cmp.Comparer(func(a, b error) bool { return a == b })); diff != "" {
					t.Error(diff)
				}
				if errors.Is(err, ErrNeedsLogin) != tt.needsLogin || e.Temporary() != tt.temporary {
					t.Errorf("%v: temporary %v", err, e.Temporary())
				}
				if got := p.log.all(); len(got) != 1 {
					t.Errorf("events %v", got)
				}
			})
		})
	}
}

// Once Genesys has refused a refresh token it is not sent again; a login in between is noticed.
func TestNeedsLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.store.token = Token{}
		c := p.client()
		if _, err := c.Summary(t.Context()); !errors.Is(err, ErrNeedsLogin) {
			t.Errorf("without a token: %v", err)
		}
		p.store.token = Token{Refresh: "spent"}
		for range 2 {
			if _, err := c.Summary(t.Context()); !errors.Is(err, ErrNeedsLogin) || asError(t, err).CorrelationID != "corr-1" {
				t.Errorf("with a spent token: %v", err)
			}
		}
		wantEvents(t, p, "POST token spent")
		p.store.token = Token{Refresh: "R0"}
		if _, err := c.Summary(t.Context()); err != nil {
			t.Errorf("after login: %v", err)
		}
	})
}

// 401: renew once, repeat once, then fail.
func TestUnauthorized(t *testing.T) {
	for name, tt := range map[string]struct {
		code  string
		wants []string
	}{
		"bad.credentials": {"bad.credentials", []string{
			"GET /api/v2/userrecordings/summary A0", "POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1"}},
		"ip.not.authorized": {"ip.not.authorized", []string{"GET /api/v2/userrecordings/summary A0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				p.store.token = Token{Access: "A0", Refresh: "R0", Expiry: time.Now().Add(time.Hour), Confirmed: true}
				p.api = func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(401)
					fmt.Fprintf(w, `{"code":%q}`, tt.code)
				}
				_, err := p.client().Summary(t.Context())
				if e := asError(t, err); e.Status != 401 || e.Code != tt.code || e.Op != "get_userrecordings_summary" {
					t.Error(err)
				}
				wantEvents(t, p, tt.wants...)
			})
		})
	}
}

// Many calls whose token was revoked share one renewal: a second one would spend the refresh token twice.
func TestConcurrentCallsShareOneRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		c := p.client()
		if _, err := c.Summary(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.revoke()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := c.Summary(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		posts := 0
		for _, e := range p.log.all() {
			if e == "POST token R1" {
				posts++
			} else if e == "POST token R2" {
				t.Error("renewed twice")
			}
		}
		if posts != 1 {
			t.Errorf("%d renewals", posts)
		}
	})
}

// A token that could not be saved is not used, and is kept, because the old refresh token is spent.
func TestSaveFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.store.failSave = func(Token) error { return fmt.Errorf("%w writing R1", errDisk) }
		c := p.client()
		for range 2 {
			_, err := c.Summary(t.Context())
			if asError(t, err).Op != "oauth_token" {
				t.Error(err)
			}
		}
		wantEvents(t, p, "POST token R0", "save fails", "save fails")
		p.store.failSave = nil
		if _, err := c.Summary(t.Context()); err != nil {
			t.Error(err)
		}
		wantEvents(t, p, "POST token R0", "save fails", "save fails", "save A1 R1 confirmed=false",
			"GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1")
	})
}

func TestSaveOfConfirmationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.store.failSave = func(n Token) error {
			if n.Confirmed {
				return errDisk
			}
			return nil
		}
		c := p.client()
		if _, err := c.Summary(t.Context()); !errors.Is(err, errDisk) || c.tokens.Confirmed() {
			t.Errorf("%v, confirmed %v", err, c.tokens.Confirmed())
		}
		p.store.failSave = nil
		if _, err := c.Summary(t.Context()); err != nil || !c.tokens.Confirmed() {
			t.Error(err)
		}
		wantEvents(t, p, "POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "save fails",
			"GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1")
	})
}

func TestLoadFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.store.failLoad = errDisk
		if _, err := p.client().Summary(t.Context()); !errors.Is(err, errDisk) {
			t.Error(err)
		}
		wantEvents(t, p)
	})
}

func TestClientCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.store.token = Token{}
		clientCredentials := func(o *TokensOptions) { o.Grant, o.UserID = GrantClientCredentials, "" }
		c := p.client(clientCredentials)
		if !c.tokens.Confirmed() {
			t.Error("not confirmed")
		}
		if _, err := c.Summary(t.Context()); err != nil {
			t.Error(err)
		}
		p.revoke()
		for range 2 {
			if _, err := c.Summary(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if _, err := p.client(clientCredentials).Summary(t.Context()); err != nil {
			t.Errorf("the next process: %v", err)
		}
		wantEvents(t, p, "POST token", "save A1  confirmed=true", "GET /api/v2/userrecordings/summary A1",
			"GET /api/v2/userrecordings/summary A1", "POST token", "save A2  confirmed=true",
			"GET /api/v2/userrecordings/summary A2", "GET /api/v2/userrecordings/summary A2", "GET /api/v2/userrecordings/summary A2")
	})
}

func TestInvalidClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		_, err := p.client(func(o *TokensOptions) { o.ClientSecret = "wrong" }).Summary(t.Context())
		if e := asError(t, err); e.Status != 401 || e.Code != "invalid_client" || errors.Is(err, ErrNeedsLogin) || e.Temporary() {
			t.Error(err)
		}
	})
}
