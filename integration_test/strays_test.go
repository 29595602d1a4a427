package integration_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// aging lets the store tell that the uploads with given ids were begun two days ago.
func (w *world) aging() (old *sync.Map) {
	old = &sync.Map{}
	const tag = "<Initiated>"
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || !r.URL.Query().Has("uploads") {
				next.ServeHTTP(rw, r)
				return
			}
			reply := httptest.NewRecorder()
			next.ServeHTTP(reply, r)
			uploads := strings.Split(reply.Body.String(), "</Upload>")
			for i, u := range uploads {
				old.Range(func(id, _ any) bool {
					if before, after, ok := strings.Cut(u, tag); ok && strings.Contains(u, id.(string)) {
						_, after, _ = strings.Cut(after, "<")
						uploads[i] = before + tag + time.Now().UTC().Add(-48*time.Hour).Format(time.RFC3339) + "<" + after
					}
					return true
				})
			}
			rw.WriteHeader(reply.Code)
			_, _ = rw.Write([]byte(strings.Join(uploads, "</Upload>")))
		})
	})
	return old
}

// TestStrayUploads wants uploads ended that nobody knows, and no others.
func TestStrayUploads(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	old := w.aging()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 1)
	w.once(0) // which claims the inbox
	const ours, day = "genesys/media/org=acme/inbox=client/", "year=2026/month=11/day=26/"
	uploads := map[string]string{}
	for name, c := range map[string]struct {
		key string
		old bool
	}{
		"nobody's":          {ours + day + "lost.wav", true},
		"young":             {ours + day + "young.wav", false},
		"another inbox's":   {"genesys/media/org=acme/inbox=other/" + day + "lost.wav", true},
		"no key of ours":    {ours + "lost", true},
		"above the prefix":  {"lost", true},
		"of another prefix": {"genesys2/media/org=acme/inbox=client/" + day + "lost.wav", true},
	} {
		u, err := w.s3.Client().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &w.bucket, Key: &c.key})
		if err != nil {
			t.Fatal(err)
		}
		uploads[*u.UploadId] = name
		if c.old {
			old.Store(*u.UploadId, true)
		}
	}
	if r := w.once(0); !strings.Contains(r.stderr, "aborted an upload that the ledger does not know") {
		t.Errorf("not said: %s", r)
	}
	out, err := w.s3.Client().ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &w.bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range out.Uploads {
		if uploads[*u.UploadId] == "nobody's" {
			t.Errorf("%s is still under way", *u.Key)
		}
		delete(uploads, *u.UploadId)
	}
	if len(uploads) != 1 {
		t.Errorf("ended were %v", uploads)
	}
}
