package genesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const mediaBytes = "0123456789"

// raw answers with exactly these bytes and then closes the connection.
func raw(w http.ResponseWriter, reply string) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(rw, strings.ReplaceAll(reply, "\n", "\r\n"))
	rw.Flush()
}

func openLinks(t *testing.T, h http.Handler) (*Links, string) {
	url, tr := serve(t, h)
	return NewLinks(LinksOptions{Transport: tr, AllowHTTP: true, UserAgent: "archiverd/test"}), url + "/secret-path?sig=secret-query"
}

func TestLinks(t *testing.T) {
	const plain = "HTTP/1.1 200 OK\nContent-Length: 10\n"
	resume := Position{Offset: 4, Total: 10, ETag: `"a"`}
	part := func(headers string) string { return "HTTP/1.1 206 Partial Content\n" + headers + "\n456789" }
	tests := []struct {
		name    string
		at      Position
		replies []string // to one request after the other
		want    string   // the bytes read
		total   int64
		etag    string
		openErr error // in the chain; or any with status
		status  int
		readErr error
	}{
		{name: "whole", replies: []string{plain + "ETag: \"a\"\n\n" + mediaBytes}, want: mediaBytes, total: 10, etag: `"a"`},
		{name: "empty", replies: []string{"HTTP/1.1 200 OK\nContent-Length: 0\n\n"}, total: 0},
		{name: "weak ETag", replies: []string{plain + "ETag: W/\"a\"\n\n" + mediaBytes}, want: mediaBytes, total: 10},
		{name: "ETag without quotes", replies: []string{plain + "ETag: a\n\n" + mediaBytes}, want: mediaBytes, total: 10},
		{name: "identity", replies: []string{plain + "Content-Encoding: identity\n\n" + mediaBytes}, want: mediaBytes, total: 10},
		{name: "cut", replies: []string{plain + "\n0123"}, want: "0123", total: 10, readErr: io.ErrUnexpectedEOF},
		{name: "chunked", replies: []string{"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\na\n0123456789\n0\n\n"}, want: mediaBytes, total: -1},
		{name: "chunked, cut in a chunk", replies: []string{"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\na\n0123"}, want: "0123", total: -1, readErr: io.ErrUnexpectedEOF},
		{name: "chunked, no last chunk", replies: []string{"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\na\n0123456789\n"}, want: mediaBytes, total: -1, readErr: io.ErrUnexpectedEOF},

		{name: "close-delimited, then ranged", replies: []string{
			"HTTP/1.1 200 OK\n\n0123", "HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-9/10\nContent-Length: 10\nETag: \"a\"\n\n" + mediaBytes}, want: mediaBytes, total: 10, etag: `"a"`},
		{name: "close-delimited, then ranged but close-delimited", replies: []string{
			"HTTP/1.0 200 OK\n\n0123", "HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-9/10\n\n" + mediaBytes}, want: mediaBytes, total: 10},
		{name: "close-delimited twice, cut", replies: []string{
			"HTTP/1.1 200 OK\n\n0123", "HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-9/10\n\n0123"}, want: "0123", total: 10, readErr: io.ErrUnexpectedEOF},
		{name: "close-delimited, no ranges", replies: []string{"HTTP/1.1 200 OK\n\n0123", "HTTP/1.1 200 OK\n\n0123"}, openErr: errUnranged, status: 200},
		{name: "close-delimited, range without total", replies: []string{"HTTP/1.1 200 OK\n\n0123", "HTTP/1.1 206 Partial Content\nContent-Range: bytes 0-9/*\nContent-Length: 10\n\n" + mediaBytes}, openErr: errUnranged, status: 206},
		{name: "close-delimited, other range", replies: []string{"HTTP/1.1 200 OK\n\n0123", "HTTP/1.1 206 Partial Content\nContent-Range: bytes 1-9/10\nContent-Length: 9\n\n123456789"}, openErr: errUnranged, status: 206},
		{name: "206 unasked", replies: []string{part("Content-Range: bytes 4-9/10\nContent-Length: 6\n")}, status: 206},

		{name: "resumed", at: resume, replies: []string{part("Content-Range: bytes 4-9/10\nContent-Length: 6\nETag: \"a\"\n")}, want: "456789", total: 10, etag: `"a"`},
		{name: "resumed, less than the rest", at: resume, replies: []string{"HTTP/1.1 206 Partial Content\nContent-Range: bytes 4-5/10\nContent-Length: 2\nETag: \"a\"\n\n45"}, want: "45", total: 10, etag: `"a"`, readErr: io.ErrUnexpectedEOF},
		{name: "resumed, more than the rest", at: resume, replies: []string{"HTTP/1.1 206 Partial Content\nContent-Range: bytes 4-9/10\nContent-Length: 7\nETag: \"a\"\n\n456789x"}, want: "456789", total: 10, etag: `"a"`, readErr: errAny},
		{name: "resumed, chunked and more than the rest", at: resume, replies: []string{"HTTP/1.1 206 Partial Content\nContent-Range: bytes 4-9/10\nTransfer-Encoding: chunked\nETag: \"a\"\n\n7\n456789x\n0\n\n"}, want: "456789", total: 10, etag: `"a"`, readErr: errAny},
		{name: "resume answered with the whole", at: resume, replies: []string{plain + "ETag: \"a\"\n\n" + mediaBytes}, openErr: ErrChanged, status: 200},
		{name: "resume, other ETag", at: resume, replies: []string{part("Content-Range: bytes 4-9/10\nContent-Length: 6\nETag: \"b\"\n")}, openErr: ErrChanged, status: 206},
		{name: "resume, weak ETag", at: resume, replies: []string{part("Content-Range: bytes 4-9/10\nContent-Length: 6\nETag: W/\"a\"\n")}, openErr: ErrChanged, status: 206},
		{name: "resume, no ETag", at: resume, replies: []string{part("Content-Range: bytes 4-9/10\nContent-Length: 6\n")}, openErr: ErrChanged, status: 206},
		{name: "resume, other total", at: resume, replies: []string{part("Content-Range: bytes 4-9/11\nContent-Length: 6\nETag: \"a\"\n")}, openErr: ErrChanged, status: 206},
		{name: "resume, other start", at: resume, replies: []string{part("Content-Range: bytes 3-8/10\nContent-Length: 6\nETag: \"a\"\n")}, openErr: ErrChanged, status: 206},
		{name: "resume, no range", at: resume, replies: []string{part("Content-Length: 6\nETag: \"a\"\n")}, openErr: ErrChanged, status: 206},
		{name: "resume, 416", at: resume, replies: []string{"HTTP/1.1 416 Range Not Satisfiable\nContent-Length: 0\n\n"}, openErr: ErrChanged, status: 416},
		{name: "resume, expired", at: resume, replies: []string{"HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n"}, status: 403},
		{name: "resume without ETag", at: Position{Offset: 4, Total: 10}, openErr: ErrChanged},
		{name: "resume with a weak one", at: Position{Offset: 4, Total: 10, ETag: `W/"a"`}, openErr: ErrChanged},
		{name: "resume of unknown total", at: Position{Offset: 4, Total: -1, ETag: `"a"`}, openErr: ErrChanged},

		{name: "expired", replies: []string{"HTTP/1.1 403 Forbidden\nContent-Length: 3\n\nsig"}, status: 403},
		{name: "gone", replies: []string{"HTTP/1.1 410 Gone\n\n"}, status: 410},
		{name: "no content", replies: []string{"HTTP/1.1 204 No Content\n\n"}, status: 204},
		{name: "encoded", replies: []string{plain + "Content-Encoding: gzip\n\n" + mediaBytes}, status: 200},
		{name: "redirect to nowhere", replies: []string{"HTTP/1.1 302 Found\nContent-Length: 0\n\n"}, status: 302},
		{name: "redirect to a Location that is not a URL", replies: []string{"HTTP/1.1 302 Found\nLocation: https://h/%zz?secret-query\nContent-Length: 0\n\n"}, status: 302},
		{name: "no reply", replies: []string{""}},
		{name: "nonsense that quotes the request", replies: []string{"HTTP/1.1 sig=secret-query /secret-path\n\n"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var requests atomic.Int32
			l, link := openLinks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := int(requests.Add(1))
				checkLinkRequest(t, r, tt.at, n)
				raw(w, tt.replies[min(n, len(tt.replies))-1])
			}))
			m, err := l.Open(t.Context(), link, tt.at)
			if n := int(requests.Load()); n != len(tt.replies) {
				t.Errorf("%d requests, want %d", n, len(tt.replies))
			}
			if tt.openErr != nil || tt.status != 0 || m == nil {
				e := asError(t, err)
				if e.Status != tt.status || e.Op != "media_link" || tt.openErr != nil && !errors.Is(err, tt.openErr) || m != nil {
					t.Errorf("error %v", err)
				}
				checkShown(t, err)
				return
			}
			defer m.Close()
			got, err := io.ReadAll(iotestOneByte{m})
			if string(got) != tt.want || m.Total != tt.total || m.ETag != tt.etag {
				t.Errorf("read %q of %d, ETag %s", got, m.Total, m.ETag)
			}
			if tt.readErr == errAny && err == nil || tt.readErr != errAny && err != tt.readErr {
				t.Errorf("read error %v, want %v", err, tt.readErr)
			}
			if n, again := m.Read(make([]byte, 5)); n != 0 || err == nil && again != io.EOF {
				t.Errorf("read again: %d, %v", n, again)
			}
		})
	}
}

var errAny = errors.New("any but io.EOF")

// iotestOneByte reads with a buffer of an odd size.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(len(p), 3)]) }

func checkLinkRequest(t *testing.T, r *http.Request, at Position, n int) {
	t.Helper()
	ranged := ""
	if at.Offset > 0 {
		ranged = fmt.Sprintf("bytes=%d-", at.Offset)
	} else if n > 1 {
		ranged = "bytes=0-"
	}
	want := map[string]string{
		"Range": ranged, "If-Range": "", "Accept-Encoding": "identity", "User-Agent": "archiverd/test",
		"Authorization": "", "Cookie": "", "Referer": "",
	}
	if at.Offset > 0 {
		want["If-Range"] = at.ETag
	}
	for k, v := range want {
		if got := r.Header.Get(k); got != v {
			t.Errorf("request %d: %s %q, want %q", n, k, got, v)
		}
	}
	if r.Method != "GET" || r.RequestURI != "/secret-path?sig=secret-query" {
		t.Errorf("request %d: %s %s", n, r.Method, r.RequestURI)
	}
}

func checkShown(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, verb := range []string{"%v", "%+v", "%#v"} {
			if s := fmt.Sprintf(verb, e); strings.Contains(s, "secret") || strings.Contains(s, "sig=") {
				t.Errorf("shows the link: %s", s)
			}
		}
	}
}

func TestLinkErrors(t *testing.T) {
	status, header := 0, http.Header{}
	l, link := openLinks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		io.WriteString(w, "<Error><Code>AccessDenied</Code>"+r.RequestURI+"</Error>")
	}))
	for _, tt := range []struct {
		status    int
		header    http.Header
		retry     time.Duration
		temporary bool
		text      string
	}{
		{403, nil, 0, false, "media_link: 403 Forbidden: host 127.0.0.1"},
		{429, http.Header{"Retry-After": {"5"}}, 5 * time.Second, true, "media_link: 429 Too Many Requests: host 127.0.0.1"},
		{503, http.Header{"Retry-After": {"6"}}, 6 * time.Second, true, "media_link: 503 Service Unavailable: host 127.0.0.1"},
	} {
		status, header = tt.status, tt.header
		_, err := l.Open(t.Context(), link, Position{})
		if e := asError(t, err); e.Error() != tt.text || e.RetryAfter != tt.retry || e.Temporary() != tt.temporary {
			t.Errorf("%v, RetryAfter %v, temporary %v", e, e.RetryAfter, e.Temporary())
		}
	}
}

// A link is refused before anything is sent, whether it comes from a Download or a redirect.
func TestLinksRefused(t *testing.T) {
	var location string
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/secret-path" {
			t.Errorf("sent %s", r.URL)
		}
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	}))
	defer s.Close()
	strict := NewLinks(LinksOptions{Transport: s.Client().Transport})
	host := strings.TrimPrefix(s.URL, "https://")
	for _, link := range []string{
		"", "/secret-path", "secret-path?sig=", "http://" + host + "/x", "ftp://" + host + "/x", "https:///x", "https://:443/x", "https:secret?sig=1",
		"https://user:secret@" + host + "/x", "https://user@" + host + "/x", "file:///etc/secret", "https://%zz/secret", "https://h/%zz?sig=1",
	} {
		_, err := strict.Open(t.Context(), link, Position{})
		if e := asError(t, err); e.Temporary() {
			t.Errorf("%q: %v is temporary", link, err)
		}
		checkShown(t, err)
		if location = link; link != "" && !strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "secret") {
			_, err = strict.Open(t.Context(), s.URL+"/secret-path", Position{})
			if e := asError(t, err); e.Temporary() {
				t.Errorf("redirected to %q: %v is temporary", link, err)
			}
			checkShown(t, err)
		}
	}
}

func TestLinkRedirects(t *testing.T) {
	hops := 0
	l, link := openLinks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != "" {
			t.Errorf("headers %v", r.Header)
		}
		if hops--; hops < 0 {
			io.WriteString(w, mediaBytes)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "v"})
		http.Redirect(w, r, "/other?sig=secret-query", []int{301, 302, 303, 307, 308}[hops%5])
	}))
	hops = maxRedirects
	m, err := l.Open(t.Context(), link, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(m); string(got) != mediaBytes || err != nil {
		t.Errorf("%q %v", got, err)
	}
	m.Close()
	hops = maxRedirects + 1
	if _, err = l.Open(t.Context(), link, Position{}); err == nil {
		t.Error("followed one too many")
	}
	checkShown(t, err)
}

// Close must not read the rest, which may be gigabytes.
func TestCloseDoesNotDrain(t *testing.T) {
	ended := make(chan error, 1)
	l, link := openLinks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(int64(1)<<40))
		var err error
		for buf := make([]byte, 1<<20); err == nil; {
			_, err = w.Write(buf)
		}
		ended <- err
	}))
	m, err := l.Open(t.Context(), link, Position{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(m, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	m.Close()
	if err := <-ended; err == nil {
		t.Error("the server sent everything")
	}
}

func TestReadEndsWithContext(t *testing.T) {
	release := make(chan struct{})
	l, link := openLinks(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "0123")
		w.(http.Flusher).Flush()
		<-release
	}))
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	m, err := l.Open(ctx, link, Position{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	io.ReadFull(m, make([]byte, 4))
	cancel()
	if _, err := io.ReadAll(m); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A request that the transport refused (as network's does) was never sent, and another try ends the same way.
func TestRefusedByTransport(t *testing.T) {
	for err, temporary := range map[error]bool{permanent("address refused"): false, errors.New("reset"): true} {
		l := NewLinks(LinksOptions{Transport: failing{&net.OpError{Op: "dial", Err: err}}})
		_, got := l.Open(t.Context(), "https://h/x", Position{})
		if e := asError(t, got); e.Temporary() != temporary || !errors.Is(got, err) {
			t.Errorf("%v: temporary %v", got, e.Temporary())
		}
	}
}

type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

func TestContentRange(t *testing.T) {
	for s, ok := range map[string]bool{
		"bytes 0-9/10": true, "Bytes 4-9/10": true, "bytes 4-5/10": true,
		"": false, "bytes": false, "bytes */10": false, "bytes 0-9/*": false, "bytes 5-4/10": false, "bytes 0-10/10": false, "bytes -1-9/10": false,
		"bytes +0-9/10": false, "items 0-9/10": false, "bytes 0-9/99999999999999999999": false, "bytes 0-9": false, "bytes  0-9/10": false,
	} {
		if _, _, got := contentRange(s); got != ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}
