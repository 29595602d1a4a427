package genesystest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestWrongRequestsAreFound sends requests that the published contract does not know.
func TestWrongRequestsAreFound(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	for i, r := range []struct{ method, path, body string }{
		{"GET", "/api/v2/userrecordings?pageSize=many", ""},
		{"GET", "/api/v2/userrecordings?cursor=1", ""},
		{"GET", "/api/v2/userrecordings?expand=everything", ""},
		{"GET", firstPath + "/transcoding?async=true", ""},
		{"GET", firstPath + "/media?async=perhaps", ""},
		{"GET", firstPath + "/transcoding?formatId=wav", ""},
		{"GET", firstPath + "/", ""},
		{"GET", "/api/v2/users", ""},
		{"POST", "/api/v2/userrecordings", "{}"},
		{"DELETE", "/api/v2/userrecordings/", ""},
		{"PUT", firstPath, `{"read":"yes"}`},
		{"PUT", firstPath, ""},
		{"GET", firstPath, "{}"},
	} {
		w.send(r.method, r.path, r.body)
		w.wantViolations(i + 1)
	}
	w.fetch(w.LoginURL() + "/oauth/token")
	w.wantViolations(14)
}

// TestWrongRepliesAreFound has the simulation answer what Genesys never would.
func TestWrongRepliesAreFound(t *testing.T) {
	for field, value := range map[string]any{
		"contentLength": "7", "read": "no", "dateCreated": "yesterday", "conversation": []int{}, "durationMilliseconds": 1.5,
	} {
		w := newWorld(t, Options{})
		w.inbox.Add(Recording{ID: "r000", Extra: map[string]any{field: value}})
		w.get(firstPath)
		w.get("/api/v2/userrecordings")
		w.wantViolations(2)
		if v := w.Violations(); !strings.Contains(strings.Join(v, " "), field) {
			t.Errorf("%s: %q", field, v)
		}
	}
}

func TestEveryOperationIsInTheContract(t *testing.T) {
	s, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{opList, opSummary, opGet, opPut, opDelete, opMedia, opTranscoding, opMe} {
		if s.routes[op] == nil || len(s.scopes(op)) == 0 {
			t.Errorf("%s has no route or no scopes", op)
		}
	}
	if len(s.routes) != 8 {
		t.Errorf("%d operations in the contract", len(s.routes))
	}
}

// BenchmarkListing shows what a page of 100 costs, its validation included.
func BenchmarkListing(b *testing.B) {
	w := newWorldB(b)
	x := &call{c: w, o: w.options(), op: opList, inbox: w.client, r: mustRequest(w.APIURL() + pathRecordings + "?pageSize=100&expand=conversation")}
	x.query = x.r.URL.Query()
	for b.Loop() {
		if p := x.answer(); p.status != 200 {
			b.Fatal(p.status)
		}
	}
	if v := w.Violations(); len(v) > 0 {
		b.Fatal(v)
	}
}

func newWorldB(b *testing.B) *Cloud {
	c, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	for i := range 1000 {
		c.ClientInbox().Add(Recording{ID: fmt.Sprint("r", i)})
	}
	return c
}

func mustRequest(url string) *http.Request {
	r, err := http.NewRequest("GET", url, nil)
	if err != nil {
		panic(err)
	}
	return r
}
