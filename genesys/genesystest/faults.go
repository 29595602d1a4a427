package genesystest

import (
	"net/http"
	"strings"
)

// Always as Fault.Times applies the fault without limit.
const Always = -1

// Fault applies an Effect to requests. If several faults match a request, the one injected first is applied.
type Fault struct {
	Op, Inbox, Recording string // "": any
	Skip                 int    // so many matching requests are let through first
	Times                int    // how many requests it is applied to; 0: one

	Effect
}

// Effect is what happens to a request. The functions below make the usual effects.
type Effect struct {
	Name string

	// Before runs before the request has any effect, and may answer it itself.
	Before func(w http.ResponseWriter, r *http.Request) (handled bool)

	// Wrap may change the reply on its way. The request has had its effect when the first byte is written.
	Wrap func(w http.ResponseWriter, r *http.Request) http.ResponseWriter
}

// Inject adds a fault.
func (c *Cloud) Inject(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	setDefault(&f.Times, 1)
	c.faults = append(c.faults, &f)
}

// ClearFaults cancels all faults.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// underFault runs answer under the fault that matches x, if any.
func (x *call) underFault(w http.ResponseWriter, answer func(http.ResponseWriter)) {
	if e := x.fault(); e != nil {
		if e.Before != nil && e.Before(w, x.r) {
			return
		}
		if e.Wrap != nil {
			w = e.Wrap(w, x.r)
		}
	}
	answer(w)
}

func (x *call) fault() *Effect {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	for _, f := range x.c.faults {
		if !f.matches(x) || f.Times == 0 {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		e := f.Effect
		x.c.events[x.event].Fault = e.Name
		return &e
	}
	return nil
}

func (f *Fault) matches(x *call) bool {
	return (f.Op == "" || f.Op == x.op) && (f.Inbox == "" || f.Inbox == x.inboxID()) && (f.Recording == "" || f.Recording == x.recording)
}

// answered returns an Effect that answers instead of the Cloud.
func answered(name string, p func() reply) Effect {
	return Effect{Name: name, Before: func(w http.ResponseWriter, _ *http.Request) bool {
		p().send(w)
		return true
	}}
}

// Status answers with an ErrorBody.
func Status(status int, code string) Effect {
	return answered(code, func() reply { return errorReply(status, code, "HTTP "+http.StatusText(status)) })
}

// OAuthError answers as the login service does.
func OAuthError(status int, code string) Effect {
	return answered(code, func() reply { return oauthError(status, code, "ordered") })
}

// RetryAfter answers 429 or 503 with a Retry-After of so many seconds.
func RetryAfter(status, seconds int) Effect {
	return answered("retry after", func() reply { return retryReply(status, seconds) })
}

// RetryAfterText is RetryAfter with any text in place of the seconds.
func RetryAfterText(status int, text string) Effect {
	return answered("retry after", func() reply {
		p := retryReply(status, 0)
		p.header.Set("Retry-After", text)
		return p
	})
}

// HTML answers with a page that no API would send; with status 200 it is what a download link may serve.
func HTML(status int) Effect {
	return Body(status, "text/html; charset=utf-8", "<!DOCTYPE html><html><body><h1>"+http.StatusText(status)+"</h1>"+strings.Repeat("<p>Sorry.</p>", 20)+"</body></html>")
}

// Body answers with any body.
func Body(status int, contentType, body string) Effect {
	return answered("body", func() reply {
		return reply{status: status, header: http.Header{"Content-Type": {contentType}}, body: []byte(body)}
	})
}

// Expired answers as object storage does to a link that has expired.
func Expired() Effect {
	return answered("expired", func() reply { return storageError(http.StatusForbidden, "AccessDenied", "Request has expired") })
}

// Redirect sends the client elsewhere.
func Redirect(to string) Effect {
	return answered("redirect", func() reply { return reply{status: http.StatusFound, header: http.Header{"Location": {to}}} })
}

// Reset closes the connection before the request has any effect. On a reused connection, Go's http.Transport repeats a GET on
// its own: set the fault's Times to 2 to make the repeated GET fail too.
func Reset() Effect {
	return Effect{Name: "reset", Before: func(w http.ResponseWriter, _ *http.Request) bool {
		hangUp(w, true)
		return true
	}}
}

// Stall keeps the request waiting, before any effect, until the client gives up, Release or Close. After Release it continues
// as usual.
func (c *Cloud) Stall() Effect {
	wait := c.waiter()
	return Effect{Name: "stall", Before: func(w http.ResponseWriter, r *http.Request) bool {
		wait(w, r)
		return false
	}}
}

// Release ends all stalls made so far, also for requests that have not arrived yet.
func (c *Cloud) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.released)
	c.released = make(chan struct{})
}

// waiter returns a function that returns after the next Release, and aborts the request if the client has gone.
func (c *Cloud) waiter() func(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	released := c.released
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-released:
		case <-r.Context().Done():
			hangUp(w, true)
		}
	}
}
