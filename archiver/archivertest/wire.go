package archivertest

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/archiverd/archiverd/storage"
)

// Rule answers a request: it may send it, and may answer in the store's place.
type Rule = func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error)

// Wire is the way to the store. It names each request and lets a test look at it,
// answer in the store's place, or change the reply.
type Wire struct {
	base http.RoundTripper

	mu    sync.Mutex
	names []string
	rule  Rule
}

// Use sets the rule for the requests from now on; nil: none.
func (w *Wire) Use(rule Rule) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rule, w.names = rule, nil
}

func (w *Wire) RoundTrip(req *http.Request) (*http.Response, error) {
	name := RequestName(req)
	w.mu.Lock()
	w.names = append(w.names, name)
	rule := w.rule
	w.mu.Unlock()
	send := func() (*http.Response, error) { return w.base.RoundTrip(req) }
	if rule == nil {
		return send()
	}
	return rule(name, req, send)
}

// Count tells how many requests of that name there were.
func (w *Wire) Count(name string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, have := range w.names {
		if have == name {
			n++
		}
	}
	return n
}

// RequestName is the method and the kind of object, and of an upload the step:
// "HEAD manifests", "PUT media part".
func RequestName(req *http.Request) string {
	parts := strings.Split(strings.TrimPrefix(req.URL.Path, "/"), "/") // bucket, prefix, kind, …
	name := req.Method
	if len(parts) > 2 {
		name += " " + parts[2]
	}
	if strings.HasSuffix(req.URL.Path, "-corrupt") {
		name += " corrupt"
	}
	q := req.URL.Query()
	switch {
	case q.Has("uploads"):
		name += " create"
	case q.Has("partNumber"):
		name += " part"
	case q.Has("uploadId") && req.Method == http.MethodPost:
		name += " complete"
	case q.Has("uploadId"):
		name += " abort"
	}
	return name
}

// Answer is a reply in the store's place.
func Answer(req *http.Request, status int, body string) *http.Response {
	if req.Body != nil {
		req.Body.Close()
	}
	h := http.Header{"Content-Type": {"application/xml"}, "Etag": {`"0123"`}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// Refuse is an answer that no client repeats.
func Refuse(req *http.Request) *http.Response {
	return Answer(req, http.StatusBadRequest, `<Error><Code>InvalidRequest</Code><Message>ordered by the test</Message></Error>`)
}

// Altered changes one header of the replies to requests of a name; an empty value takes it away.
func (w *Wire) Altered(name, header, value string) {
	w.Use(func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err != nil || n != name {
			return resp, err
		}
		if resp.Header.Del(header); value != "" {
			resp.Header.Set(header, value)
		}
		return resp, nil
	})
}

// Flip inverts the last byte of a body.
func Flip(body io.ReadCloser) io.ReadCloser {
	defer body.Close()
	b, _ := io.ReadAll(body)
	if len(b) > 0 {
		b[len(b)-1] ^= 0xff
	}
	return io.NopCloser(bytes.NewReader(b))
}

// LoseOnce lets the first request of a name have its effect and loses the reply.
func LoseOnce(name string) Rule {
	var once sync.Once
	return func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		lost := false
		if n == name && err == nil {
			once.Do(func() { lost = true })
		}
		if lost {
			resp.Body.Close()
			return nil, io.ErrUnexpectedEOF
		}
		return resp, err
	}
}

func NewObject(key string) storage.New { return storage.New{Key: key, ContentType: "text/plain"} }

// Signalling closes a channel after the first good reply to a request of a name.
func Signalling(name string, done chan struct{}) Rule {
	var once sync.Once
	return func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if n == name && err == nil {
			once.Do(func() { close(done) })
		}
		return resp, err
	}
}

// Header sets a header of the replies to requests of a name, or of all.
func Header(name, key, value string) Rule {
	return func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err == nil && (name == "" || n == name) {
			resp.Header.Set(key, value)
		}
		return resp, err
	}
}

// Also adds a rule to the one in force.
func (w *Wire) Also(more Rule) {
	w.mu.Lock()
	before := w.rule
	w.mu.Unlock()
	w.Use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		return more(n, req, func() (*http.Response, error) { return before(n, req, send) })
	})
}

// AfterPut changes a header of the replies to the HEADs that find media.
func AfterPut(key, value string) Rule {
	change := Header("HEAD media", key, value)
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err != nil || resp.StatusCode != http.StatusOK {
			return resp, err
		}
		return change(n, req, func() (*http.Response, error) { return resp, nil })
	}
}

// ShowingOther has the store show a checksum of other bytes for a recording's media.
func ShowingOther(id string) Rule {
	other := AfterPut("X-Amz-Checksum-Sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if !strings.Contains(req.URL.Path, "/"+id) {
			return send()
		}
		return other(n, req, send)
	}
}

// Refusing has the store refuse to give one object.
func Refusing(key string) Rule {
	return func(_ string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if (req.Method == http.MethodGet || req.Method == http.MethodHead) && strings.HasSuffix(req.URL.Path, key) {
			return Refuse(req), nil
		}
		return send()
	}
}
