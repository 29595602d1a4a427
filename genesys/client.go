// Package genesys is the client of Genesys Cloud's user recordings API: the operations, the access tokens of an inbox, the
// rate budget, and the download of media.
//
// What it promises:
//
//   - One call is one request, repeated once if a 401 shows that the token was revoked. Other retries are the caller's.
//   - The access token goes only to the API's host. API redirects are not followed; Links fetches media links and never
//     sees a token.
//   - A refresh token is durable before the access token that came with it is used, because each use spends the old
//     refresh token (documented). No request uses a user's token before users/me was asked whose token it is.
//   - Nothing is sent beyond the budget, nor before a Retry-After has passed; a Retry-After of more than an hour is cut to
//     an hour.
//   - Replies are bounded in size and read field by field: absent, null, mistyped and unknown fields are normal (the
//     published models require no field). A recording is kept byte for byte as it came.
//   - Every failure is an *Error with the correlation id, and no text holds a token, a secret or a signed link.
//
// Comments name the source of each fact about Genesys Cloud: "documented" by Genesys, "seen" in other clients' working code,
// or a "guess"; the code also works if a guess is wrong.
package genesys

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const (
	listingLimit   = 32 << 20 // bytes of a page of recordings
	replyLimit     = 1 << 20  // bytes of any other reply
	defaultTimeout = 60 * time.Second
)

// Client calls the API for one inbox of one organization, with one token. It is safe for concurrent use.
type Client struct {
	sender *sender
	tokens *Tokens
}

// ClientOptions says where the API is and what a client uses. Only UserAgent, Timeout and Observe are optional.
type ClientOptions struct {
	APIURL    string            // scheme://host[:port][/base], with or without a slash at the end
	Transport http.RoundTripper // must not add credentials of its own
	Tokens    *Tokens           // for this Client alone: it sends its own requests through the Client's budget
	Budget    *Budget           // of the token; for this Client alone
	UserAgent string
	Timeout   time.Duration // of one request with its reply, without the wait for the budget; 0: 60 s
	Observe   Observer      // called for every exchange with the API and the login host; may be nil
}

// An Observer is called after each HTTP exchange, with the operation as Error.Op names it, the status (0: no reply), and how
// long the request had waited for the budget. It is called concurrently.
type Observer func(op string, status int, waited time.Duration)

func (o Observer) tell(op string, resp *http.Response, waited time.Duration) {
	status := 0
	if resp != nil {
		status = resp.StatusCode
	}
	if o != nil {
		o(op, status, waited)
	}
}

// NewClient returns a client. It sends nothing.
func NewClient(o ClientOptions) *Client {
	s := &sender{
		api:       strings.TrimRight(o.APIURL, "/"),
		transport: o.Transport,
		budget:    o.Budget,
		userAgent: o.UserAgent,
		timeout:   cmp.Or(o.Timeout, defaultTimeout),
		told:      o.Observe,
	}
	o.Tokens.sender = s
	return &Client{sender: s, tokens: o.Tokens}
}

// Format prints nothing of the token, whatever the verb.
func (c *Client) Format(s fmt.State, _ rune) { io.WriteString(s, "client of "+c.sender.api) }

// Skew returns Genesys' clock minus the local clock, from the last reply with a Date header, exact to a second or two. It
// returns false if no reply had one yet.
func (c *Client) Skew() (time.Duration, bool) {
	if d := c.sender.skew.Load(); d != nil {
		return *d, true
	}
	return 0, false
}

// Allowed returns how many requests a minute Genesys allows this token, from the last reply that gave the limit; 0 if no
// reply did.
func (c *Client) Allowed() int { return c.sender.budget.allows() }

// do sends a request, and sends it again with a renewed token if the first token was not accepted.
func (c *Client) do(ctx context.Context, what call) (*reply, error) {
	token, err := c.tokens.token(ctx, "")
	if err != nil {
		return nil, err
	}
	r, err := c.sender.send(ctx, token, what)
	if !revoked(err) {
		return r, err
	}
	if token, err = c.tokens.token(ctx, token); err != nil {
		return nil, err
	}
	return c.sender.send(ctx, token, what)
}

// Reserve waits until the budget allows a request, and reserves that request for one
// Download. A caller that needs a scarce resource for the download can so wait for the
// budget before it takes the resource. Release the reservation when done: that gives an
// unused one back.
func (c *Client) Reserve(ctx context.Context) (*Reservation, error) {
	r, err := c.sender.budget.reserve(ctx)
	if err != nil {
		return nil, &Error{Op: "wait for the rate budget", Err: err}
	}
	return r, nil
}

// turn waits for the budget, unless the request was reserved.
func (s *sender) turn(ctx context.Context, r *Reservation) error {
	if r.use() {
		return s.budget.take(ctx, 0) // waits for a Retry-After that came after the reservation
	}
	return s.budget.Wait(ctx)
}

// revoked reports whether Genesys does not accept the token, or no longer does. Genesys documents 401 also for a caller's
// network that is not allowed; another token would not help there.
func revoked(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusUnauthorized && e.Code != codeIPNotAuthorized
}

const codeIPNotAuthorized = "ip.not.authorized"

// sender sends requests to the API with a given token, within the budget. Client and Tokens share it.
type sender struct {
	api       string
	transport http.RoundTripper
	budget    *Budget
	userAgent string
	timeout   time.Duration
	told      Observer
	skew      atomic.Pointer[time.Duration]
}

// call is a request to be sent.
type call struct {
	op, method string
	path       string // escaped
	query      url.Values
	body       []byte
	limit      int64 // bytes of a good reply; 0: its body does not matter
	reserved   *Reservation
}

// reply is a good reply, read in full.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// unusable returns the error for a reply with a good status and bad content.
func (r *reply) unusable(op string, err error) *Error {
	return &Error{Op: op, Status: r.status, CorrelationID: correlationID(r.header), Err: err}
}

// send waits for the budget and sends one request. All its errors are *Error.
func (s *sender) send(ctx context.Context, token string, what call) (*reply, error) {
	begun := time.Now()
	if err := s.turn(ctx, what.reserved); err != nil {
		return nil, &Error{Op: what.op, Err: err}
	}
	waited := time.Since(begun)
	s.budget.begin()
	defer s.budget.end()
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	r, err := s.exchange(limited, token, what, waited)
	if e, ok := errors.AsType[*Error](err); ok {
		if limited.Err() != nil && ctx.Err() == nil && e.Err != nil {
			e.Err = fmt.Errorf("no complete reply within %v", s.timeout)
		}
	}
	return r, err
}

func redact(s, secret string) string {
	if secret == "" {
		return s
	}
	return strings.ReplaceAll(s, secret, "[redacted]")
}

func (s *sender) exchange(ctx context.Context, token string, what call, waited time.Duration) (*reply, error) {
	target := s.api + what.path
	if len(what.query) > 0 {
		target += "?" + what.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, what.method, target, bytes.NewReader(what.body))
	if err != nil {
		return nil, &Error{Op: what.op, Err: permanent(bare(err, token).Error())}
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", s.userAgent)
	if what.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.transport.RoundTrip(req)
	s.told.tell(what.op, resp, waited)
	if err != nil {
		return nil, &Error{Op: what.op, Err: bare(err, token)}
	}
	defer resp.Body.Close()
	s.observe(resp)
	body, err := readAll(resp.Body, cmp.Or(what.limit, replyLimit))
	if resp.StatusCode/100 != 2 {
		// Redact before the texts are cut to length: half a token would not be found.
		return nil, replyError(what.op, resp.StatusCode, resp.Header, []byte(redact(string(body), token)))
	}
	r := &reply{status: resp.StatusCode, header: resp.Header, body: body}
	if err != nil && what.limit > 0 {
		return nil, r.unusable(what.op, bare(err, token))
	}
	return r, nil
}

// observe reads from a reply's headers what they say about the budget and the clock.
func (s *sender) observe(resp *http.Response) {
	s.budget.Observe(resp.Header, resp.StatusCode)
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		skew := time.Until(date)
		s.skew.Store(&skew)
	}
}

// readAll reads r to its end. A body cut short is an error (net/http detects it); a body larger than limit is ErrTooLarge.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read reply: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w: more than %d MiB", ErrTooLarge, limit>>20)
	}
	return body, nil
}
