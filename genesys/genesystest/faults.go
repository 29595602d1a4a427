package genesystest

import (
	"net/http"
	"strings"
)

// Always as Fault.Times: again and again.
const Always = -1

// Fault orders an Effect for requests. Of several that match a request the one injected first is applied.
type Fault struct {
	Op, Inbox, Recording string // "": any
	Skip                 int    // so many matching requests are let through first
	Times                int    // how many requests it is applied to; 0: one

	Effect
}

// Effect is what happens to a request. The functions below make the usual ones; any other can be written.
type Effect struct {
	Name string

	// Before runs before the request has any effect, and may answer it itself.
	Before func(w http.ResponseWriter, r *http.Request) (handled bool)

	// Wrap may change the reply on its way. The request has had its effect when the first byte is written.
	Wrap func(w http.ResponseWriter, r *http.Request) http.ResponseWriter
}

// Inject orders a fault.
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

// underFault runs answer under the fault that is ordered for x, if any.
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

// answered is an Effect that answers instead of the Cloud.
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

// RetryAfter answers 429 or 503 and asks to come back after so many seconds.
func RetryAfter(status, seconds int) Effect {
	return answered("retry after", func() reply { return retryReply(status, seconds) })
}

// RetryAfterText does so with any text in the place of the seconds.
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

// Reset cuts the connection before the request has any effect. Where that was kept from an earlier request, Go's http.Transport
// repeats a GET on its own: order the fault Times: 2 to make that fail too.
func Reset() Effect {
	return Effect{Name: "reset", Before: func(w http.ResponseWriter, _ *http.Request) bool {
		hangUp(w, true)
		return true
	}}
}

// Stall keeps the request waiting, before any effect, until the client gives up, Release or Close; released, it goes on as usual.
func (c *Cloud) Stall() Effect {
	wait := c.waiter()
	return Effect{Name: "stall", Before: func(w http.ResponseWriter, r *http.Request) bool {
		wait(w, r)
		return false
	}}
}

// Release lets the requests go on that stall, or would later, by the stalls made so far.
func (c *Cloud) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.released)
	c.released = make(chan struct{})
}

// waiter gives a function that returns after the next Release, and not at all when there is nobody left to answer.
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
