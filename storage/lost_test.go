package storage_test

import (
	"crypto/sha256"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// loses forwards the first request that matches and drops its reply.
func loses(match func(*http.Request) bool, sent *atomic.Int32) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if match(r) && sent.Add(1) == 1 {
				next.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	}
}

func lossy(t *testing.T, match func(*http.Request) bool) (*storage.Bucket, *atomic.Int32) {
	t.Helper()
	sent := new(atomic.Int32)
	s := storagetest.Fake(t, loses(match, sent))
	b, err := storage.OpenAtOnce(t.Context(), s.Options(s.NewBucket(t, false)))
	if err != nil {
		t.Fatal(err)
	}
	return b, sent
}

func wantStored(t *testing.T, b *storage.Bucket, want string) {
	t.Helper()
	r, _, err := b.Get(t.Context(), "k", "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != want {
		t.Errorf("stored %q, %v", got, err)
	}
}

func TestPutLosesReply(t *testing.T) {
	b, sent := lossy(t, func(r *http.Request) bool { return r.Header.Get("If-None-Match") != "" })
	_, err := b.Put(t.Context(), storage.New{Key: "k"}, []byte("ours"), sha256.Sum256([]byte("ours")))
	if !errors.Is(err, storage.ErrExists) || sent.Load() != 2 {
		t.Errorf("%v after %d requests", err, sent.Load())
	}
	wantStored(t, b, "ours")
}

func TestCompleteLosesReply(t *testing.T) {
	b, sent := lossy(t, func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") })
	u, err := b.Create(t.Context(), storage.New{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), []byte("ours")); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Complete(t.Context(), crc32.ChecksumIEEE([]byte("ours"))); !errors.Is(err, storage.ErrNoUpload) || sent.Load() != 2 {
		t.Errorf("%v after %d requests", err, sent.Load())
	}
	wantStored(t, b, "ours")
}
