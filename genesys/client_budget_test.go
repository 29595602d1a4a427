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

// The whole client under limits: what it sends stays within the budget, and a 429 is durable before the caller sees it.
func TestClientKeepsToTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		var mu sync.Mutex
		var sent []time.Duration
		start := time.Now()
		p.api = func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, time.Since(start))
			if len(sent) == 500 {
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(429)
			}
		}
		c := p.client()
		var durable time.Time
		c.sender.budget.OnHold(func(at time.Time, _ string) { durable = at })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for ctx.Err() == nil {
					err := c.DeleteRecording(ctx, "r")
					if e, ok := errors.AsType[*Error](err); ok && e.Status == 429 && !durable.After(time.Now()) {
						t.Error("the caller saw the 429 first")
					}
				}
			})
		}
		wg.Wait()
		if got := busiest(sent); got > 300 || len(sent) < 1300 {
			t.Errorf("%d in one minute, %d in all", got, len(sent))
		}
		for _, at := range sent[500:] {
			if at > sent[499] && at < sent[499]+20*time.Second {
				t.Errorf("sent at %v, %v after the 429", at, at-sent[499])
			}
		}
	})
}

// The limit's headers count a reply's own request; the other requests under way still have to fit.
func TestClientCountsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.api = func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet { // slow, and under way while the others are answered
				time.Sleep(10 * time.Second)
				return
			}
			w.Header().Set("inin-ratelimit-count", "298")
			w.Header().Set("inin-ratelimit-allowed", "300")
			w.Header().Set("inin-ratelimit-reset", "30")
		}
		c := p.client()
		deleteOne := func(want time.Duration) {
			t.Helper()
			if err := c.DeleteRecording(t.Context(), "r"); err != nil {
				t.Error(err)
			}
			if got := max(0, time.Until(c.sender.budget.state().notBefore)); got != want {
				t.Errorf("holds for %v, want %v", got, want)
			}
		}
		deleteOne(0)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() { c.Summary(t.Context()) })
		}
		synctest.Wait()
		deleteOne(30 * time.Second)
		wg.Wait()
		deleteOne(0) // nothing else is under way any more
	})
}

// A refill does not replace a reserved request, so that sending it late exceeds no limit.
func TestReservedRequestsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(300, BudgetState{})
		var held []*Reservation
		for range 3 {
			r, err := b.reserve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, r)
		}
		time.Sleep(time.Hour)
		if s := b.state(); s.tokens != burst {
			t.Errorf("the next process gets %v requests, want %d: nothing was sent", s.tokens, burst)
		}
		began := time.Now()
		for _, r := range held {
			if !r.use() || r.use() {
				t.Error("a reservation is not used once")
			}
		}
		sent := len(held)
		for time.Since(began) < time.Minute {
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if time.Since(began) < time.Minute {
				sent++
			}
		}
		if sent > 300 || sent < 290 {
			t.Errorf("%d requests in a minute", sent)
		}
		r, err := b.reserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := b.state().tokens
		r.Release()
		r.Release()
		if after := b.state().tokens; after != before || r.use() {
			t.Errorf("%v requests became %v by giving one back", before, after)
		}
	})
}

// The holder of a reservation may wait for a request that is still to be sent, for example
// of the recording that occupies the only worker.
func TestAReservationHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10, BudgetState{}) // a bucket for one request
		r, err := b.reserve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := b.Wait(ctx); err != nil {
			t.Errorf("the other request was not sent: %v", err)
		}
		began := time.Now()
		if r.use() {
			t.Error("both requests were sent")
		}
		if err := b.Wait(ctx); err != nil || time.Since(began) == 0 {
			t.Errorf("the reserved request was sent after %s: %v", time.Since(began), err)
		}
	})
}
