package storage

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// record answers like S3 and keeps the headers and body of each request.
type record struct {
	header http.Header
	body   string
}

func (rec *record) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	rec.header, rec.body = r.Header.Clone(), string(b)
	w.Header().Set("ETag", `"e"`)
	switch q := r.URL.Query(); {
	case q.Has("uploads"):
		_, _ = io.WriteString(w, "<InitiateMultipartUploadResult><UploadId>id</UploadId></InitiateMultipartUploadResult>")
	case r.Method == http.MethodPost:
		_, _ = io.WriteString(w, "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
	}
}

func (rec *record) want(t *testing.T, op string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := rec.header.Get(name); got != value {
			t.Errorf("%s: %s is %q, want %q", op, name, got, value)
		}
	}
}

// TestHeaders fixes the headers of a write, over http and https: only the given
// checksums, and the given hash in the signature, without hashing again.
func TestHeaders(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			rec := new(record)
			server := httptest.NewTLSServer
			if scheme == "http" {
				server = httptest.NewServer
			}
			b := openOn(t, server(rec), func(o *Options) {
				o.Encryption, o.KMSKeyID, o.StorageClass, o.UserAgent = "aws:kms", "key", "STANDARD_IA", "archiverd/1"
			})
			created := map[string]string{
				"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "key", "X-Amz-Storage-Class": "STANDARD_IA",
				"X-Amz-Object-Lock-Mode": "COMPLIANCE", "X-Amz-Object-Lock-Retain-Until-Date": "2030-01-02T03:04:06Z",
				"Content-Type": "audio/wav", "X-Amz-Meta-Org": "%C3%A9",
			}
			n := New{Key: "k", ContentType: "audio/wav", Metadata: map[string]string{"org": "é"},
				Retention: Retention{"COMPLIANCE", time.Date(2030, 1, 2, 3, 4, 5, 1, time.UTC)}}

			sum := sha256.Sum256([]byte("body"))
			if _, err := b.Put(t.Context(), n, []byte("body"), sum); err != nil {
				t.Fatal(err)
			}
			rec.want(t, "put", created)
			rec.want(t, "put", map[string]string{
				"If-None-Match": "*", "X-Amz-Content-Sha256": hexSum("body"), "X-Amz-Checksum-Sha256": base64.StdEncoding.EncodeToString(sum[:]),
				"X-Amz-Trailer": "", "X-Amz-Checksum-Crc32": "", "Content-Encoding": "", "Content-Md5": "",
			})
			if ua := rec.header.Get("User-Agent"); !strings.HasPrefix(ua, "archiverd/1 aws-sdk-go-v2/") {
				t.Errorf("user agent %q", ua)
			}

			u, err := b.Create(t.Context(), n)
			if err != nil {
				t.Fatal(err)
			}
			rec.want(t, "create", created)
			rec.want(t, "create", map[string]string{"X-Amz-Checksum-Algorithm": "CRC32", "X-Amz-Checksum-Type": "FULL_OBJECT"})
			const crc = "26gLsg==" // of "body"
			if err := u.Part(t.Context(), []byte("body")); err != nil {
				t.Fatal(err)
			}
			rec.want(t, "part", map[string]string{"X-Amz-Checksum-Crc32": crc, "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD", "X-Amz-Trailer": "", "Content-Md5": ""})
			if _, err := u.Complete(t.Context(), crc32.ChecksumIEEE([]byte("body"))); err != nil {
				t.Fatal(err)
			}
			rec.want(t, "complete", map[string]string{"If-None-Match": "*", "X-Amz-Checksum-Type": "FULL_OBJECT", "X-Amz-Checksum-Crc32": crc})
			if !strings.Contains(rec.body, "<ChecksumCRC32>"+crc+"</ChecksumCRC32>") {
				t.Errorf("complete: %s", rec.body)
			}
		})
	}
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// lingering fails at once and reads the body later, as a transport may: see
// http.RoundTripper on Body.
type lingering struct{ bodies chan io.Reader }

func (l lingering) RoundTrip(r *http.Request) (*http.Response, error) {
	l.bodies <- r.Body
	return nil, errors.New("connection lost")
}

// The caller may change the body once Put or Part has returned, even if the
// transport still reads it.
func TestBodyIsFree(t *testing.T) {
	for _, op := range []string{opPut, opPart} {
		l := lingering{make(chan io.Reader, attempts)}
		b := serve(t, nil, func(o *Options) { o.Transport = l })
		body := []byte("body")
		var err error
		if op == opPut {
			_, err = b.Put(t.Context(), New{Key: "k"}, body, sha256.Sum256(body))
		} else {
			err = (&Upload{Key: "k", ID: "id", b: b}).Part(t.Context(), body)
		}
		if err == nil || len(l.bodies) != attempts {
			t.Fatalf("%s: %v after %d attempts", op, err, len(l.bodies))
		}
		for range attempts {
			if got, err := io.ReadAll(<-l.bodies); len(got) != 0 {
				t.Errorf("%s: still read %q, %v", op, got, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	b := serve(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("sent %s", r.URL) })
	full := &Upload{Key: "k", ID: "id", b: b, parts: make([]types.CompletedPart, MaxParts)}
	small := &Upload{Key: "k", ID: "id", b: b, parts: make([]types.CompletedPart, 1), short: true}
	until := time.Now().Add(time.Hour)
	type call func(context.Context, New) error
	put := func(ctx context.Context, n New) error { _, err := b.Put(ctx, n, nil, sha256.Sum256(nil)); return err }
	create := func(ctx context.Context, n New) error { _, err := b.Create(ctx, n); return err }
	for _, tc := range []struct {
		code string
		n    New
		call call
	}{
		{"TooManyParts", New{}, func(ctx context.Context, _ New) error { return full.Part(ctx, nil) }},
		{"EntityTooSmall", New{}, func(ctx context.Context, _ New) error { return small.Part(ctx, nil) }},
		{"NoParts", New{}, func(ctx context.Context, _ New) error { _, err := (&Upload{b: b}).Complete(ctx, 0); return err }},
		{"InvalidKey", New{}, put},
		{"InvalidKey", New{Key: strings.Repeat("k", 1025)}, create},
		{"InvalidRetention", New{Key: "k", Retention: Retention{Mode: "COMPLIANCE"}}, put},
		{"InvalidRetention", New{Key: "k", Retention: Retention{Until: until}}, create},
		{"InvalidRetention", New{Key: "k", Retention: Retention{"compliance", until}}, create},
		{"InvalidMetadata", New{Key: "k", Metadata: map[string]string{"Upper": "x"}}, put},
		{"InvalidMetadata", New{Key: "k", Metadata: map[string]string{"": "x"}}, create},
		{"InvalidMetadata", New{Key: "k", Metadata: map[string]string{"a": strings.Repeat("x", 2048-len("x-amz-meta-a")+1)}}, put},
		{"InvalidMetadata", New{Key: "k", Metadata: map[string]string{"a": strings.Repeat("é", 340)}}, create},
	} {
		var e *Error
		if err := tc.call(t.Context(), tc.n); !errors.As(err, &e) || e.Code != tc.code || e.Status != 0 || e.Temporary() {
			t.Errorf("%s: %v", tc.code, err)
		}
	}
}

// TestCompleteWithoutETag wants a reply accepted that names the object in any way. Ceph
// RGW 16 leaves out the ETag.
func TestCompleteWithoutETag(t *testing.T) {
	for reply, good := range map[string]bool{
		"<CompleteMultipartUploadResult><Location>http://s/bucket/k</Location><Bucket>bucket</Bucket><Key>k</Key><ETag></ETag></CompleteMultipartUploadResult>": true,
		"<CompleteMultipartUploadResult><Key>k</Key></CompleteMultipartUploadResult>":                                                                           true,
		"<CompleteMultipartUploadResult><Bucket>bucket</Bucket></CompleteMultipartUploadResult>":                                                                true,
		"<CompleteMultipartUploadResult><Location>/bucket/k</Location></CompleteMultipartUploadResult>":                                                         true,
		"<CompleteMultipartUploadResult></CompleteMultipartUploadResult>":                                                                                       false,
		"<html><head><title>Sign in</title></head><body>Hello</body></html>":                                                                                    false,
		"": false,
	} {
		b := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Amz-Version-Id", "v1")
			_, _ = io.WriteString(w, reply)
		})
		u := &Upload{Key: "k", ID: "id", b: b, parts: make([]types.CompletedPart, 1), size: 4}
		o, err := u.Complete(t.Context(), 0)
		if (err == nil) != good || good && (o.Key != "k" || o.VersionID != "v1" || o.Size != 4) {
			t.Errorf("%q: %+v, %v", reply, o, err)
		}
	}
}
