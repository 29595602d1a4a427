package genesystest

import (
	"net/http"
	"strconv"
	"time"
)

const ratePeriod = time.Minute

// limit counts the request against its token's budget, and returns the 429 if the budget is spent. h gets the rate headers.
func (x *call) limit(h http.Header) (reply, bool) {
	if x.o.RateLimit == 0 || x.inbox == nil {
		return reply{}, false
	}
	now := x.o.Now()
	x.c.mu.Lock()
	i := x.inbox
	i.forget(now)
	limited := len(i.used) >= x.o.RateLimit
	if !limited {
		i.used = append(i.used, now)
	}
	count, reset := len(i.used), seconds(i.used[0].Add(ratePeriod).Sub(now))
	x.c.mu.Unlock()

	if !x.o.HideRateHeaders {
		h.Set("inin-ratelimit-count", strconv.Itoa(count))
		h.Set("inin-ratelimit-allowed", strconv.Itoa(x.o.RateLimit))
		h.Set("inin-ratelimit-reset", strconv.Itoa(reset))
	}
	if !limited {
		return reply{}, false
	}
	x.note("rate limited")
	return retryReply(http.StatusTooManyRequests, reset), true
}

// retryReply is a 429 or 503 with a Retry-After.
func retryReply(status, after int) reply {
	code, message := "too.many.requests.retry.after", "Rate limit exceeded the maximum. Retry the request in ["+strconv.Itoa(after)+"] seconds"
	if status == http.StatusServiceUnavailable {
		code, message = "service.unavailable", "Service Unavailable"
	}
	p := errorReply(status, code, message)
	p.header.Set("Retry-After", strconv.Itoa(after))
	return p
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// forget drops the requests that no longer count. The Cloud's mu is held.
func (i *Inbox) forget(now time.Time) {
	n := 0
	for n < len(i.used) && now.Sub(i.used[n]) >= ratePeriod {
		n++
	}
	i.used = i.used[n:]
}

// UseBudget uses n requests of the inbox's budget, as another client of the same user would.
func (i *Inbox) UseBudget(n int) {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	now := i.cloud.opts.Now()
	for range n {
		i.used = append(i.used, now)
	}
}

// hold is the time in which a Retry-After forbids requests.
type hold struct {
	from, until time.Time // from: when a request can no longer have been under way
}

// longestHold is the longest wait that a client must heed: a longer Retry-After is a mistake.
const longestHold = time.Hour

// holdAsked reads a Retry-After: seconds, a Unix time, or a date.
func holdAsked(text string, now time.Time) time.Duration {
	if date, err := http.ParseTime(text); err == nil {
		return min(date.Sub(now), longestHold)
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	if n >= 1e9 {
		n -= float64(now.UnixNano()) / 1e9
	}
	return time.Duration(min(n, longestHold.Seconds()) * float64(time.Second))
}

// ForgetHolds ends all waits, as when a person overrides them.
func (c *Cloud) ForgetHolds() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.holds)
}

// setHold records a Retry-After. Requests that were sent before the reply arrived don't break it.
func (c *Cloud) setHold(holder string, now time.Time, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := now.Add(after); until.After(c.holds[holder].until) {
		c.holds[holder] = hold{now.Add(min(time.Second, after/2)), until}
	}
}

func (c *Cloud) checkHold(holder, op string, now time.Time) {
	c.mu.Lock()
	h := c.holds[holder]
	c.mu.Unlock()
	if now.After(h.from) && now.Before(h.until) {
		c.violate("%s: %s was sent %v before Retry-After had passed", holder, op, h.until.Sub(now))
	}
}
