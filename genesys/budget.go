package genesys

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	burst             = 5
	longestWait       = 180 * time.Second // the official SDKs give up after the same time (seen)
	defaultRetryAfter = 3 * time.Second   // for a 429 without Retry-After, as in the official SDKs (seen)
	longestRetryAfter = time.Hour         // a longer Retry-After is cut to this
	earliestUnixTime  = 1e9               // a Retry-After of at least this many seconds is a Unix time: some gateways send one
	longestReset      = time.Minute       // a longer inin-ratelimit-reset is cut to this: the limits are per minute
	slowestRate       = 0.99 / 60         // requests a second if one a minute is allowed
)

// Budget is the rate budget of one token: a token bucket of 5 requests, and a time before which nothing is sent, set by
// Retry-After. The bucket refills so slowly that no window of 60 s sees more than the allowed number of requests, the burst
// of 5 included. A Budget is safe for concurrent use; waiters are served in the order of their arrival.
type Budget struct {
	size, rate float64       // size of the bucket in requests; its refill in requests a second
	turn       chan struct{} // held by the waiter at the head of the queue
	holding    sync.Mutex    // keeps calls of onHold in the order of the replies that caused them

	mu        sync.Mutex // guards the rest
	tokens    float64
	at        time.Time // when tokens was last brought up to date
	notBefore time.Time
	moved     chan struct{} // closed, and replaced, when notBefore moves
	inFlight  int
	reserved  []*Reservation // requests taken from tokens and not sent yet: a refill does not replace them
	allowed   int            // requests a minute, from the last reply that gave the limit; 0: no reply did
	onHold    func(notBefore time.Time, cut string)
	cut       bool // NewBudget was given a notBefore more than longestRetryAfter ahead, and cut it
}

// BudgetState is the state a budget starts in. The zero value is a full bucket.
type BudgetState struct {
	// EmptyAt: assume the bucket was empty at this time, for example at process start,
	// because the previous process may have spent it. Zero means full.
	EmptyAt   time.Time
	NotBefore time.Time // set by a Retry-After, perhaps in an earlier process
}

// LimitedError reports that Genesys forbids requests for longer than it makes sense to wait.
type LimitedError struct{ Until time.Time }

func (e *LimitedError) Error() string {
	return "limited by Genesys until " + e.Until.UTC().Format(time.RFC3339)
}

// NewBudget returns a budget of perMinute requests (at least 1) that starts in state s. Genesys' limit is 300 a minute for
// a user and client (seen). With 10 a minute or fewer the bucket holds 1 request.
func NewBudget(perMinute int, s BudgetState) *Budget {
	allowed := float64(max(perMinute, 1))
	size := float64(burst)
	if allowed <= 2*burst {
		size = 1
	}
	b := &Budget{
		size:      size,
		rate:      max((allowed-size)/60, slowestRate),
		turn:      make(chan struct{}, 1),
		tokens:    size,
		at:        time.Now(),
		notBefore: s.NotBefore,
		moved:     make(chan struct{}),
	}
	if latest := b.at.Add(longestRetryAfter); b.notBefore.After(latest) {
		b.notBefore, b.cut = latest, true
	}
	if !s.EmptyAt.IsZero() {
		b.tokens = 0
		if s.EmptyAt.Before(b.at) {
			b.at = s.EmptyAt
		}
	}
	return b
}

// Wait blocks until a request may be sent, and counts it as sent. If ctx ends first, it returns ctx's error. If nothing may
// be sent for the next 180 s, it returns a *LimitedError at once; callers that already wait when a reply says so get it too.
func (b *Budget) Wait(ctx context.Context) error { return b.take(ctx, 1) }

// take waits as Wait does, for n requests. With n = 0 it only waits until notBefore.
func (b *Budget) take(ctx context.Context, n float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		wait, moved, err := b.try(n)
		if err != nil || wait == 0 {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		case <-moved: // perhaps beyond longestWait
			timer.Stop()
		}
	}
}

// Reservation is one request that was taken from the bucket ahead of time. A nil
// Reservation is none.
type Reservation struct{ budget *Budget }

// reserve waits as Wait does. Until the reservation ends, no refill replaces the reserved request.
func (b *Budget) reserve(ctx context.Context) (*Reservation, error) {
	if err := b.take(ctx, 1); err != nil {
		return nil, err
	}
	r := &Reservation{b}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reserved = append(b.reserved, r)
	return r, nil
}

// use ends the reservation because its request is being sent. It returns false if the reservation had ended before.
func (r *Reservation) use() bool { return r.end(0) }

// Release ends the reservation and puts an unsent request back.
func (r *Reservation) Release() { r.end(1) }

func (r *Reservation) end(unsent float64) bool {
	if r == nil {
		return false
	}
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.reserved, r)
	if i < 0 {
		return false
	}
	b.refill()
	b.reserved = slices.Delete(b.reserved, i, i+1)
	b.tokens += unsent
	return true
}

// try takes n requests from the bucket, or returns how long to wait before the next try.
func (b *Budget) try(n float64) (wait time.Duration, moved <-chan struct{}, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.refill()
	if hold := b.notBefore.Sub(now); hold > longestWait {
		return 0, nil, &LimitedError{Until: b.notBefore}
	} else if hold > 0 {
		return hold, b.moved, nil
	}
	if free := b.size - float64(len(b.reserved)); b.tokens < n && free < n {
		// No refill would ever be enough. The holder of a reservation may itself wait for
		// this request to end, so the request takes the reservation over.
		b.reserved = b.reserved[1:]
		return 0, nil, nil
	}
	if b.tokens < n {
		return time.Duration(math.Ceil((n - b.tokens) / b.rate * float64(time.Second))), b.moved, nil
	}
	b.tokens -= n
	return 0, nil, nil
}

// refill adds the tokens earned since the last call and returns the time. A clock that went back adds none.
func (b *Budget) refill() time.Time {
	now := time.Now()
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.size-float64(len(b.reserved)), b.tokens+passed.Seconds()*b.rate)
	}
	b.at = now
	return now
}

// OnHold sets f, which is called whenever a reply's Retry-After moves NotBefore, before that reply is returned to anyone, so
// that f can make NotBefore durable. cut is the Retry-After that asked for more than an hour and was cut to an hour, else "".
// If the budget started with a NotBefore more than an hour ahead, OnHold calls f at once with the shortened time; otherwise
// each process would start the hour anew. Calls of f do not overlap. Call OnHold before the first request.
func (b *Budget) OnHold(f func(notBefore time.Time, cut string)) {
	b.mu.Lock()
	b.onHold = f
	until, cut := b.notBefore, b.cut
	b.mu.Unlock()
	if cut {
		f(until, "")
	}
}

// allows returns how many requests a minute Genesys allows; 0 if no reply has said.
func (b *Budget) allows() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.allowed
}

// begin and end enclose a request that is under way.
func (b *Budget) begin() { b.mu.Lock(); b.inFlight++; b.mu.Unlock() }
func (b *Budget) end()   { b.mu.Lock(); b.inFlight--; b.mu.Unlock() }

// Observe adjusts the budget to a reply: to Retry-After of a 503 and of a 429 (3 s if absent), and to the inin-ratelimit
// headers, which include other clients' use of the same limit and are not always there (seen). It only makes the budget slower.
func (b *Budget) Observe(h http.Header, status int) {
	after, cut := retryAfter(h, status)
	if status == http.StatusTooManyRequests && after == 0 {
		after = defaultRetryAfter
	}
	if after > 0 {
		b.holding.Lock()
		defer b.holding.Unlock()
		if until, f, moved := b.hold(after); moved && f != nil {
			f(until, cut)
		}
		return
	}
	if reset := b.exhausted(h); reset > 0 {
		b.hold(reset)
	}
}

// hold moves notBefore to d from now, unless it is later already.
func (b *Budget) hold(d time.Duration) (until time.Time, onHold func(time.Time, string), moved bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	until = time.Now().Add(d)
	if !until.After(b.notBefore) {
		return b.notBefore, b.onHold, false
	}
	b.notBefore = until
	close(b.moved)
	b.moved = make(chan struct{})
	return until, b.onHold, true
}

// exhausted returns how long to send nothing if, by the reply's headers, the requests under way use up the rest of the
// limit; else 0.
func (b *Budget) exhausted(h http.Header) time.Duration {
	var n [3]int
	for i, name := range []string{"Count", "Allowed", "Reset"} {
		v, err := strconv.Atoi(h.Get("Inin-Ratelimit-" + name))
		if err != nil || v < 0 {
			return 0
		}
		n[i] = v
	}
	used, allowed, reset := n[0], n[1], n[2]
	b.mu.Lock()
	b.allowed = allowed
	others := max(b.inFlight-1, 0)
	b.mu.Unlock()
	if allowed == 0 || allowed-used > others {
		return 0
	}
	return min(time.Duration(min(reset, 3600))*time.Second, longestReset)
}

// retryAfter reads the Retry-After of a 429 or 503: seconds, a date or a Unix time. It measures a date or Unix time from the
// reply's Date header, if there is one. after is 0 if the header is absent or unreadable, else between 1 s and an hour. cut
// is the header's text if it asked for more than an hour.
func retryAfter(h http.Header, status int) (after time.Duration, cut string) {
	v := h.Get("Retry-After")
	if v == "" || status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0, ""
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	seconds, err := strconv.ParseFloat(v, 64)
	if date, notDate := http.ParseTime(v); notDate == nil {
		seconds = date.Sub(now).Seconds()
	} else if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(seconds) {
		return 0, ""
	} else if seconds >= earliestUnixTime {
		seconds -= float64(now.Unix())
	}
	if seconds > longestRetryAfter.Seconds() {
		return longestRetryAfter, printable(v, 100)
	}
	return time.Duration(math.Ceil(max(seconds, 1))) * time.Second, ""
}
