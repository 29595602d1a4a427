package integration_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// tap stands between archiverd and an S3 server and sees every request that changes
// something, before it has its effect and after.
type tap struct {
	mu     sync.Mutex
	writes int
	see    seer
	read   []string // paths of what was read
}

// seer sees a write before its effect and after; n counts from 1, anew for each watch.
type seer func(n int, r *http.Request, done bool)

// tapped puts a tap before the world's store.
func (w *world) tapped() *tap {
	w.Helper()
	t := &tap{}
	w.between(t.around)
	return t
}

// between puts something of a test's own between archiverd and the world's store.
func (w *world) between(around func(next http.Handler) http.Handler) {
	w.Helper()
	target, err := url.Parse(w.s3.Endpoint)
	if err != nil {
		w.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // which is signed
		},
		// Its client was killed, or lost its patience.
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(around(proxy))
	w.Cleanup(server.Close)
	w.endpoint = server.URL
}

// watch lets see know of the writes from now on.
func (t *tap) watch(see seer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writes, t.see = 0, see
}

// gets counts the objects read whose path has part in it, and forgets them.
func (t *tap) gets(part string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read = slices.DeleteFunc(t.read, func(path string) bool {
		found := strings.Contains(path, part)
		if found {
			n++
		}
		return found
	})
	return n
}

func (t *tap) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			t.mu.Lock()
			t.read = append(t.read, r.URL.Path)
			t.mu.Unlock()
		}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(rw, r)
			return
		}
		t.mu.Lock()
		t.writes++
		n, see := t.writes, t.see
		t.mu.Unlock()
		if see == nil {
			next.ServeHTTP(rw, r)
			return
		}
		see(n, r, false)
		reply := httptest.NewRecorder() // writes are answered in few bytes
		next.ServeHTTP(reply, r)
		see(n, r, true)
		for k, v := range reply.Header() {
			rw.Header()[k] = v
		}
		rw.WriteHeader(reply.Code)
		_, _ = rw.Write(reply.Body.Bytes())
	})
}
