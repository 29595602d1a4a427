package genesys

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Cancelling the caller's context has no effect between the request that spends the refresh token and the save of the next.
func TestCancelDuringRenewalSavesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		ctx, cancel := context.WithCancel(t.Context())
		p.login = func(http.ResponseWriter, *http.Request) bool { cancel(); return false }
		if _, err := p.client().Summary(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantEvents(t, p, "POST token R0", "save A1 R1 confirmed=false")
	})
}

// A caller waits for another caller's renewal no longer than its own context allows.
func TestWaitingForAnothersRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.login = func(http.ResponseWriter, *http.Request) bool { time.Sleep(20 * time.Second); return false }
		c := p.client()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Summary(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := c.Summary(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		wg.Wait()
	})
}

// A request to a login host that hangs ends after 30 s, and its error is not the caller's deadline.
func TestLoginHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.login = func(w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
		start := time.Now()
		_, err := p.client().Summary(t.Context())
		if e := asError(t, err); e.Status != 0 || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != exchangeTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// The login host's 429 holds everything, before the reply is returned, and the API is not asked meanwhile.
func TestLoginLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		limited := true
		p.login = func(w http.ResponseWriter, r *http.Request) bool {
			if limited {
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(429)
			}
			return limited
		}
		c := p.client()
		start := time.Now()
		_, err := c.Summary(t.Context())
		if e := asError(t, err); e.Status != 429 || e.RetryAfter != 2*time.Minute || !e.Temporary() {
			t.Error(err)
		}
		limited = false
		if _, err := c.Summary(t.Context()); err != nil || time.Since(start) != 2*time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestAPIHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.api = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		start := time.Now()
		_, err := p.client().Summary(t.Context())
		if e := asError(t, err); !e.Temporary() || errors.Is(err, context.DeadlineExceeded) || time.Since(start) != defaultTimeout {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.api = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(-7*time.Minute).UTC().Format(http.TimeFormat))
			w.WriteHeader(500)
		}
		c := p.client()
		if _, ok := c.Skew(); ok {
			t.Error("skew before any reply")
		}
		c.Summary(t.Context())
		if d, ok := c.Skew(); !ok || d != -7*time.Minute {
			t.Errorf("skew %v %v", d, ok)
		}
	})
}
