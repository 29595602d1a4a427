package storage_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/storage"
)

// TestRepliesAreBounded has a store whose replies never end. Only an object may be of any
// length, because its reader decides how much to read.
func TestRepliesAreBounded(t *testing.T) {
	var sent, status atomic.Int64
	block := strings.Repeat("<x>"+strings.Repeat("y", 1000)+"</x>", 64)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.WriteHeader(int(status.Load()))
		fmt.Fprint(rw, "<ListBucketResult>")
		for {
			n, err := io.WriteString(rw, block)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	defer server.Close()
	b, err := storage.OpenAtOnce(t.Context(), storage.Options{Endpoint: server.URL, Bucket: "bucket", PathStyle: true, AccessKeyID: "a", SecretAccessKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	p := storage.NewProbe(b)
	for name, ask := range map[string]func() error{
		"list": func() (err error) {
			for _, err = range b.List(t.Context(), "") {
			}
			return err
		},
		"put": func() error {
			_, err := b.Put(t.Context(), storage.New{Key: "k"}, nil, sha256.Sum256(nil))
			return err
		},
		"upload":    func() error { _, err := b.Create(t.Context(), storage.New{Key: "k"}); return err },
		"lifecycle": func() error { _, err := p.Lifecycle(t.Context()); return err },
		"get":       func() error { _, _, err := b.Get(t.Context(), "k", ""); return err },
	} {
		for _, code := range []int64{200, 400} {
			if name == "get" && code == 200 {
				continue
			}
			status.Store(code)
			sent.Store(0)
			if err := ask(); err == nil {
				t.Errorf("%s: no error after status %d", name, code)
			}
			// Three attempts, and the bytes in buffers.
			if n := sent.Load(); n > 3*(16<<20)+(32<<20) {
				t.Errorf("%s: %d MiB were read after status %d", name, n>>20, code)
			}
		}
	}
	status.Store(200)
	r, _, err := b.Get(t.Context(), "k", "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.CopyN(io.Discard, r, 40<<20); err != nil || n != 40<<20 {
		t.Errorf("an object of any length: %d, %v", n, err)
	}
}
