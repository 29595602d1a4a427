package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
)

// Run tests s against the contract of package storage.
func Run(t *testing.T, s *Server) {
	t.Helper()
	c := contract{s}
	tests := map[string]func(*testing.T){
		"put":                 c.put,
		"put empty":           c.putEmpty,
		"put is create-only":  c.putCreateOnly,
		"put beside versions": c.putBesideVersions,
		"put raced":           c.putRaced,
		"put checksum":        c.putChecksum,
		"md5":                 c.md5,
		"keys":                c.keys,
		"metadata":            c.metadata,
		"missing":             c.missing,
		"version":             c.version,
		"list":                c.list,
		"access":              c.access,
		"unreachable":         c.unreachable,
		"skew":                c.skew,
		"upload":              c.upload,
		"upload is invisible": c.uploadInvisible,
		"upload aborted":      c.uploadAborted,
		"upload on taken key": c.uploadTaken,
		"uploads listed":      c.uploadsListed,
		"upload cancelled":    c.uploadCancelled,
		"upload small parts":  c.uploadSmallParts,
		"upload checksum":     c.uploadCorrupt,
		"retention":           c.retention,
		"retention enforced":  c.retentionEnforced,
		"retention longer":    c.retentionLonger,
		"holds":               c.holds,
		"holds nowhere":       c.holdsNowhere,
		"lock extended":       c.lockExtended,
		"versions":            c.versions,
		"versions many":       c.versionsMany,
		"versions plain":      c.versionsPlain,
		"remove locked":       c.removeLocked,
		"probe settings":      c.probeSettings,
		"probe lifecycle":     c.probeLifecycle,
		"probe locks":         c.probeLocks,
		"probe deletes":       c.probeDeletes,
		"probe refused":       c.probeRefused,
	}
	if s.Capabilities.ConditionalComplete { // uploadTaken asserts that others lack it
		tests["upload raced"] = c.uploadRaced
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

type contract struct{ s *Server }

// bucket creates a bucket and opens it with edited options.
func (c contract) bucket(t *testing.T, edit ...func(*storage.Options)) (*storage.Bucket, string) {
	t.Helper()
	name := c.s.NewBucket(t, false)
	return c.open(t, name, edit...), name
}

func (c contract) open(t *testing.T, name string, edit ...func(*storage.Options)) *storage.Bucket {
	t.Helper()
	o := c.s.Options(name)
	for _, f := range edit {
		f(&o)
	}
	b, err := storage.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

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

func (c contract) missing(t *testing.T) {
	b, _ := c.bucket(t)
	wantAbsent(t, b, "none")
	_, _, err := b.Get(t.Context(), "none", "")
	wantErr(t, err, storage.ErrNotFound)

	none := c.open(t, "archiverd-no-such-bucket")
	wantErr(t, none.Check(t.Context()), storage.ErrNoBucket)
	_, err = none.Put(t.Context(), storage.New{Key: "k"}, nil, sha256.Sum256(nil))
	wantErr(t, err, storage.ErrNoBucket)
	_, err = none.Create(t.Context(), storage.New{Key: "k"})
	wantErr(t, err, storage.ErrNoBucket)
	_, _, err = none.Get(t.Context(), "k", "")
	wantErr(t, err, storage.ErrNoBucket)
	for _, err := range none.List(t.Context(), "") {
		wantErr(t, err, storage.ErrNoBucket)
	}
}

func (c contract) list(t *testing.T) {
	b, _ := c.bucket(t)
	const n = 1005
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				body := []byte(fmt.Sprint(i))
				if _, err := b.Put(t.Context(), storage.New{Key: fmt.Sprintf("p/%04d", i)}, body, sha256.Sum256(body)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	create(t, b, storage.New{Key: "q/other"}, nil)
	got := listed(t, b, "p/")
	if len(got) != n {
		t.Fatalf("listed %d of %d", len(got), n)
	}
	for i, key := range got {
		if key != fmt.Sprintf("p/%04d", i) {
			t.Fatalf("element %d is %q", i, key)
		}
	}
	var rest []string
	for o, err := range b.ListAfter(t.Context(), "p/", "p/0002") {
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, o.Key)
	}
	if !slices.Equal(rest, got[3:]) {
		t.Errorf("after the third of %d come %d, the first %q", n, len(rest), rest[:min(1, len(rest))])
	}
	for o, err := range b.List(t.Context(), "p/1004") {
		if err != nil || o.Size != 4 || o.ETag == "" || time.Since(o.Modified).Abs() > 10*time.Minute {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if got := listed(t, b, "none/"); got != nil {
		t.Errorf("listed %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range b.List(ctx, "p/") {
		wantErr(t, err, context.Canceled)
	}
}

func (c contract) access(t *testing.T) {
	_, name := c.bucket(t)
	const secret = "wrong-secret-of-the-archive"
	b := c.open(t, name, func(o *storage.Options) { o.SecretAccessKey = secret })
	_, putErr := b.Put(t.Context(), storage.New{Key: "k"}, nil, sha256.Sum256(nil))
	unknown := c.open(t, name, func(o *storage.Options) { o.AccessKeyID = "AKIAUNKNOWN" })
	for _, err := range []error{b.Check(t.Context()), putErr, unknown.Check(t.Context())} {
		if !c.s.Capabilities.Authentication {
			if err != nil {
				t.Errorf("%v: does it authenticate now?", err)
			}
			continue
		}
		wantErr(t, err, storage.ErrAccess)
		if temporary(err) {
			t.Errorf("temporary: %v", err)
		}
		for _, s := range []string{secret, c.s.SecretKey} {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), s) {
				t.Errorf("shows a secret: %v", err)
			}
		}
	}
}

func (c contract) unreachable(t *testing.T) {
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	b := c.open(t, "bucket", func(o *storage.Options) { o.Endpoint = "http://" + address })
	if err := b.Check(t.Context()); !temporary(err) || errors.Is(err, storage.ErrAccess) {
		t.Error(err)
	}
}

func (c contract) skew(t *testing.T) {
	b, _ := c.bucket(t)
	if d, ok := b.Skew(); ok {
		t.Errorf("skew %v before a reply", d)
	}
	wantAbsent(t, b, "k")
	if d, ok := b.Skew(); !ok || d.Abs() > 10*time.Second {
		t.Errorf("skew %v, %v", d, ok)
	}
}

// shownOfPut returns the checksum that Head shows for an object written by Put.
func (c contract) shownOfPut(body []byte) storage.Checksum {
	if !c.s.Capabilities.Checksums && !c.s.Capabilities.Echoes {
		return storage.Checksum{}
	}
	sum := sha256.Sum256(body)
	return storage.Checksum{Algorithm: "SHA256", Value: base64.StdEncoding.EncodeToString(sum[:])}
}

func create(t *testing.T, b *storage.Bucket, n storage.New, body []byte) storage.Object {
	t.Helper()
	o, err := b.Put(t.Context(), n, body, sha256.Sum256(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func head(t *testing.T, b *storage.Bucket, key, version string) storage.Object {
	t.Helper()
	o, err := b.Head(t.Context(), key, version)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func listed(t *testing.T, b *storage.Bucket, prefix string) (keys []string) {
	t.Helper()
	for o, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func wantBytes(t *testing.T, b *storage.Bucket, key, version string, want []byte) {
	t.Helper()
	r, o, err := b.Get(t.Context(), key, version)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) || o.Size != int64(len(want)) {
		t.Fatalf("Get %q gives %d bytes of %d, size %d, the right ones: %v; %v", key, len(got), len(want), o.Size, bytes.Equal(got, want), err)
	}
}

func wantAbsent(t *testing.T, b *storage.Bucket, key string) {
	t.Helper()
	_, err := b.Head(t.Context(), key, "")
	wantErr(t, err, storage.ErrNotFound)
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	var e *storage.Error
	if !errors.Is(err, want) || !errors.As(err, &e) {
		t.Errorf("error %v, want *storage.Error with %v", err, want)
	}
}

func temporary(err error) bool {
	var e *storage.Error
	return errors.As(err, &e) && e.Temporary()
}

// random returns n bytes, the same every time.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}
