package genesystest

import (
	"testing"
	"time"
)

func TestRateLimit(t *testing.T) {
	w := newWorld(t, Options{RateLimit: 3})
	for i := range 3 {
		a := w.get(pathMeTest)
		if h := a.header; a.status != 200 || h.Get("inin-ratelimit-count") != string(rune('1'+i)) || h.Get("inin-ratelimit-allowed") != "3" {
			t.Errorf("%d %v", a.status, h)
		}
		w.clock.advance(10 * time.Second)
	}
	a := w.get(pathMeTest)
	w.refused(a, 429, "too.many.requests.retry.after")
	if h := a.header; h.Get("Retry-After") != "30" || h.Get("inin-ratelimit-reset") != "30" {
		t.Errorf("%v", h)
	}
	w.noViolations()
	w.clock.advance(30*time.Second - 1)
	w.get(pathMeTest)
	w.wantViolations(1) // too early
	w.clock.advance(1)
	w.Configure(func(o *Options) { o.HideRateHeaders = true })
	if a := w.get(pathMeTest); a.status != 200 || a.header.Get("inin-ratelimit-count") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
	w.inbox.UseBudget(1)
	w.refused(w.get(pathMeTest), 429, "too.many.requests.retry.after")
	other := w.AddUser("u-2", "Bob", "")
	w.token = other.IssueAccessToken(time.Hour)
	if a := w.get(pathMeTest); a.status != 200 {
		t.Errorf("another user's budget: %d", a.status)
	}
	w.wantViolations(1)
}

func TestRetryAfterIsHeeded(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	link := w.link("r000", "WAV")
	for _, test := range []struct {
		op   string
		send func() answer
	}{
		{"get_users_me", func() answer { return w.get(pathMeTest) }},
		{"oauth_token", func() answer { return w.grant("client", "secret", "grant_type", "client_credentials") }},
		{"media_link", func() answer { return w.fetch(link) }},
	} {
		before := len(w.Violations())
		w.Inject(Fault{Op: test.op, Effect: RetryAfter(503, 120)})
		if a := test.send(); a.status != 503 || a.header.Get("Retry-After") != "120" {
			t.Errorf("%d %v", a.status, a.header)
		}
		test.send() // may have been under way
		w.wantViolations(before)
		w.clock.advance(119 * time.Second)
		test.send()
		w.wantViolations(before + 1)
		w.clock.advance(time.Second)
		test.send()
		w.wantViolations(before + 1)
	}
}
