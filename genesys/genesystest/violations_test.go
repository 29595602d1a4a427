package genesystest

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestEveryRuleCanBeBroken lets a bad client break each rule of the simulation. A check
// that no client can fail proves nothing of a good one.
func TestEveryRuleCanBeBroken(t *testing.T) {
	const path = "/api/v2/userrecordings/r000"
	for name, c := range map[string]struct {
		misbehave func(w *world)
		says      string
	}{
		"a token at the media host": {func(w *world) {
			w.fetch(w.link("r000", "WAV"), "Authorization", "Bearer "+w.token)
		}, "an Authorization header at the media host"},
		"a request before Retry-After": {func(w *world) {
			w.Inject(Fault{Effect: RetryAfter(429, 100)})
			w.get(path)
			w.clock.advance(60e9)
			w.get(path)
		}, "before Retry-After had passed"},
		"a media request before Retry-After": {func(w *world) {
			link := w.link("r000", "WAV")
			w.Inject(Fault{Effect: RetryAfter(503, 100)})
			w.fetch(link)
			w.clock.advance(60e9)
			w.fetch(link)
		}, "before Retry-After had passed"},
		"a deletion during a listing": {func(w *world) {
			w.Configure(func(o *Options) { o.OnPage = func(*Inbox, int) { w.delete("r000") } })
			w.get("/api/v2/userrecordings")
		}, "while a listing is under way"},
		"a deletion that the guard forbids": {func(w *world) {
			w.Configure(func(o *Options) { o.OnDelete = func(string, string) error { return errors.New("not stored") } })
			w.delete("r000")
		}, "not stored"},
		"a deletion without a look": {func(w *world) {
			w.get(path)
			w.get("/api/v2/userrecordings")
			w.send("DELETE", path, "")
		}, "not looked at since the inbox was last listed"},
		"a deletion before users/me was asked": {func(w *world) {
			w.named("")
			w.delete("r000")
		}, "before users/me was asked"},
		"another user's token": {func(w *world) {
			w.inbox.AnswerMe("u-2")
			w.get("/api/v2/users/me")
			w.get(path)
		}, "users/me said is user u-2's"},
		"a spent refresh token": {func(w *world) {
			refresh := w.inbox.IssueRefreshToken()
			for range 2 {
				w.grant("client", "secret", "grant_type", "refresh_token", "refresh_token", refresh)
			}
		}, "was sent again"},
		"an unknown parameter": {func(w *world) { w.get(path + "?foo=1") }, "unknown parameter"},
		"an unknown operation": {func(w *world) { w.get("/api/v2/users") }, "no such operation"},
		"a body nobody reads":  {func(w *world) { w.send(http.MethodDelete, path, "{}") }, "a body of"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			w.fill(2)
			c.misbehave(w)
			if all := strings.Join(w.Violations(), "\n"); !strings.Contains(all, c.says) {
				t.Errorf("violations %q, want one that says %q", all, c.says)
			}
		})
	}
}

// A refresh token whose successor got lost on the way may be sent again: its client can't know.
func TestLostRenewalIsExcused(t *testing.T) {
	w := newWorld(t, Options{})
	refresh := w.inbox.IssueRefreshToken()
	w.Inject(Fault{Op: "oauth_token", Effect: LoseReply()})
	for range 2 {
		w.grant("client", "secret", "grant_type", "refresh_token", "refresh_token", refresh)
	}
	w.noViolations()
}
