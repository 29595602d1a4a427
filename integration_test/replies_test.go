package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

var shownETag = regexp.MustCompile(`<ETag>[^<]*</ETag>`)

// withoutETag takes the ETag out of the replies to CompleteMultipartUpload, as Ceph RGW
// 16 answers.
func (w *world) withoutETag() {
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost || !r.URL.Query().Has("uploadId") {
				next.ServeHTTP(rw, r)
				return
			}
			reply := httptest.NewRecorder()
			next.ServeHTTP(reply, r)
			rw.WriteHeader(reply.Code)
			_, _ = rw.Write(shownETag.ReplaceAll(reply.Body.Bytes(), nil))
		})
	})
}

// TestCompletedWithoutETag wants a large recording archived in the first run, and what
// the doctor says of create-only writes to depend on those alone.
func TestCompletedWithoutETag(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start func(testing.TB) *storagetest.Server
		code  int // of the doctor
		found string
	}{
		"conditions heeded":  {storagetest.Versitygw, 0, "a second create was refused, in one request and in parts"},
		"conditions ignored": {func(t testing.TB) *storagetest.Server { return storagetest.Fake(t) }, 6, "a second create in parts replaced the first object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, c.start(t), genesystest.Options{})
			w.withoutETag()
			inbox := w.cloud.ClientInbox()
			inbox.Add(genesystest.Recording{ID: "large", Size: 12 << 20})
			w.once(0)
			w.wantArchived(all(inbox))
			if f := w.doctor(c.code)["store.create_only"]; !strings.Contains(f.Found, c.found) {
				t.Errorf("want %q, got %+v", c.found, f)
			}
		})
	}
}

// TestOddHeader has a store write one header otherwise than S3 does. The doctor finds it
// before the first run; a run ends at once, names it, and fails no recording for it.
func TestOddHeader(t *testing.T) {
	t.Parallel()
	server := storagetest.Versitygw(t)
	for name, c := range map[string]struct {
		header, value string
		check         string // of the doctor
	}{
		"zone without a colon": {"X-Amz-Object-Lock-Retain-Until-Date", "2033-11-28T00:00:00+0000", "store.lock"},
		"date of HTTP":         {"X-Amz-Object-Lock-Retain-Until-Date", "Mon, 28 Nov 2033 00:00:00 GMT", "store.lock"},
		"date not of HTTP":     {"Last-Modified", "2026-11-28T00:00:00Z", "store.create_only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server, genesystest.Options{})
			var odd atomic.Bool
			odd.Store(true)
			w.changes(func(_ *http.Request, h http.Header) {
				if odd.Load() && h.Get(c.header) != "" {
					h.Set(c.header, c.value)
				}
			})
			w.lockedAs("compliance")
			inbox := w.cloud.ClientInbox()
			fill(inbox, 3)
			says := strings.ToLower(fmt.Sprintf("%s: %q", c.header, c.value))
			if f := w.doctor(2)[c.check]; f.Result != "fail" || !strings.Contains(strings.ToLower(f.Found), says) {
				t.Errorf("want %s in %s: %+v", says, c.check, f)
			}
			if r := w.once(2); !strings.Contains(strings.ToLower(r.stdout), says) {
				t.Errorf("want %s: %s", says, r)
			}
			if n := len(w.entriesIn(inbox, state.StateFailed)); n > 0 {
				t.Errorf("%d recordings failed", n)
			}
			odd.Store(false)
			w.once(0)
			w.wantArchived(all(inbox))
		})
	}
}

// entriesIn are the ids of the recordings in a state.
func (w *world) entriesIn(inbox *genesystest.Inbox, s state.State) (ids []string) {
	w.Helper()
	for id, e := range w.entries(inbox) {
		if e.State == s {
			ids = append(ids, id)
		}
	}
	return ids
}
