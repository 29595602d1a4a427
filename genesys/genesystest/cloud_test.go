package genesystest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a Cloud with one user, and a client for it.
type world struct {
	*testing.T
	*Cloud
	clock  *clock
	inbox  *Inbox
	token  string
	client *http.Client
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	w := &world{T: t, clock: newClock()}
	o.Now = w.clock.Now
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	w.Cloud, w.client = c, &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		c.Close()
	})
	w.inbox = c.AddUser("u-1", "Ada", "ada@example.com")
	w.token = w.inbox.IssueAccessToken(24 * time.Hour)
	w.named(w.inbox.ID)
	return w
}

// answer is a reply that was read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of the request, or of reading the body
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(a.body, &m); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return m
}

func (w *world) do(r *http.Request) answer {
	p, err := w.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer p.Body.Close()
	b, err := io.ReadAll(p.Body)
	return answer{p.StatusCode, p.Header, b, err}
}

// send sends a request of the API with the user's token.
func (w *world) send(method, path, body string) answer {
	w.Helper()
	r, err := http.NewRequest(method, w.APIURL()+path, bytes.NewBufferString(body))
	if err != nil {
		w.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+w.token)
	return w.do(r)
}

// named makes users/me name a user for the token.
func (w *world) named(user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.access[w.token].named = user
}

// delete sends a DELETE as if the client had just asked for the recording.
func (w *world) delete(id string) answer {
	w.mu.Lock()
	if r := w.inbox.records[id]; r != nil {
		r.looked = w.inbox.listings
	}
	w.mu.Unlock()
	return w.send("DELETE", "/api/v2/userrecordings/"+id, "")
}

func (w *world) get(path string) answer { w.Helper(); return w.send("GET", path, "") }

// fetch requests a link; headers come in pairs of name and value.
func (w *world) fetch(link string, header ...string) answer {
	w.Helper()
	r, err := http.NewRequest("GET", link, nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return w.do(r)
}

// link returns the link of a download that is ready at once.
func (w *world) link(id, format string) string {
	w.Helper()
	a := w.get("/api/v2/userrecordings/" + url.PathEscape(id) + "/transcoding?formatId=" + format)
	link, _ := a.json(w.T)["contentLocationUri"].(string)
	if a.status != 200 || link == "" {
		w.Fatalf("no link: %d %s", a.status, a.body)
	}
	return link
}

// refused checks status and code of an ErrorBody.
func (w *world) refused(a answer, status int, code string) {
	w.Helper()
	if a.status != status || a.json(w.T)["code"] != code {
		w.Errorf("%d %s, want %d %s", a.status, a.body, status, code)
	}
}

func (w *world) noViolations() {
	w.Helper()
	for _, v := range w.Violations() {
		w.Errorf("violation: %s", v)
	}
}

func (w *world) wantViolations(n int) {
	w.Helper()
	if v := w.Violations(); len(v) != n {
		w.Errorf("%d violations, want %d: %q", len(v), n, v)
	}
}

func (w *world) await(op string, n int) {
	w.Helper()
	if err := w.Await(w.Context(), op, n); err != nil {
		w.Fatal(err)
	}
}
