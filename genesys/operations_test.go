package genesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func ptr(n int64) *int64 { return &n }

func TestOperations(t *testing.T) {
	const rec = `{"id":"r1","dateModified":"2026-01-02T03:04:05.678Z"}`
	recording := &Recording{ID: "r1", DateModified: "2026-01-02T03:04:05.678Z", Fingerprint: members{{"id", `"r1"`}}.fingerprint(), Raw: []byte(rec)}
	tests := []struct {
		name, request, body string
		status              int
		reply               string
		call                func(context.Context, *Client) (any, error)
		want                any
	}{
		{
			name: "list", request: "GET /base/api/v2/userrecordings?expand=conversation&pageNumber=2&pageSize=50",
			status: 200, reply: `{"entities":[` + rec + `],"pageSize":25,"pageNumber":2,"pageCount":3,"total":60,"nextUri":"/n"}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Recordings(ctx, ListParams{PageSize: 50, PageNumber: 2, Expand: []string{"conversation"}})
			},
			want: &Listing{Recordings: []Recording{*recording}, PageSize: 25, PageNumber: 2, PageCount: 3, Total: ptr(60), NextURI: "/n", CorrelationID: "c-1"},
		}, {
			name: "list with defaults, expand twice", request: "GET /base/api/v2/userrecordings?expand=a&expand=b", status: 200, reply: `{}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Recordings(ctx, ListParams{Expand: []string{"a", "b"}})
			},
			want: &Listing{CorrelationID: "c-1"},
		}, {
			name: "summary", request: "GET /base/api/v2/userrecordings/summary", status: 200, reply: `{"readCount":1,"unreadCount":"x","totalCount":3}`,
			call: func(ctx context.Context, c *Client) (any, error) { return c.Summary(ctx) },
			want: &Summary{ReadCount: ptr(1), TotalCount: ptr(3)},
		}, {
			name: "get", request: "GET /base/api/v2/userrecordings/r1?expand=conversation", status: 200, reply: rec,
			call: func(ctx context.Context, c *Client) (any, error) { return c.Recording(ctx, "r1", "conversation") },
			want: recording,
		}, {
			name: "update", request: "PUT /base/api/v2/userrecordings/r1?expand=conversation", body: `{"read":true}`, status: 200, reply: rec,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.UpdateRecording(ctx, "r1", []byte(`{"read":true}`), "conversation")
			},
			want: recording,
		}, {
			name: "delete", request: "DELETE /base/api/v2/userrecordings/r1", status: 202,
			call: func(ctx context.Context, c *Client) (any, error) { return nil, c.DeleteRecording(ctx, "r1") },
		}, {
			name: "delete answered 204", request: "DELETE /base/api/v2/userrecordings/r1", status: 204,
			call: func(ctx context.Context, c *Client) (any, error) { return nil, c.DeleteRecording(ctx, "r1") },
		}, {
			name: "transcoding", request: "GET /base/api/v2/userrecordings/r1/transcoding?formatId=WAV_ULAW", status: 202, reply: `{"id":"d","state":"Running"}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Download(ctx, nil, DownloadTranscoding, "r1", FormatWAVULAW)
			},
			want: &Download{ID: "d", State: "Running", Status: 202, CorrelationID: "c-1"},
		}, {
			name: "media", request: "GET /base/api/v2/userrecordings/r1/media?async=true&formatId=NONE", status: 200,
			reply: `{"contentLocationUri":"https://h/x?sig=1","resultUri":"r","imageUri":"i","thumbnails":[{"imageUri":"t","resolution":"1x2","height":1,"width":2},7]}`,
			call: func(ctx context.Context, c *Client) (any, error) {
				return c.Download(ctx, nil, DownloadMedia, "r1", FormatNone)
			},
			want: &Download{
				Location: "https://h/x?sig=1", ResultURI: "r", ImageURI: "i", Status: 200, CorrelationID: "c-1",
				Thumbnails: []Thumbnail{{ImageURI: "t", Resolution: "1x2", Height: 1, Width: 2}, {}},
			},
		}, {
			name: "me", request: "GET /base/api/v2/users/me?expand=presence", status: 200, reply: `{"id":"u","name":"N","email":"e@x"}`,
			call: func(ctx context.Context, c *Client) (any, error) { return c.Me(ctx, "presence") },
			want: &User{ID: "u", Name: "N", Email: "e@x"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				body, _ := io.ReadAll(r.Body)
				got := r.Method + " " + r.RequestURI
				if got != tt.request || string(body) != tt.body {
					t.Errorf("request %s with body %q\nwant    %s with body %q", got, body, tt.request, tt.body)
				}
				if ct := r.Header.Get("Content-Type"); (ct == "application/json") != (tt.body != "") {
					t.Errorf("Content-Type %q", ct)
				}
				if r.Header.Get("Authorization") != "Bearer tok-secret" || r.Header.Get("User-Agent") != "archiverd/test" || r.Header.Get("Accept") != "application/json" {
					t.Errorf("headers %v", r.Header)
				}
				w.Header().Set("ININ-Correlation-Id", "c-1")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.reply)
			}))
			got, err := tt.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if requests != 1 {
				t.Errorf("%d requests", requests)
			}
			if _, ok := c.Skew(); !ok {
				t.Error("no skew after a reply with a Date")
			}
		})
	}
}

// The id of a recording comes from outside. It must stay one segment of the path, and an empty one must not turn the
// request into another operation.
func TestIDsStayOneSegment(t *testing.T) {
	ids := map[string]string{
		"a/b": "a%2Fb", "a?b": "a%3Fb", "a%2Fb": "a%252Fb", "a b": "a%20b", "ü": "%C3%BC", "#x": "%23x", ".": "%2E", "..": "%2E%2E", "../x": "..%2Fx", "...": "...",
	}
	var got string
	c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.RequestURI; w.WriteHeader(202) }))
	for id, want := range ids {
		if err := c.DeleteRecording(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if got != "/base/api/v2/userrecordings/"+want {
			t.Errorf("id %q: %s", id, got)
		}
	}
	got = ""
	if err := c.DeleteRecording(t.Context(), ""); err == nil || got != "" || asError(t, err).Temporary() {
		t.Errorf("empty id: %v, request %q", err, got)
	}
}

func TestErrorReplies(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
		header     http.Header
		want       Error
		text       string
		temporary  bool
	}{
		{
			name: "not found", status: 404, body: `{"message":"no such recording","code":"not.found","status":404,"details":[],"new":{}}`,
			want: Error{Code: "not.found", Message: "no such recording", Parsed: true},
			text: "get_userrecording: 404 not.found: no such recording (correlation id c-9)",
		}, {
			name: "not found by a gateway", status: 404, body: `<html>404</html>`,
			text: "get_userrecording: 404 Not Found (correlation id c-9)",
		}, {
			name: "object without code", status: 404, body: `{"error":"x"}`,
			text: "get_userrecording: 404 Not Found (correlation id c-9)",
		}, {
			name: "mistyped code", status: 404, body: `{"code":7,"message":null,"messageWithParams":"{x} missing"}`,
			want: Error{Message: "{x} missing", Parsed: true},
			text: "get_userrecording: 404 Not Found: {x} missing (correlation id c-9)",
		}, {
			name: "limited", status: 429, header: http.Header{"Retry-After": {"7"}}, body: `{"code":"too.many.requests.retry.after"}`,
			want: Error{Code: "too.many.requests.retry.after", Parsed: true, RetryAfter: 7 * time.Second},
			text: "get_userrecording: 429 too.many.requests.retry.after (correlation id c-9)", temporary: true,
		}, {
			name: "down", status: 503, header: http.Header{"Retry-After": {"1"}},
			want: Error{RetryAfter: time.Second},
			text: "get_userrecording: 503 Service Unavailable (correlation id c-9)", temporary: true,
		}, {
			name: "redirected", status: 302, header: http.Header{"Location": {"/elsewhere"}},
			text: "get_userrecording: 302 Found (correlation id c-9)",
		}, {
			name: "echo of the token, on two lines", status: 400, body: `{"code":"bad.request","message":"bad\nheader Bearer tok-secret"}`,
			want: Error{Code: "bad.request", Message: "bad header Bearer [redacted]", Parsed: true},
			text: "get_userrecording: 400 bad.request: bad header Bearer [redacted] (correlation id c-9)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			requests := 0
			c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				for k, v := range tt.header {
					w.Header()[k] = v
				}
				w.Header().Set("ININ-Correlation-Id", "c-9")
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			}))
			_, err := c.Recording(t.Context(), "r1")
			got := asError(t, err)
			tt.want.Op, tt.want.Status, tt.want.CorrelationID = "get_userrecording", tt.status, "c-9"
			if diff := cmp.Diff(&tt.want, got); diff != "" {
				t.Error(diff)
			}
			if got.Error() != tt.text || got.Temporary() != tt.temporary || requests != 1 {
				t.Errorf("%q, temporary %v, %d requests", got, got.Temporary(), requests)
			}
		})
	}
}

func TestTemporary(t *testing.T) {
	temporary := map[int]bool{0: true, 200: true, 408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true}
	for status := range 600 {
		want := temporary[status] || status/100 == 2
		if got := (&Error{Status: status}).Temporary(); got != want {
			t.Errorf("%d: %v", status, got)
		}
	}
	for _, err := range []error{ErrNeedsLogin, ErrWrongUser, ErrTooLarge, errNoID} {
		if (&Error{Status: 200, Err: fmt.Errorf("x: %w", err)}).Temporary() {
			t.Errorf("%v is temporary", err)
		}
	}
	if !(&Error{Status: 416, Err: ErrChanged}).Temporary() {
		t.Error("ErrChanged is not temporary")
	}
}

// A reply of 200 with the wrong content is an error.
func TestUnreadableReplies(t *testing.T) {
	tests := map[string]struct {
		reply     func(w http.ResponseWriter)
		temporary bool
		is        error
	}{
		"html":          {func(w http.ResponseWriter) { io.WriteString(w, "<html>login please</html>") }, true, nil},
		"empty":         {func(w http.ResponseWriter) {}, true, nil},
		"null":          {func(w http.ResponseWriter) { io.WriteString(w, "null") }, true, nil},
		"array":         {func(w http.ResponseWriter) { io.WriteString(w, "[]") }, true, nil},
		"two documents": {func(w http.ResponseWriter) { io.WriteString(w, "{}{}") }, true, nil},
		"cut JSON":      {func(w http.ResponseWriter) { io.WriteString(w, `{"entities":[`) }, true, nil},
		"cut body": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, `{}`)
		}, true, io.ErrUnexpectedEOF},
		"cut chunks": {func(w http.ResponseWriter) {
			io.WriteString(w, `{}`)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, true, io.ErrUnexpectedEOF},
		"no list":   {func(w http.ResponseWriter) { io.WriteString(w, `{"entities":{"id":"x"}}`) }, true, nil},
		"deep":      {func(w http.ResponseWriter) { io.WriteString(w, `{"a":`+strings.Repeat("[", 20000)) }, false, ErrTooLarge},
		"too large": {func(w http.ResponseWriter) { io.WriteString(w, `{"a":"`+strings.Repeat("x", listingLimit)+`"}`) }, false, ErrTooLarge},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tt.reply(w) }))
			_, err := c.Recordings(t.Context(), ListParams{})
			e := asError(t, err)
			if e.Status != 200 || e.Temporary() != tt.temporary || e.Err == nil || (tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("%v, temporary %v", err, e.Temporary())
			}
		})
	}
}

func TestOnlyListingsAreLarge(t *testing.T) {
	large := `{"id":"r1","entities":[],"x":"` + strings.Repeat("x", replyLimit) + `"}`
	c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, large) }))
	if _, err := c.Recordings(t.Context(), ListParams{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Recording(t.Context(), "r1"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("recording: %v", err)
	}
	if err := c.DeleteRecording(t.Context(), "r1"); err != nil {
		t.Errorf("delete, whose body does not matter: %v", err)
	}
}

func TestReplyAboutAnotherRecording(t *testing.T) {
	c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"id":"r2"}`) }))
	if r, err := c.Recording(t.Context(), "r1"); err == nil {
		t.Errorf("took %v for r1", r.ID)
	}
}

// The client must not follow redirects: it would send the token to another host.
func TestRedirectsAreNotFollowed(t *testing.T) {
	c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			t.Error("followed")
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	if _, err := c.Summary(t.Context()); asError(t, err).Status != 307 {
		t.Error(err)
	}
}

func TestNoReply(t *testing.T) {
	c := signedIn(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }))
	_, err := c.Summary(t.Context())
	if e := asError(t, err); e.Status != 0 || !e.Temporary() || strings.Contains(err.Error(), "/api/v2") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Summary(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
