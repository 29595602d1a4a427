package archiver

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/archiverd/archiverd/storage"
)

// wire is the way to the store. It names each request and lets a test look at it,
// answer in the store's place, or change the reply.
type wire struct {
	base http.RoundTripper

	mu    sync.Mutex
	names []string
	rule  func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error)
}

// use sets the rule for the requests from now on; nil: none.
func (w *wire) use(rule func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rule, w.names = rule, nil
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	name := requestName(req)
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

// count tells how many requests of that name there were.
func (w *wire) count(name string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, have := range w.names {
		if have == name {
			n++
		}
	}
	return n
}

// requestName is the method and the kind of object, and of an upload the step:
// "HEAD manifests", "PUT media part".
func requestName(req *http.Request) string {
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

// answer is a reply in the store's place.
func answer(req *http.Request, status int, body string) *http.Response {
	if req.Body != nil {
		req.Body.Close()
	}
	h := http.Header{"Content-Type": {"application/xml"}, "Etag": {`"0123"`}, "Date": {time.Now().UTC().Format(http.TimeFormat)}}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// refuse is an answer that no client repeats.
func refuse(req *http.Request) *http.Response {
	return answer(req, http.StatusBadRequest, `<Error><Code>InvalidRequest</Code><Message>ordered by the test</Message></Error>`)
}

// altered changes one header of the replies to requests of a name; an empty value takes it away.
func (w *wire) altered(name, header, value string) {
	w.use(func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
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

// flip inverts the last byte of a body.
func flip(body io.ReadCloser) io.ReadCloser {
	defer body.Close()
	b, _ := io.ReadAll(body)
	if len(b) > 0 {
		b[len(b)-1] ^= 0xff
	}
	return io.NopCloser(bytes.NewReader(b))
}

// loseOnce lets the first request of a name have its effect and loses the reply.
func loseOnce(name string) func(string, *http.Request, func() (*http.Response, error)) (*http.Response, error) {
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

func newObject(key string) storage.New { return storage.New{Key: key, ContentType: "text/plain"} }

// signalling closes a channel after the first good reply to a request of a name.
func signalling(name string, done chan struct{}) rule {
	var once sync.Once
	return func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if n == name && err == nil {
			once.Do(func() { close(done) })
		}
		return resp, err
	}
}
