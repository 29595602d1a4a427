package genesystest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// page lists one page and gives the ids on it.
func (w *world) page(query string) (map[string]any, []string) {
	w.Helper()
	a := w.get("/api/v2/userrecordings?" + query)
	if a.status != 200 {
		w.Fatalf("listing: %d %s", a.status, a.body)
	}
	m := a.json(w.T)
	var ids []string
	for _, e := range m["entities"].([]any) {
		ids = append(ids, e.(map[string]any)["id"].(string))
	}
	return m, ids
}

func (w *world) fill(n int) {
	for i := range n {
		w.inbox.Add(Recording{ID: fmt.Sprintf("r%03d", i)})
	}
}

func TestListingPages(t *testing.T) {
	w := newWorld(t, Options{MaxPageSize: 10})
	w.fill(25)
	m, ids := w.page("pageSize=50&pageNumber=2&expand=conversation")
	if len(ids) != 10 || ids[0] != "r014" || ids[9] != "r005" {
		t.Errorf("second page, newest first: %v", ids)
	}
	want := map[string]any{
		"pageSize": 10.0, "pageNumber": 2.0, "pageCount": 3.0, "total": 25.0,
		"nextUri":     "/api/v2/userrecordings?expand=conversation&pageNumber=3&pageSize=10",
		"previousUri": "/api/v2/userrecordings?expand=conversation&pageNumber=1&pageSize=10",
	}
	for k, v := range want {
		if m[k] != v {
			t.Errorf("%s is %v, want %v", k, m[k], v)
		}
	}
	if m, ids := w.page("pageSize=10&pageNumber=3"); len(ids) != 5 || m["nextUri"] != nil {
		t.Errorf("last page: %v, next %v", ids, m["nextUri"])
	}
	if _, ids := w.page("pageNumber=4"); len(ids) != 0 {
		t.Errorf("beyond the end: %v", ids)
	}
	w.refused(w.get("/api/v2/userrecordings?pageSize=0"), 400, "invalid.value")
	w.noViolations()
}

func TestListingOrder(t *testing.T) {
	w := newWorld(t, Options{Order: OldestFirst})
	w.fill(20)
	_, oldest := w.page("pageSize=100")
	w.Configure(func(o *Options) { o.Order = Shuffled })
	_, shuffled := w.page("pageSize=100")
	_, again := w.page("pageSize=100")
	if !slices.IsSorted(oldest) || slices.IsSorted(shuffled) || !slices.Equal(shuffled, again) || !slices.Equal(again, w.inbox.IDs()) {
		t.Errorf("oldest first %v\nshuffled %v\nagain %v", oldest, shuffled, again)
	}
	w.noViolations()
}

func TestListingDrift(t *testing.T) {
	w := newWorld(t, Options{OnPage: func(i *Inbox, page int) {
		if page == 1 {
			i.Add(Recording{ID: "new"})
		}
	}})
	w.fill(6)
	_, first := w.page("pageSize=3")
	_, second := w.page("pageSize=3&pageNumber=2")
	if second[0] != first[2] {
		t.Errorf("a recording that arrived shifts nothing: %v %v", first, second)
	}
	w.Configure(func(o *Options) { o.OnPage, o.RepeatAcross, o.PhantomPages, o.TotalOffset = nil, true, 2, 3 })
	m, first := w.page("pageSize=3")
	_, second = w.page("pageSize=3&pageNumber=2")
	if len(second) != 4 || second[0] != first[2] || m["pageCount"] != 5.0 || m["total"] != 10.0 {
		t.Errorf("repeated recording and phantom pages: %v %v %v", first, second, m)
	}
	w.Configure(func(o *Options) { o.PageSize = func(page, asked int) int { return max(1, asked/page) } })
	if m, _ := w.page("pageSize=4&pageNumber=2"); m["pageSize"] != 2.0 {
		t.Errorf("page size %v", m["pageSize"])
	}
	w.noViolations()
}

// TestHeldBack lists less than there is.
func TestHeldBack(t *testing.T) {
	w := newWorld(t, Options{Depth: 4, SummaryOffset: 2})
	w.fill(6)
	if m, ids := w.page("pageSize=4"); len(ids) != 4 || m["total"] != 6.0 {
		t.Errorf("within the depth: %v %v", ids, m)
	}
	if m, ids := w.page("pageSize=3&pageNumber=2"); len(ids) != 0 || m["total"] != 6.0 {
		t.Errorf("beyond the depth: %v %v", ids, m)
	}
	if got := string(w.get("/api/v2/userrecordings/summary").body); got != `{"readCount":0,"totalCount":8,"unreadCount":6}` {
		t.Error(got)
	}
	w.Configure(func(o *Options) { o.Depth, o.MaxEntities = 0, 2 })
	if _, ids := w.page("pageSize=3&pageNumber=2"); len(ids) != 2 {
		t.Errorf("of a page that holds back: %v", ids)
	}
	ids := w.inbox.IDs()
	w.Configure(func(o *Options) { o.Broken = map[string]int{ids[4]: 504} })
	w.refused(w.get("/api/v2/userrecordings?pageSize=3&pageNumber=2"), 504, "broken")
	if _, ids := w.page("pageSize=3"); len(ids) != 2 {
		t.Errorf("of another page than the broken one: %v", ids)
	}
	w.noViolations()
}

func TestExpand(t *testing.T) {
	w := newWorld(t, Options{MaxExpanded: 5})
	w.fill(1)
	for query, fields := range map[string]int{"pageSize=5": 2, "pageSize=5&expand=conversation": 6} {
		m, _ := w.page(query)
		if c := m["entities"].([]any)[0].(map[string]any)["conversation"].(map[string]any); len(c) != fields {
			t.Errorf("%s: conversation %v", query, c)
		}
	}
	w.refused(w.get("/api/v2/userrecordings?pageSize=6&expand=conversation"), 400, "response.entity.too.large")
	w.noViolations()
}

func TestSummaryAndMe(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(2)
	w.inbox.Add(Recording{ID: "read", Read: true})
	if got := string(w.get("/api/v2/userrecordings/summary").body); got != `{"readCount":1,"totalCount":3,"unreadCount":2}` {
		t.Error(got)
	}
	if m := w.get("/api/v2/users/me").json(t); m["id"] != "u-1" || m["name"] != "Ada" || m["email"] != "ada@example.com" {
		t.Error(m)
	}
	w.inbox.AnswerMe("u-2")
	if m := w.get("/api/v2/users/me").json(t); m["id"] != "u-2" {
		t.Error(m)
	}
	w.Configure(func(o *Options) { o.RefuseMe = true })
	w.refused(w.get("/api/v2/users/me"), 403, "app.not.authorized.for.scope")
	w.noViolations()
}

func TestRecordingOfAnyID(t *testing.T) {
	w := newWorld(t, Options{})
	for _, id := range []string{"a/b", "a b", "☎️ 😀", "100%", "a?b#c", "..", "summary/", strings.Repeat("é", 1000), `"quoted"`, "a%2Fb", "+"} {
		w.inbox.Add(Recording{ID: id})
		path := "/api/v2/userrecordings/" + url.PathEscape(id)
		a := w.get(path + "?expand=conversation")
		if a.status != 200 || string(a.body) != string(w.inbox.JSON(id, true)) {
			t.Errorf("%q: %d %s", id, a.status, a.body)
		}
		m := a.json(t)
		if m["id"] != id || m["selfUri"] != path {
			t.Errorf("%q: id %q, selfUri %q", id, m["id"], m["selfUri"])
		}
		if e, _ := w.inbox.Media(id, "WAV"); string(w.fetch(w.link(id, "WAV")).body[:4]) != "RIFF" || e.Size == 0 {
			t.Errorf("%q: no media", id)
		}
	}
	w.noViolations()
}

func TestRecordingFields(t *testing.T) {
	w := newWorld(t, Options{})
	created := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	w.inbox.Add(Recording{
		ID: "a", DateCreated: created, Duration: 3 * time.Second,
		Extra: map[string]any{"brandNew": []int{1}}, Omit: []string{"name"}, Null: []string{"workspace", "contentLength"},
	})
	m := w.get("/api/v2/userrecordings/a").json(t)
	if m["dateCreated"] != "2026-11-23T10:00:00.000Z" || m["durationMilliseconds"] != 3000.0 || m["brandNew"] == nil {
		t.Error(m)
	}
	if _, ok := m["name"]; ok || m["workspace"] != nil {
		t.Errorf("omitted and null fields: %v", m)
	}
	w.noViolations() // nulls are allowed

	w.inbox.Add(Recording{ID: "raw", RawJSON: json.RawMessage(`{"id" : 7, "dateCreated": [ ]}`)})
	if got := string(w.get("/api/v2/userrecordings/raw").body); got != `{"id" : 7, "dateCreated": [ ]}` {
		t.Error(got)
	}
	if got := string(w.get("/api/v2/userrecordings").body); !strings.Contains(got, `{"id" : 7, "dateCreated": [ ]}`) {
		t.Error(got)
	}
	w.noViolations() // a RawJSON is let through
}

func TestPut(t *testing.T) {
	w := newWorld(t, Options{})
	w.inbox.Add(Recording{ID: "a"})
	before := w.get("/api/v2/userrecordings/a").json(t)
	w.clock.advance(time.Hour)
	all := strings.Replace(string(w.inbox.JSON("a", false)), `"read":false`, `"read":true`, 1)
	after := w.send("PUT", "/api/v2/userrecordings/a", all).json(t)
	if after["read"] != true || after["dateModified"] != "2026-11-23T11:00:00.000Z" || after["dateModified"] == before["dateModified"] {
		t.Error(after)
	}
	w.noViolations()
	w.refused(w.send("PUT", "/api/v2/userrecordings/a", "[]"), 400, "bad.request")
	w.wantViolations(1)
}

func TestChange(t *testing.T) {
	w := newWorld(t, Options{})
	w.inbox.Add(Recording{ID: "a", DateModified: w.clock.Now().Add(time.Hour)})
	old, _ := w.inbox.Media("a", "WAV")
	w.inbox.Change("a")
	changed, _ := w.inbox.Media("a", "WAV")
	if m := w.get("/api/v2/userrecordings/a").json(t); old == changed || m["dateModified"] != "2026-11-23T11:00:00.001Z" {
		t.Errorf("dateModified %v, media %v", m["dateModified"], changed)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t, Options{DeletedListings: 2})
	w.fill(3)
	a := w.delete("r001")
	if a.status != 202 || len(a.body) != 0 {
		t.Errorf("%d %q", a.status, a.body)
	}
	for _, want := range []int{3, 3, 2} {
		if _, ids := w.page(""); len(ids) != want {
			t.Errorf("listed %v, want %d", ids, want)
		}
	}
	w.refused(w.delete("r001"), 404, "not.found")
	w.refused(w.get("/api/v2/userrecordings/r001"), 404, "not.found")

	w.Configure(func(o *Options) { o.DeletedListings = -1 })
	w.delete("r002")
	for range 5 {
		w.page("")
	}
	if m := w.get("/api/v2/userrecordings/r002").json(t); m["id"] != "r002" {
		t.Error("gone before Settle")
	}
	w.Settle()
	w.refused(w.get("/api/v2/userrecordings/r002"), 404, "not.found")

	w.Configure(func(o *Options) { o.DeletedListings = 0 })
	w.delete("r000")
	if ids := w.inbox.IDs(); len(ids) != 0 {
		t.Errorf("left: %v", ids)
	}
	w.inbox.Restore("r000")
	w.inbox.Remove("r000")
	w.noViolations()
}

func TestOnDeleteRunsBeforeAnyEffect(t *testing.T) {
	var w *world
	seen := 0
	w = newWorld(t, Options{OnDelete: func(inbox, id string) error {
		seen++
		if inbox != "u-1" || len(w.inbox.IDs()) != 1 {
			t.Errorf("inbox %s, %d recordings", inbox, len(w.inbox.IDs()))
		}
		if id == "r000" {
			return errors.New("not in the bucket")
		}
		return nil
	}})
	w.fill(1)
	w.Inject(Fault{Op: "delete_userrecording", Effect: Reset()})
	w.delete("r000")
	w.delete("r000")
	if seen != 2 || len(w.inbox.IDs()) != 0 {
		t.Errorf("seen %d", seen)
	}
	w.wantViolations(2)
}

func TestDeleteDuringListing(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(2)
	w.page("")
	w.delete("r001")
	w.noViolations()
	w.Configure(func(o *Options) {
		o.OnPage = func(*Inbox, int) { w.delete("r000") }
	})
	w.page("")
	w.wantViolations(1)
}

func TestScopes(t *testing.T) {
	w := newWorld(t, Options{Scopes: []string{"user-recordings:readonly"}})
	w.fill(1)
	w.page("")
	w.refused(w.delete("r000"), 403, "app.not.authorized.for.scope")
	w.refused(w.send("PUT", "/api/v2/userrecordings/r000", "{}"), 403, "app.not.authorized.for.scope")
	w.refused(w.get("/api/v2/users/me"), 403, "app.not.authorized.for.scope")
	w.noViolations()
}

func TestEveryReplyHasDateAndCorrelationID(t *testing.T) {
	w := newWorld(t, Options{DateSkew: 10 * time.Minute})
	w.fill(1)
	want := w.clock.Now().Add(10 * time.Minute).Format(http.TimeFormat)
	for _, a := range []answer{w.get("/api/v2/users/me"), w.get("/api/v2/userrecordings/none"), w.fetch(w.APIURL() + "/"), w.fetch(w.LoginURL() + "/")} {
		if a.header.Get("Date") != want || a.header.Get("ININ-Correlation-Id") == "" {
			t.Errorf("headers %v", a.header)
		}
	}
	if got := w.fetch(w.link("r000", "WAV")).header.Get("Date"); got != want {
		t.Errorf("media host's Date is %s", got)
	}
}

func TestBehindAGatewayWithTLS(t *testing.T) {
	w := newWorld(t, Options{BasePath: "/genesys", TLS: true})
	w.fill(1)
	w.trust()
	if !strings.HasPrefix(w.APIURL(), "https://127.0.0.1:") || !strings.HasSuffix(w.APIURL(), "/genesys") {
		t.Error(w.APIURL())
	}
	w.page("")
	if a := w.fetch(w.link("r000", "WAV")); a.err != nil || len(a.body) != 32044 {
		t.Errorf("%d bytes, %v", len(a.body), a.err)
	}
	w.Inject(Fault{Times: Always, Effect: Reset()})
	if a := w.get("/api/v2/users/me"); a.err == nil {
		t.Errorf("not reset: %d", a.status)
	}
	w.noViolations()
}

func TestEventsAndCounters(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	w.page("")
	w.Inject(Fault{Op: "get_userrecording", Effect: Status(500, "internal.server.error")})
	w.get("/api/v2/userrecordings/r000")
	w.get("/api/v2/userrecordings/r000")
	w.fetch(w.link("r000", "WAV"))
	var got []string
	for _, e := range w.Events() {
		got = append(got, fmt.Sprintf("%s %s %s %s %d %s", e.Method, e.Op, e.Inbox, e.Recording, e.Status, e.Fault))
	}
	want := []string{
		"GET get_userrecordings u-1  200 ", "GET get_userrecording u-1 r000 500 internal.server.error", "GET get_userrecording u-1 r000 200 ",
		"GET get_userrecording_transcoding u-1 r000 200 ", "GET media_link u-1 r000 200 ",
	}
	if !slices.Equal(got, want) || w.Requests("get_userrecording") != 2 {
		t.Errorf("events:\n%s", strings.Join(got, "\n"))
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t, Options{RateLimit: 10000})
	w.fill(40)
	done := make(chan struct{})
	for worker := range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := range 10 {
				id := fmt.Sprintf("r%03d", 10*worker+i)
				w.page("pageSize=7&expand=conversation")
				w.inbox.Change(id)
				w.fetch(w.link(id, "OGG_OPUS"))
				w.Configure(func(o *Options) { o.DeletedListings = i % 3 })
				w.Inject(Fault{Op: "get_users_me", Effect: Status(429, "too.many.requests")})
				w.get(pathMeTest)
				w.delete(id) // overlaps listings of the other workers
				w.Events()
				w.Violations()
			}
		}()
	}
	for range 4 {
		<-done
	}
	w.Settle()
	if ids := w.inbox.IDs(); len(ids) != 0 {
		t.Errorf("left: %v", ids)
	}
}
