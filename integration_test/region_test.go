package integration_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestWrongRegion wants the region named that the bucket is in, as a fault of the
// configuration: by a real server that was signed for another, and in S3's other words.
func TestWrongRegion(t *testing.T) {
	t.Parallel()
	server := storagetest.Versitygw(t)
	for name, c := range map[string]struct {
		status       int // 0: the server's own answer
		header, code string
		want         string
	}{
		"signed for another":  {0, "", "", "us-east-1"},
		"elsewhere":           {301, "eu-west-2", "PermanentRedirect", "eu-west-2"},
		"elsewhere, told new": {307, "eu-west-2", "TemporaryRedirect", "eu-west-2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server, genesystest.Options{})
			if c.status == 0 {
				w.editStorage("region", "eu-west-1")
			} else {
				w.between(func(http.Handler) http.Handler {
					return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						rw.Header().Set("X-Amz-Bucket-Region", c.header)
						rw.Header().Set("Location", server.Endpoint+r.URL.Path)
						rw.WriteHeader(c.status)
						_, _ = io.WriteString(rw, "<Error><Code>"+c.code+"</Code></Error>")
					})
				})
			}
			says := "the bucket is in " + c.want + ": set storage.region"
			if r := w.once(2); !strings.Contains(r.stderr, says) {
				t.Errorf("want %q: %s", says, r)
			}
			if f := w.doctor(2)["store.bucket"]; f.Result != "fail" || !strings.Contains(f.Found, says) {
				t.Errorf("want %q: %+v", says, f)
			}
		})
	}
}

// TestNewBucket redirects every request for a while, as S3 does until a new bucket's name
// is known everywhere.
func TestNewBucket(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	var redirected atomic.Int64
	first := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		redirected.Add(1)
		rw.Header().Set("Location", w.s3.Endpoint+r.URL.Path)
		rw.WriteHeader(http.StatusTemporaryRedirect)
		_, _ = io.WriteString(rw, "<Error><Code>TemporaryRedirect</Code></Error>")
	}))
	t.Cleanup(first.Close)
	w.endpoint = first.URL
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	inbox.Add(genesystest.Recording{ID: "large", Size: 12 << 20})
	w.once(0)
	w.wantArchived(all(inbox))
	if redirected.Load() == 0 {
		t.Error("nothing was redirected")
	}
}
