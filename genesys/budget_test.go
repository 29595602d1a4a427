package genesys

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// spend takes from b in n goroutines for d, and returns when each request went out, in order.
func spend(t *testing.T, b *Budget, n int, d time.Duration) []time.Duration {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	var mu sync.Mutex
	var sent []time.Duration
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for b.Wait(ctx) == nil {
				mu.Lock()
				sent = append(sent, time.Since(start))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return sent
}

// busiest is the largest number of requests in any window of 60 s, both ends included.
func busiest(sent []time.Duration) int {
	most, first := 0, 0
	for last := range sent {
		for sent[last]-sent[first] > time.Minute {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// No window of 60 s sees more requests than allowed, bursts included, and nearly all that are allowed are sent.
func TestBudgetIsSpentNotExceeded(t *testing.T) {
	for _, perMinute := range []int{1, 2, 3, 10, 11, 60, 300, 3000} {
		t.Run(fmt.Sprint(perMinute), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := spend(t, NewBudget(perMinute, BudgetState{}), 8, 5*time.Minute)
				if got := busiest(sent); got > perMinute {
					t.Errorf("%d in one minute", got)
				}
				if want := 0.97 * 5 * float64(perMinute); perMinute >= 300 && float64(len(sent)) < want {
					t.Errorf("%d in 5 minutes, want %.0f at least", len(sent), want)
				}
				if want := 5 * max(perMinute-burst, (perMinute+1)/2); len(sent) < want-1 {
					t.Errorf("%d in 5 minutes, want %d at least", len(sent), want)
				}
			})
		})
	}
}

func TestBudgetBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(300, BudgetState{})
		sent := spend(t, b, 1, time.Second)
		if len(sent) != 9 || sent[4] != 0 || sent[5] == 0 {
			t.Errorf("sent at %v: want 5 at once and 4 in the rest of a second", sent)
		}
		time.Sleep(time.Hour) // unused requests do not add up
		if sent := spend(t, b, 1, 100*time.Millisecond); len(sent) != burst {
			t.Errorf("%d after an hour's rest", len(sent))
		}
	})
}

// left returns how many requests the bucket holds.
type left struct {
	tokens    float64
	notBefore time.Time
}

func (b *Budget) state() left {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refill()
	return left{b.tokens + float64(len(b.reserved)), b.notBefore}
}

// However often a process starts, no start gives a fresh burst.
func TestBudgetAcrossStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []time.Duration
		start := time.Now()
		for range 300 {
			b := NewBudget(300, BudgetState{EmptyAt: time.Now().Round(0)})
			offset := time.Since(start)
			for _, at := range spend(t, b, 2, 900*time.Millisecond) {
				sent = append(sent, offset+at)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if got := busiest(sent); got > 300 {
			t.Errorf("%d in one minute", got)
		}
		if len(sent) < 1000 {
			t.Errorf("only %d in 285 s", len(sent))
		}
	})
}

func TestBudgetAbsurdState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for _, s := range []BudgetState{
			{}, {EmptyAt: now}, {EmptyAt: now.Add(time.Hour)}, {EmptyAt: now.Add(-1000 * time.Hour)},
		} {
			if n := len(spend(t, NewBudget(300, s), 1, 100*time.Millisecond)); n > burst {
				t.Errorf("%+v: %d at once", s, n)
			}
			if n := len(spend(t, NewBudget(300, s), 1, time.Second)); n < 4 {
				t.Errorf("%+v: %d in a second", s, n)
			}
		}
		b := NewBudget(300, BudgetState{NotBefore: now.AddDate(1000, 0, 0)})
		var kept time.Time
		b.OnHold(func(until time.Time, _ string) { kept = until })
		if want := time.Now().Add(time.Hour); !b.state().notBefore.Equal(want) || !kept.Equal(want) {
			t.Errorf("holds until %v, and keeps %v for the next start; want %v", b.state().notBefore, kept, want)
		}
	})
}

func header(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(26 * 365 * 24 * time.Hour) // bubbles begin in 2000, when Unix times had one digit less
		now := time.Now().UTC()
		date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
		unix := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
		rate := func(count, allowed, reset string) http.Header {
			return header("inin-ratelimit-count", count, "inin-ratelimit-allowed", allowed, "inin-ratelimit-reset", reset)
		}
		for name, tt := range map[string]struct {
			status   int
			header   http.Header
			inFlight int
			want     time.Duration
			retry    time.Duration // Error.RetryAfter
			onHold   bool
		}{
			"429":                       {429, nil, 1, 3 * time.Second, 0, true},
			"429, seconds":              {429, header("Retry-After", "17"), 1, 17 * time.Second, 17 * time.Second, true},
			"429, fraction":             {429, header("Retry-After", "1.2"), 1, 2 * time.Second, 2 * time.Second, true},
			"429, date":                 {429, header("Retry-After", date(90*time.Second)), 1, 90 * time.Second, 90 * time.Second, true},
			"429, date of another time": {429, header("Retry-After", date(-time.Hour), "Date", date(-time.Hour-9*time.Second)), 1, 9 * time.Second, 9 * time.Second, true},
			"429, past":                 {429, header("Retry-After", date(-time.Hour)), 1, time.Second, time.Second, true},
			"429, negative":             {429, header("Retry-After", "-5"), 1, time.Second, time.Second, true},
			"429, for ever":             {429, header("Retry-After", "99999999999999999999999"), 1, time.Hour, time.Hour, true},
			"429, infinite":             {429, header("Retry-After", "inf"), 1, time.Hour, time.Hour, true},
			"429, beyond all numbers":   {429, header("Retry-After", "1e999"), 1, time.Hour, time.Hour, true},
			"429, an hour":              {429, header("Retry-After", "3600"), 1, time.Hour, time.Hour, true},
			"429, beyond an hour":       {429, header("Retry-After", "3601"), 1, time.Hour, time.Hour, true},
			"429, Unix time":            {429, header("Retry-After", unix(90*time.Second)), 1, 90 * time.Second, 90 * time.Second, true},
			"429, Unix time, Date":      {429, header("Retry-After", unix(-time.Hour), "Date", date(-time.Hour-9*time.Second)), 1, 9 * time.Second, 9 * time.Second, true},
			"429, Unix time, past":      {429, header("Retry-After", unix(-time.Hour)), 1, time.Second, time.Second, true},
			"429, Unix time, far":       {429, header("Retry-After", unix(720*time.Hour)), 1, time.Hour, time.Hour, true},
			"429, Unix time in ms":      {429, header("Retry-After", unix(0)+"000"), 1, time.Hour, time.Hour, true},
			"429, date, far":            {429, header("Retry-After", date(720*time.Hour)), 1, time.Hour, time.Hour, true},
			"429, the last year":        {429, header("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"), 1, time.Hour, time.Hour, true},
			"429, nonsense":             {429, header("Retry-After", "NaN"), 1, 3 * time.Second, 0, true},
			"503":                       {503, nil, 1, 0, 0, false},
			"503, seconds":              {503, header("Retry-After", "17"), 1, 17 * time.Second, 17 * time.Second, true},
			"200, Retry-After":          {200, header("Retry-After", "17"), 1, 0, 0, false},
			"limit left":                {200, rate("299", "300", "9"), 1, 0, 0, false},
			"limit used up":             {200, rate("300", "300", "9"), 1, 9 * time.Second, 0, false},
			"limit exceeded":            {200, rate("301", "300", "9"), 1, 9 * time.Second, 0, false},
			"limit under way":           {200, rate("298", "300", "9"), 3, 9 * time.Second, 0, false},
			"limit, absurd reset":       {200, rate("300", "300", "1763900000"), 1, time.Minute, 0, false},
			"limit, mistyped":           {200, rate("300", "x", "9"), 1, 0, 0, false},
			"limit, no reset":           {200, rate("300", "300", ""), 1, 0, 0, false},
			"limit, nothing allowed":    {200, rate("0", "0", "9"), 1, 0, 0, false},
		} {
			b := NewBudget(300, BudgetState{})
			var told time.Time
			var cut string
			b.OnHold(func(at time.Time, header string) { told, cut = at, header })
			for range tt.inFlight {
				b.begin()
			}
			b.Observe(tt.header, tt.status)
			held := b.state().notBefore
			if got := max(0, time.Until(held)); got != tt.want || (tt.want == 0) != held.IsZero() {
				t.Errorf("%s: holds for %v, want %v", name, got, tt.want)
			}
			if tt.onHold != !told.IsZero() || tt.onHold && !told.Equal(held) {
				t.Errorf("%s: told %v, holds until %v", name, told, held)
			}
			if got, _ := retryAfter(tt.header, tt.status); got != tt.retry {
				t.Errorf("%s: RetryAfter %v, want %v", name, got, tt.retry)
			}
			if want := tt.retry == time.Hour && name != "429, an hour"; want != (cut != "") || want && cut != tt.header.Get("Retry-After") {
				t.Errorf("%s: told that %q was cut", name, cut)
			}
		}
	})
}

// A hold never ends earlier because of a later reply.
func TestHoldIsNotShortened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(300, BudgetState{})
		calls := 0
		b.OnHold(func(time.Time, string) { calls++ })
		start := time.Now()
		b.Observe(header("Retry-After", "100"), 429)
		b.Observe(nil, 429)
		b.Observe(header("Retry-After", "50"), 503)
		if err := b.Wait(t.Context()); err != nil || time.Since(start) != 100*time.Second || calls != 1 {
			t.Errorf("%v after %v, %d calls", err, time.Since(start), calls)
		}
	})
}

// A hold binds those already waiting, too; when it ends they go on at the configured rate.
func TestHoldBindsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(300, BudgetState{EmptyAt: time.Now()}) // empty
		start := time.Now()
		var wg sync.WaitGroup
		var mu sync.Mutex
		var sent []time.Duration
		for range 20 {
			wg.Go(func() {
				if err := b.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				sent = append(sent, time.Since(start))
				mu.Unlock()
			})
		}
		synctest.Wait()
		b.Observe(header("Retry-After", "30"), 429)
		wg.Wait()
		if sent[0] != 30*time.Second || sent[burst] <= 30*time.Second {
			t.Errorf("sent at %v", sent)
		}
	})
}

func TestLimitedForTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(300, BudgetState{EmptyAt: time.Now()})
		start := time.Now()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				err := b.Wait(t.Context())
				limited, ok := errors.AsType[*LimitedError](err)
				if !ok || !limited.Until.Equal(start.Add(181*time.Second)) || time.Since(start) != 0 {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		synctest.Wait()
		b.Observe(header("Retry-After", "181"), 429)
		wg.Wait()
		next := NewBudget(300, BudgetState{NotBefore: b.state().notBefore}) // also after a restart
		var limited *LimitedError
		if err := next.Wait(t.Context()); !errors.As(err, &limited) {
			t.Errorf("the next process: %v", err)
		}
		time.Sleep(time.Second)
		if err := next.Wait(t.Context()); err != nil || time.Since(start) != 181*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestBudgetContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(300, BudgetState{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.Canceled) || b.state().tokens != burst {
			t.Errorf("%v with %v left", err, b.state().tokens)
		}
		b.Observe(header("Retry-After", "100"), 429)
		ctx, cancel = context.WithTimeout(t.Context(), 7*time.Second)
		defer cancel()
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 { // at the head of the queue and in it
			wg.Go(func() {
				if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		wg.Wait()
	})
}
