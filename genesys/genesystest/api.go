package genesystest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// The names of the operations in faults, events and counters. All but the last two are the official SDKs' names.
const (
	opList        = "get_userrecordings"
	opSummary     = "get_userrecordings_summary"
	opGet         = "get_userrecording"
	opPut         = "put_userrecording"
	opDelete      = "delete_userrecording"
	opMedia       = "get_userrecording_media"
	opTranscoding = "get_userrecording_transcoding"
	opMe          = "get_users_me"
	opToken       = "oauth_token"
	opAuthorize   = "oauth_authorize"
	opLink        = "media_link"
)

const (
	pathRecordings = "/api/v2/userrecordings"
	pathMe         = "/api/v2/users/me"
)

// call is one request.
type call struct {
	c         *Cloud
	o         Options // the options when the request arrived
	r         *http.Request
	query     url.Values
	body      []byte
	op        string // "": not an operation of the API
	inbox     *Inbox // nil: unknown
	recording string // its id; "" if the operation names no recording
	client    bool   // the token comes from client credentials
	access    *accessToken
	event     int    // index into the Cloud's events
	id        string // ININ-Correlation-Id
	listing   bool   // counted in the inbox's listings under way
}

// reply is the API's reply, before any fault is applied.
type reply struct {
	status    int
	header    http.Header
	body      []byte
	unchecked bool // contains a RawJSON
}

func jsonReply(status int, v any) reply {
	return reply{status: status, header: http.Header{"Content-Type": {"application/json"}}, body: mustJSON(v)}
}

// errorReply has an ErrorBody.
func errorReply(status int, code, message string) reply {
	return jsonReply(status, errorBody(status, code, message))
}

func errorBody(status int, code, message string) map[string]any {
	id := newID()
	return map[string]any{
		"message": message, "code": code, "status": status, "messageWithParams": message, "messageParams": map[string]any{},
		"contextId": id, "details": []any{}, "errors": []any{},
	}
}

func mustJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return uuid(b)
}

// send writes p to w, which a fault may have wrapped.
func (p reply) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(p.body)))
	w.WriteHeader(p.status)
	if len(p.body) > 0 {
		_, _ = w.Write(p.body)
	}
}

func (c *Cloud) serveAPI(w http.ResponseWriter, r *http.Request) {
	x := c.newCall(w, r)
	x.op, x.recording = route(r.Method, strings.TrimPrefix(r.URL.EscapedPath(), x.o.BasePath))
	x.authenticate()
	if x.op == "" {
		c.violate("%s %s: no such operation", r.Method, r.URL.EscapedPath())
	} else if err := c.spec.checkRequest(x); err != nil {
		c.violate("%s %s: %s", r.Method, x.op, firstLine(err))
	}
	w, done := x.begin(w, "api "+x.inboxID())
	defer done()
	if p, limited := x.limit(w.Header()); limited {
		p.send(w)
		return
	}
	x.underFault(w, func(w http.ResponseWriter) { x.answer().send(w) })
}

// answer executes the operation, and checks its reply against the contract.
func (x *call) answer() reply {
	p, ok := x.refuse()
	if !ok {
		p = x.operate()
	}
	if !p.unchecked && x.op != "" {
		if err := x.c.spec.checkReply(x, p); err != nil {
			x.c.violate("the simulation's own reply %d to %s: %s", p.status, x.op, firstLine(err))
		}
	}
	return p
}

func (x *call) operate() reply {
	switch x.op {
	case opList:
		return x.list()
	case opSummary:
		return x.summary()
	case opGet:
		return x.get()
	case opPut:
		return x.put()
	case opDelete:
		return x.delete()
	case opMedia:
		return x.download(x.o.Media)
	case opTranscoding:
		return x.download(x.o.Transcoding)
	case opMe:
		return x.me()
	}
	return errorReply(http.StatusNotFound, "not.found", "HTTP 404 Not Found")
}

// refuse answers requests that are refused before any operation.
func (x *call) refuse() (reply, bool) {
	switch {
	case x.inbox == nil && x.r.Header.Get("Authorization") == "":
		return errorReply(http.StatusUnauthorized, "authentication.required", "No authentication bearer token specified in authorization header."), true
	case x.inbox == nil:
		return errorReply(http.StatusUnauthorized, "bad.credentials", "Invalid login credentials."), true
	case x.op == "":
		return reply{}, false
	case x.op == opMe && x.o.RefuseMe, !x.inScope():
		message := "The client application is not authorized for the scope: " + strings.Join(x.c.spec.scopes(x.op), ", ")
		return errorReply(http.StatusForbidden, "app.not.authorized.for.scope", message), true
	case x.op == opMe && x.client:
		return errorReply(http.StatusBadRequest, "bad.request", "This request requires a user context. Client credentials cannot be used."), true
	case x.client && x.o.RefuseClient:
		return errorReply(http.StatusForbidden, "not.authorized", "You are not authorized to perform the requested action."), true
	}
	return reply{}, false
}

func (x *call) inScope() bool {
	return x.o.Scopes == nil || slices.ContainsFunc(x.c.spec.scopes(x.op), func(s string) bool { return slices.Contains(x.o.Scopes, s) })
}

// authenticate finds the inbox of the bearer token.
func (x *call) authenticate() {
	bearer, ok := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return
	}
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if t := x.c.access[bearer]; t != nil && !t.revoked && x.o.Now().Before(t.expires) {
		x.inbox, x.client, x.access = t.inbox, t.client, t
	}
}

func (x *call) inboxID() string {
	if x.inbox == nil {
		return ""
	}
	return x.inbox.ID
}

// newCall reads the request and puts the headers of every reply in place.
func (c *Cloud) newCall(w http.ResponseWriter, r *http.Request) *call {
	x := &call{c: c, o: c.options(), r: r, query: r.URL.Query(), id: newID()}
	x.body, _ = io.ReadAll(r.Body)
	w.Header().Set("Date", x.o.Now().Add(x.o.DateSkew).UTC().Format(http.TimeFormat))
	w.Header().Set("ININ-Correlation-Id", x.id)
	return x
}

// begin records the request, checks that its sender heeded what it was told, and returns the writer that watches the reply.
// holder names who must heed a Retry-After. The caller defers done.
func (x *call) begin(w http.ResponseWriter, holder string) (_ http.ResponseWriter, done func()) {
	now := x.o.Now()
	x.c.mu.Lock()
	x.c.requests[x.op]++
	close(x.c.arrival)
	x.c.arrival = make(chan struct{})
	x.event = len(x.c.events)
	x.c.events = append(x.c.events, Event{
		Time: now, Op: x.op, Inbox: x.inboxID(), Recording: x.recording, Method: x.r.Method, URI: x.uri(), CorrelationID: x.id,
	})
	if x.op == opList && x.inbox != nil {
		x.inbox.listing++
		x.inbox.listings++
		x.listing = true
	}
	overlaps := x.op == opDelete && x.inbox != nil && x.inbox.listing > 0
	x.c.mu.Unlock()

	x.checkOwner()
	if overlaps {
		x.c.violate("inbox %s: DELETE of %q while a listing is under way", x.inbox.ID, x.recording)
	}
	x.c.checkHold(holder, x.op, now)
	if x.op == opDelete && x.inbox != nil && x.o.OnDelete != nil {
		if err := x.o.OnDelete(x.inbox.ID, x.recording); err != nil {
			x.c.violate("inbox %s: DELETE of %q: %v", x.inbox.ID, x.recording, err)
		}
	}
	return &watcher{ResponseWriter: w, x: x, holder: holder}, x.end
}

// checkOwner notes a violation if a token is used after users/me named another user for it, or if something is deleted
// before users/me was asked.
func (x *call) checkOwner() {
	if x.access == nil || x.client || x.op == opMe {
		return
	}
	x.c.mu.Lock()
	named := x.access.named
	x.c.mu.Unlock()
	switch {
	case named != "" && named != x.inbox.ID:
		x.c.violate("inbox %s: %s with a token that users/me said is user %s's", x.inbox.ID, x.op, named)
	case named == "" && x.op == opDelete:
		x.c.violate("inbox %s: DELETE of %q before users/me was asked", x.inbox.ID, x.recording)
	}
}

func (x *call) end() {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if x.listing {
		x.inbox.listing--
		x.listing = false
	}
}

func (x *call) uri() string {
	if x.op == opLink {
		return x.r.URL.EscapedPath()
	}
	return x.r.URL.RequestURI()
}

// note adds to the request's event.
func (x *call) note(format string, args ...any) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	e := &x.c.events[x.event]
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
}

// watcher watches the reply while it is sent.
type watcher struct {
	http.ResponseWriter
	x      *call
	holder string
	wrote  bool
	left   int64 // bytes of the declared length still to be sent
}

func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watcher) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.left = contentLength(w.Header())
		c := w.x.c
		c.mu.Lock()
		c.events[w.x.event].Status = status
		c.mu.Unlock()
		now := w.x.o.Now()
		if after := holdAsked(w.Header().Get("Retry-After"), now); after > 0 {
			c.setHold(w.holder, now, after)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watcher) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if w.left -= int64(len(p)); w.left <= 0 {
		w.x.end() // before the client has the last byte and can send its next request
	}
	return w.ResponseWriter.Write(p)
}

// route finds the operation of an escaped path, and the id in it.
func route(method, path string) (op, recording string) {
	switch method + " " + path {
	case "GET " + pathMe:
		return opMe, ""
	case "GET " + pathRecordings:
		return opList, ""
	case "GET " + pathRecordings + "/summary":
		return opSummary, ""
	}
	rest, ok := strings.CutPrefix(path, pathRecordings+"/")
	slash := strings.IndexByte(rest+"/", '/')
	id, err := url.PathUnescape(rest[:slash])
	op = map[string]string{
		"GET": opGet, "PUT": opPut, "DELETE": opDelete, "GET/media": opMedia, "GET/transcoding": opTranscoding,
	}[method+rest[slash:]]
	if !ok || err != nil || id == "" || op == "" {
		return "", ""
	}
	return op, id
}

// firstLine shortens the filter's errors, which quote whole schemas.
func firstLine(err error) string {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) && len(many.Unwrap()) > 0 {
		err = many.Unwrap()[0]
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
