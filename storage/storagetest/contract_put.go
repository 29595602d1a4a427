package storagetest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
)

func (c contract) put(t *testing.T) {
	b, _ := c.bucket(t)
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	body := random(100_000)
	put := create(t, b, storage.New{Key: "k", ContentType: "audio/wav"}, body)
	got := head(t, b, "k", "")
	if got.ContentType != "audio/wav" || got.Size != 100_000 || got.ETag != put.ETag || put.Size != got.Size {
		t.Errorf("Head gives %+v, Put gave %+v", got, put)
	}
	if age := time.Since(got.Modified); age.Abs() > time.Minute {
		t.Errorf("modified %v ago", age)
	}
	if want := c.shownOfPut(body); got.Checksum != want {
		t.Errorf("checksum %v, want %v", got.Checksum, want)
	}
	if (got.Retention != storage.Retention{}) || !got.Expires.IsZero() {
		t.Errorf("unasked: %+v", got)
	}
	wantBytes(t, b, "k", "", body)
}

func (c contract) putEmpty(t *testing.T) {
	b, _ := c.bucket(t)
	create(t, b, storage.New{Key: "k"}, nil)
	if got := head(t, b, "k", ""); got.Size != 0 || got.Checksum != c.shownOfPut(nil) {
		t.Errorf("Head gives %+v", got)
	}
	wantBytes(t, b, "k", "", nil)
}

func (c contract) putCreateOnly(t *testing.T) {
	b, _ := c.bucket(t)
	create(t, b, storage.New{Key: "k"}, []byte("first"))
	for _, body := range []string{"first", "second"} {
		_, err := b.Put(t.Context(), storage.New{Key: "k"}, []byte(body), sha256.Sum256([]byte(body)))
		wantErr(t, err, storage.ErrExists)
	}
	wantBytes(t, b, "k", "", []byte("first"))
}

func (c contract) putRaced(t *testing.T) {
	b, _ := c.bucket(t)
	winner := race(t, 20, func(body []byte) error {
		_, err := b.Put(t.Context(), storage.New{Key: "k"}, body, sha256.Sum256(body))
		return err
	})
	wantBytes(t, b, "k", "", winner)
}

// race runs create n times at once, each with a body of its own, and returns
// the body of the one that succeeded.
func race(t *testing.T, n int, create func(body []byte) error) []byte {
	t.Helper()
	errs := make([]error, n)
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000) }
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = create(body(i)) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatal("two creates of one key succeeded")
		case err == nil:
			winner = i
		case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrConflict):
		default:
			t.Error(err)
		}
	}
	if winner < 0 {
		t.Fatal("nobody won")
	}
	return body(winner)
}

func (c contract) putChecksum(t *testing.T) {
	b, _ := c.bucket(t)
	if !c.s.Capabilities.Checksums { // assert that the server really lacks them
		if err := b.PutCorrupt(t.Context(), "k"); err != nil {
			t.Errorf("PutCorrupt: %v: does it compare checksums now?", err)
		}
		return
	}
	wantErr(t, b.PutCorrupt(t.Context(), "k"), storage.ErrChecksum)
	_, err := b.Put(t.Context(), storage.New{Key: "k"}, []byte("body"), sha256.Sum256([]byte("other")))
	wantErr(t, err, storage.ErrChecksum)
	wantAbsent(t, b, "k")
}

// noChecksumHeaders fails the test if a request carries a header that a store with
// Content-MD5 only may refuse.
type noChecksumHeaders struct {
	http.RoundTripper
	t *testing.T
}

func (rt noChecksumHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	for name := range r.Header {
		low := strings.ToLower(name)
		if r.Method != http.MethodHead && (strings.HasPrefix(low, "x-amz-checksum") || strings.HasPrefix(low, "x-amz-sdk-checksum") || low == "x-amz-trailer") {
			rt.t.Errorf("%s %s carries %s", r.Method, r.URL.Path, name)
		}
	}
	return rt.RoundTripper.RoundTrip(r)
}

func (c contract) md5(t *testing.T) {
	b, _ := c.bucket(t, md5(t))
	body := random(100_000)
	create(t, b, storage.New{Key: "k"}, body)
	wantBytes(t, b, "k", "", body)
	_, err := b.Put(t.Context(), storage.New{Key: "k"}, body, sha256.Sum256(body))
	wantErr(t, err, storage.ErrExists)
	wantErr(t, b.PutCorrupt(t.Context(), "corrupt"), storage.ErrChecksum)
	wantAbsent(t, b, "corrupt")

	parts := [][]byte{random(storage.MinPartSize), random(7)}
	o, err := uploaded(t, b, storage.New{Key: "parts"}, parts...)
	if err != nil || (o.Checksum != storage.Checksum{}) {
		t.Fatalf("Complete gives %+v, %v", o, err)
	}
	wantBytes(t, b, "parts", "", bytes.Join(parts, nil))
}

func md5(t *testing.T) func(*storage.Options) {
	return func(o *storage.Options) { o.Checksum, o.Transport = "md5", noChecksumHeaders{o.Transport, t} }
}

func (c contract) keys(t *testing.T) {
	b, _ := c.bucket(t)
	long := "genesys/" + strings.Repeat(strings.Repeat("k", 199)+"/", 5) // 1,008 bytes
	for _, key := range []string{
		"genesys/media/org=acme/inbox=a%2Fb/year=2026/month=11/day=23/0c1e~2.wav",
		"percent/%", "percent/%41", "percent/%25", "plus/a+b", "space/a b", "odd/(a)!'*,;:@&=$[]#?x",
		"unicode/é/日本", long + strings.Repeat("x", 1024-len(long)),
	} {
		t.Run(key[:min(len(key), 40)], func(t *testing.T) {
			create(t, b, storage.New{Key: key}, []byte(key))
			head(t, b, key, "")
			wantBytes(t, b, key, "", []byte(key))
			o, err := uploaded(t, b, storage.New{Key: key + "~"}, []byte(key))
			if len(key) == 1024 {
				if err == nil {
					t.Error("1,025 bytes were taken")
				}
			} else if err != nil || o.Key != key+"~" {
				t.Error(o, err)
			}
			if got := listed(t, b, key); len(got) == 0 || got[0] != key {
				t.Errorf("listed as %q", got)
			}
		})
	}
}

func (c contract) metadata(t *testing.T) {
	b, _ := c.bucket(t)
	want := map[string]string{
		"org": "acme", "date-modified": "2026-11-23T10:00:00.000+0000", "0": "digit",
		"unicode": "naïve 日本", "control": "tab\tline\r\nnul\x00del\x7f", "bytes": "\xff\xfe", "percent": "100% %41 %",
		"spaces": "  two  each  ", "space": " ", "word": "=?utf-8?q?x?= =", "punctuation": `"a", 'b'; c=d\`,
		"long": strings.Repeat("x", 1400),
	}
	create(t, b, storage.New{Key: "put", Metadata: want}, nil)
	if _, err := uploaded(t, b, storage.New{Key: "upload", ContentType: "audio/ogg", Metadata: want}, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"put", "upload"} {
		r, got, err := b.Get(t.Context(), key, "")
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		h := head(t, b, key, "")
		for name, value := range want {
			if h.Metadata[name] != value || got.Metadata[name] != value {
				t.Errorf("%s %s: sent %q, Head gives %q, Get %q", key, name, value, h.Metadata[name], got.Metadata[name])
			}
		}
		if len(h.Metadata) != len(want) {
			t.Errorf("%s: others came along: %q", key, h.Metadata)
		}
	}
	if h := head(t, b, "upload", ""); h.ContentType != "audio/ogg" {
		t.Errorf("content type %q", h.ContentType)
	}
}
