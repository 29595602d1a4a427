package integration_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/integration_test/genesyssim"
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
		"conditions ignored": {func(t testing.TB) *storagetest.Server { return storagetest.Fake(t) }, 6, "a second create in parts took the place of the first object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, c.start(t), genesyssim.Options{})
			w.withoutETag()
			inbox := w.cloud.ClientInbox()
			inbox.Add(genesyssim.Recording{ID: "large", Size: 12 << 20})
			w.once(0)
			w.wantArchived(all(inbox))
			if f := w.doctor(c.code)["store.create_only"]; !strings.Contains(f.Found, c.found) {
				t.Errorf("want %q, got %+v", c.found, f)
			}
		})
	}
}
