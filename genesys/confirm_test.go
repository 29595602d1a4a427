package genesys

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
)

// No request uses another user's token, neither in this process nor in the next.
func TestWrongUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.me = func(w http.ResponseWriter) { io.WriteString(w, `{"id":"user-2"}`) }
		c := p.client()
		for range 3 {
			_, err := c.Summary(t.Context())
			if e := asError(t, err); !errors.Is(err, ErrWrongUser) || e.Temporary() || e.CorrelationID != "corr-1" || c.tokens.Confirmed() {
				t.Errorf("%v, temporary %v", err, e.Temporary())
			}
		}
		if err := p.client().DeleteRecording(t.Context(), "r"); !errors.Is(err, ErrWrongUser) {
			t.Errorf("the next process: %v", err)
		}
		wantEvents(t, p, "POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1", "GET /api/v2/users/me A1")
	})
}

// If users/me is refused, the token is used unconfirmed, and users/me is asked again after the next renewal.
func TestMeRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		answer := p.me
		p.me = func(w http.ResponseWriter) {
			w.WriteHeader(403)
			io.WriteString(w, `{"code":"app.not.authorized.for.scope"}`)
		}
		c := p.client()
		for range 2 {
			if _, err := c.Summary(t.Context()); err != nil || c.tokens.Confirmed() {
				t.Errorf("%v, confirmed %v", err, c.tokens.Confirmed())
			}
		}
		p.me = answer
		p.revoke()
		if _, err := c.Summary(t.Context()); err != nil || !c.tokens.Confirmed() {
			t.Errorf("%v, confirmed %v", err, c.tokens.Confirmed())
		}
		wantEvents(t, p, "POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1",
			"GET /api/v2/userrecordings/summary A1", "GET /api/v2/userrecordings/summary A1", "GET /api/v2/userrecordings/summary A1",
			"POST token R1", "save A2 R2 confirmed=false", "GET /api/v2/users/me A2", "save A2 R2 confirmed=true", "GET /api/v2/userrecordings/summary A2")
	})
}

// Any other failure of users/me fails the call that needed the token, and users/me is asked again for the next.
func TestMeFails(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
	}{
		"down": {500, ""}, "names nobody": {200, `{"name":"x"}`}, "unreadable": {200, `<html>`}, "not this network": {403, `{"code":"ip.not.authorized"}`}, "absent": {404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				answer := p.me
				p.me = func(w http.ResponseWriter) { w.WriteHeader(tt.status); io.WriteString(w, tt.body) }
				c := p.client()
				if _, err := c.Summary(t.Context()); asError(t, err).Op != "get_users_me" || c.tokens.Confirmed() {
					t.Error(err)
				}
				p.me = answer
				if _, err := c.Summary(t.Context()); err != nil || !c.tokens.Confirmed() {
					t.Error(err)
				}
				wantEvents(t, p, "POST token R0", "save A1 R1 confirmed=false", "GET /api/v2/users/me A1",
					"GET /api/v2/users/me A1", "save A1 R1 confirmed=true", "GET /api/v2/userrecordings/summary A1")
			})
		})
	}
}
