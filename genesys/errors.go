package genesys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// permanent is an error that another try would meet again. Error.Temporary looks for the method Permanent, not for this
// type, so that a transport can mark its own errors permanent.
type permanent string

func (p permanent) Error() string   { return string(p) }
func (p permanent) Permanent() bool { return true }

// The reasons of an *Error that callers branch on; test with errors.Is.
var (
	// ErrNeedsLogin: there is no refresh token, or Genesys answered invalid_grant. The user has to log in again.
	ErrNeedsLogin error = permanent("the user has to log in again")
	// ErrWrongUser: users/me named another user than the inbox's. The token is never used for anything else.
	ErrWrongUser error = permanent("the token belongs to another user")
	// ErrTooLarge: the reply is larger, or nested deeper, than this client reads.
	ErrTooLarge error = permanent("the reply is too large")
	// ErrChanged: the rest of the media that a resumed download began with is not available. Start again from the beginning.
	ErrChanged = errors.New("the media changed since the download began")
)

// Error is the failure of an operation. Its text never holds a token, a secret, or more of a media link than its host.
type Error struct {
	Op            string        // the operation's name in Genesys' SDKs ("get_userrecordings"), or "oauth_token", "media_link"
	Status        int           // 0: no reply
	Code          string        // of the ErrorBody, such as "too.many.requests.retry.after", or OAuth's error
	Message       string        // for people; at most 500 bytes
	CorrelationID string        // header ININ-Correlation-Id, which Genesys' support asks for
	RetryAfter    time.Duration // of a 429 or 503, an hour at most; 0 absent
	Parsed        bool          // the body was an ErrorBody (a JSON object with a code or message): a 404 without one does not prove absence
	Err           error         // why there is no usable reply; nil if Status and Code say everything
}

func (e *Error) Error() string {
	var parts []string
	if e.Status != 0 {
		code := e.Code
		if code == "" {
			code = http.StatusText(e.Status)
		}
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, code)))
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	s := e.Op + ": " + strings.Join(parts, ": ")
	if e.CorrelationID != "" {
		s += " (correlation id " + e.CorrelationID + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Temporary reports whether the same request may succeed later: no reply; 408, 425, 429, 500, 502, 503, 504; a good
// status with an unreadable body. A request that this client refused to send, and a failure that needs a person, are not
// temporary.
func (e *Error) Temporary() bool {
	if e == nil {
		return false
	}
	var p interface{ Permanent() bool }
	switch {
	case errors.As(e.Err, &p) && p.Permanent():
		return false
	case errors.Is(e.Err, ErrChanged):
		return true
	}
	switch e.Status {
	case 0, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Status/100 == 2
}

// AsError returns the *Error in the tree of err, or nil. All predicates of a nil *Error are false.
func AsError(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

// OfMedia reports whether the host of a media link failed, which is not Genesys' API.
func (e *Error) OfMedia() bool { return e != nil && e.Op == opLink }

// answered reports whether Genesys' API answered with this status.
func (e *Error) answered(status int) bool { return e != nil && !e.OfMedia() && e.Status == status }

// Unauthorized reports whether the API does not accept the token, not even a renewed one.
func (e *Error) Unauthorized() bool { return e.answered(http.StatusUnauthorized) }

// Forbidden reports whether the token does not suffice for what was asked. A refusal of one recording says nothing of others.
func (e *Error) Forbidden() bool { return e.answered(http.StatusForbidden) }

// TooMany reports whether the API limits the rate of requests.
func (e *Error) TooMany() bool { return e.answered(http.StatusTooManyRequests) }

// NotFound reports whether the API says, in a body of its own, that the recording does not exist.
func (e *Error) NotFound() bool { return e.answered(http.StatusNotFound) && e.Parsed }

// Silent reports whether the API was asked and gave no reply at all, and may give one later.
func (e *Error) Silent() bool {
	if !e.answered(0) || !e.Temporary() {
		return false
	}
	_, limited := errors.AsType[*LimitedError](e)
	return !limited && !errors.Is(e, context.Canceled) // nothing was sent then
}

// OfClient reports whether Genesys refuses the organization's client: wrong credentials, a scope that the client lacks, or a
// network from which the client may not come.
func (e *Error) OfClient() bool {
	if e == nil || errors.Is(e.Err, ErrNeedsLogin) {
		return false
	}
	return e.Op == opToken && e.Status >= 400 && e.Status < 500 && !e.Temporary() ||
		e.Code == "app.not.authorized.for.scope" || e.Code == codeIPNotAuthorized
}

// OfToken reports whether the request for a token failed.
func (e *Error) OfToken() bool { return e != nil && e.Op == opToken }

// replyError returns the *Error for a reply whose status is not 2xx. It reads the ErrorBody field by field.
func replyError(op string, status int, h http.Header, body []byte) *Error {
	e := &Error{Op: op, Status: status, CorrelationID: correlationID(h)}
	e.RetryAfter, _ = retryAfter(h, status)
	fields, err := object(body)
	if err != nil {
		return e
	}
	e.Code, e.Message = fields.text("code"), cmp.Or(fields.text("message"), fields.text("messageWithParams"))
	e.Parsed = e.Code != "" || e.Message != ""
	e.Code, e.Message = printable(e.Code, 100), printable(e.Message, 500)
	return e
}

func correlationID(h http.Header) string { return printable(h.Get("ININ-Correlation-Id"), 100) }

// printable makes a server's text fit for one line of a log.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// bare removes from err the URL that net/http puts before it, and replaces the whole text if it repeats a secret: servers
// and proxies often quote the request.
func bare(err error, secrets ...string) error {
	for u := (*url.Error)(nil); errors.As(err, &u); {
		err = u.Err
	}
	for _, s := range secrets {
		if s != "" && strings.Contains(err.Error(), s) {
			return errors.New("an error whose text quotes the request and is not shown")
		}
	}
	return err
}

const maxDepth = 100 // of JSON; Genesys' published models need 6

// members are the members of a JSON object, in order, each as it came. The methods return a zero value for a member that is
// absent, null or of another type.
type members []member

type member struct{ name, raw string }

// raw returns a member's JSON. If several members have that name, the last one counts.
func (m members) raw(name string) string {
	for _, f := range slices.Backward(m) {
		if f.name == name {
			return f.raw
		}
	}
	return ""
}

// object reads a JSON object.
func object(body []byte) (members, error) {
	if tooDeep(body) {
		return nil, fmt.Errorf("%w: JSON nested deeper than %d", ErrTooLarge, maxDepth)
	}
	if gjson.ValidBytes(body) {
		if m := objectIn(string(body)); m != nil {
			return m, nil
		}
	}
	return nil, errors.New("the reply is not a JSON object")
}

// objectIn returns the members of valid JSON; nil if it is not an object.
func objectIn(valid string) members {
	o := gjson.Parse(valid)
	if !o.IsObject() {
		return nil
	}
	m := make(members, 0, 16)
	o.ForEach(func(name, value gjson.Result) bool {
		m = append(m, member{name.Str, value.Raw})
		return true
	})
	return m
}

func (m members) text(name string) string {
	if v := gjson.Parse(m.raw(name)); v.Type == gjson.String {
		return strings.ToValidUTF8(v.Str, "\uFFFD")
	}
	return ""
}

// count returns a member that is an integer of at least 0, else nil.
func (m members) count(name string) *int64 {
	n, err := strconv.ParseInt(m.raw(name), 10, 64)
	if err != nil || n < 0 {
		return nil
	}
	return &n
}

// identity returns the id of an entity, or "". An id that is not UTF-8 counts as absent: text replaces its bytes, and the
// changed id would name nothing in a request.
func (m members) identity() string {
	id := m.text("id")
	if strings.ContainsRune(id, utf8.RuneError) {
		return ""
	}
	return id
}

// tooDeep counts brackets outside strings. Its answer matters only for valid JSON.
func tooDeep(body []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
