package storagetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const mib = 1 << 20

// uploaded creates an object by a multipart upload of the given parts.
func uploaded(t *testing.T, b *storage.Bucket, n storage.New, parts ...[]byte) (storage.Object, error) {
	t.Helper()
	u, err := b.Create(t.Context(), n)
	if err != nil {
		return storage.Object{}, err
	}
	for _, p := range parts {
		if err := u.Part(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	return u.Complete(t.Context(), crc32.ChecksumIEEE(bytes.Join(parts, nil)))
}

func (c contract) upload(t *testing.T) {
	b, _ := c.bucket(t)
	for _, tc := range []struct{ size, part int }{
		{1, 5 * mib}, {5*mib - 1, 5 * mib}, {5 * mib, 5 * mib}, {5*mib + 1, 5 * mib},
		{10 * mib, 5 * mib}, {16*mib + 1, 8 * mib},
	} {
		t.Run(fmt.Sprint(tc.size, " by ", tc.part), func(t *testing.T) {
			whole, key := random(tc.size), fmt.Sprintf("k%d", tc.size)
			var parts [][]byte
			for rest := whole; len(rest) > 0; rest = rest[min(tc.part, len(rest)):] {
				parts = append(parts, rest[:min(tc.part, len(rest))])
			}
			done, err := uploaded(t, b, storage.New{Key: key}, parts...)
			if err != nil {
				t.Fatal(err)
			}
			sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(whole))
			want := storage.Checksum{Algorithm: "CRC32", Value: base64.StdEncoding.EncodeToString(sum)}
			if done.Checksum != want || done.Size != int64(tc.size) {
				t.Errorf("Complete gives %+v", done)
			}
			if !c.s.Capabilities.Checksums {
				want = storage.Checksum{}
			}
			if got := head(t, b, key, ""); got.Size != int64(tc.size) || got.Checksum != want {
				t.Errorf("Head gives %+v, want %v", got, want)
			}
			wantBytes(t, b, key, "", whole)
		})
	}
}

func (c contract) uploadInvisible(t *testing.T) {
	b, _ := c.bucket(t)
	u, err := b.Create(t.Context(), storage.New{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, b, "k")
	if got := listed(t, b, ""); got != nil {
		t.Errorf("listed %q", got)
	}
	if _, err := u.Complete(t.Context(), crc32.ChecksumIEEE([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, b, "k", "", []byte("x"))
	// A retry after a lost reply sends a second Complete: versitygw repeats
	// its reply, the others no longer know the upload.
	if _, err := u.Complete(t.Context(), crc32.ChecksumIEEE([]byte("x"))); err != nil && !errors.Is(err, storage.ErrNoUpload) && !errors.Is(err, storage.ErrExists) {
		t.Errorf("completed twice: %v", err)
	}
	if err := u.Abort(t.Context()); err != nil {
		t.Errorf("Abort after Complete: %v", err)
	}
	wantBytes(t, b, "k", "", []byte("x"))
}

func (c contract) uploadAborted(t *testing.T) {
	b, name := c.bucket(t)
	for range 2 { // the first upload is aborted by its Upload, the second by key and id
		u, err := b.Create(t.Context(), storage.New{Key: "k"})
		if err != nil {
			t.Fatal(err)
		}
		if err := u.Part(t.Context(), random(5*mib)); err != nil {
			t.Fatal(err)
		}
		for _, abort := range []func() error{
			func() error { return u.Abort(t.Context()) },
			func() error { return u.Abort(t.Context()) },
			func() error { return b.AbortUpload(t.Context(), u.Key, u.ID) },
		} {
			if err := abort(); err != nil {
				t.Error(err)
			}
		}
		wantErr(t, u.Part(t.Context(), []byte("late")), storage.ErrNoUpload)
		if _, err = u.Complete(t.Context(), 0); c.s.Capabilities.AbortedUploads {
			wantErr(t, err, storage.ErrNoUpload)
		} else if !temporary(err) {
			t.Errorf("%v: does it say that the upload is not known now?", err)
		}
	}
	wantAbsent(t, b, "k")
	out, err := c.s.Client().ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &name})
	if err != nil || len(out.Uploads) != 0 {
		t.Errorf("uploads %v, %v", out.Uploads, err)
	}
}

// uploadsListed lists uploads of several keys, of one key twice, and of another prefix.
func (c contract) uploadsListed(t *testing.T) {
	b, _ := c.bucket(t)
	var want []string
	for _, key := range []string{"p/a", "p/a", "p/b c+ü", "q/a"} {
		u, err := b.Create(t.Context(), storage.New{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(key, "p/") {
			want = append(want, key+" "+u.ID)
		}
	}
	var got []string
	for u, err := range b.Uploads(t.Context(), "p/") {
		if err != nil {
			t.Fatal(err)
		}
		if age := time.Since(u.At); age.Abs() > time.Minute {
			t.Errorf("begun %v ago", age)
		}
		got = append(got, u.Key+" "+u.ID)
	}
	if !c.s.Capabilities.UploadsListed { // assert that the server really lacks it
		want = nil
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func (c contract) uploadTaken(t *testing.T) {
	b, _ := c.bucket(t)
	create(t, b, storage.New{Key: "k"}, []byte("first"))
	_, err := uploaded(t, b, storage.New{Key: "k"}, []byte("second"))
	if !c.s.Capabilities.ConditionalComplete {
		if err != nil {
			t.Errorf("%v: does it heed If-None-Match on Complete now?", err)
		}
		wantBytes(t, b, "k", "", []byte("second"))
		return
	}
	wantErr(t, err, storage.ErrExists)
	wantBytes(t, b, "k", "", []byte("first"))
}

// uploadCorrupt completes an upload with a checksum of other bytes than its parts'.
func (c contract) uploadCorrupt(t *testing.T) {
	b, _ := c.bucket(t)
	u, err := b.Create(t.Context(), storage.New{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
	_, err = u.Complete(t.Context(), crc32.ChecksumIEEE([]byte("y")))
	if !c.s.Capabilities.Checksums { // assert that the server really lacks them
		if err != nil {
			t.Errorf("Complete: %v: does it compare checksums now?", err)
		}
		return
	}
	wantErr(t, err, storage.ErrChecksum)
	wantAbsent(t, b, "k")
}

func (c contract) uploadRaced(t *testing.T) {
	b, _ := c.bucket(t)
	winner := race(t, 10, func(body []byte) error {
		_, err := uploaded(t, b, storage.New{Key: "k"}, body)
		return err
	})
	wantBytes(t, b, "k", "", winner)
}

// cancelOnBody cancels the request once the transport has read some of its body.
type cancelOnBody struct {
	http.RoundTripper
	cancel context.CancelFunc
}

func (rt cancelOnBody) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Body != nil {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r.Body, mib), cancelReader(rt.cancel), r.Body), r.Body}
	}
	return rt.RoundTripper.RoundTrip(r)
}

type cancelReader context.CancelFunc

func (c cancelReader) Read([]byte) (int, error) { c(); return 0, io.EOF }

func (c contract) uploadCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b, _ := c.bucket(t, func(o *storage.Options) { o.Transport = cancelOnBody{o.Transport, cancel} })
	u, err := b.Create(ctx, storage.New{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	body := random(8 * mib)
	wantErr(t, u.Part(ctx, body), context.Canceled)
	clear(body) // Part has returned: the race detector reports a read that goes on
	copy(body, "again")
	if err := u.Part(t.Context(), body); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Complete(t.Context(), crc32.ChecksumIEEE(body)); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, b, "k", "", body)
}

func (c contract) uploadSmallParts(t *testing.T) {
	b, _ := c.bucket(t)
	u, err := b.Create(t.Context(), storage.New{Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Complete(t.Context(), 0); err == nil || temporary(err) {
		t.Errorf("completed without parts: %v", err)
	}
	if err := u.Part(t.Context(), random(5*mib-1)); err != nil {
		t.Fatal(err)
	}
	if err := u.Part(t.Context(), []byte("x")); err == nil || temporary(err) {
		t.Errorf("a part after a small one: %v", err)
	}
	if err := u.Abort(t.Context()); err != nil {
		t.Error(err)
	}
}

func (c contract) version(t *testing.T) {
	name := c.s.NewBucket(t, true)
	b := c.open(t, name)
	first := create(t, b, storage.New{Key: "k"}, []byte("first"))
	_, err := c.s.Client().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: aws.String("k"), Body: bytes.NewReader([]byte("the second"))})
	if err != nil {
		t.Fatal(err)
	}
	if first.VersionID == "" {
		t.Fatal("no version id")
	}
	wantBytes(t, b, "k", first.VersionID, []byte("first"))
	wantBytes(t, b, "k", "", []byte("the second"))
	got := head(t, b, "k", first.VersionID)
	if is := got.VersionID == first.VersionID && got.Size == 5; is != c.s.Capabilities.VersionedHead {
		t.Errorf("Head of version %s gives %+v", first.VersionID, got)
	}
	if newest := head(t, b, "k", ""); newest.VersionID == first.VersionID || newest.Size != 10 {
		t.Errorf("Head gives %+v", newest)
	}
	_, err = c.s.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, b, "k")
	wantBytes(t, b, "k", first.VersionID, []byte("first"))
}

// putBesideVersions wants a second create refused in a bucket that could keep both versions.
func (c contract) putBesideVersions(t *testing.T) {
	b := c.open(t, c.s.NewBucket(t, true))
	first := create(t, b, storage.New{Key: "k"}, []byte("first"))
	_, err := b.Put(t.Context(), storage.New{Key: "k"}, []byte("second"), sha256.Sum256([]byte("second")))
	if c.s.Capabilities.ConditionalVersions {
		wantErr(t, err, storage.ErrExists)
		wantBytes(t, b, "k", "", []byte("first"))
	} else if err != nil {
		t.Errorf("%v: does it heed If-None-Match beside versions now?", err)
	}
	wantBytes(t, b, "k", first.VersionID, []byte("first"))
}

// locked puts and uploads objects with retention, with every kind of checksum.
func (c contract) locked(t *testing.T, f func(b *storage.Bucket, name string, o storage.Object, r storage.Retention)) {
	name := c.s.NewBucket(t, true)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		for kind, b := range map[string]*storage.Bucket{"auto": c.open(t, name), "md5": c.open(t, name, md5(t))} {
			r := storage.Retention{Mode: mode, Until: until.Add(-time.Millisecond)} // rounded up
			put := create(t, b, storage.New{Key: mode + kind, Retention: r}, []byte("locked"))
			up, err := uploaded(t, b, storage.New{Key: mode + kind + "-parts", Retention: r}, []byte("locked"))
			if err != nil {
				t.Fatal(err)
			}
			r.Until = until
			if can := c.s.Capabilities; can.Locks && !can.LockedParts {
				if got := head(t, b, up.Key, "").Retention; got.Mode != "" {
					t.Errorf("%s is locked: does the server lock multipart uploads now?", up.Key)
				}
				if err := c.open(t, name).Retain(t.Context(), up.Key, up.VersionID, r); err != nil {
					t.Fatal(err)
				}
			}
			f(b, name, put, r)
			f(b, name, up, r)
		}
	}
}

func (c contract) retention(t *testing.T) {
	c.locked(t, func(b *storage.Bucket, _ string, o storage.Object, want storage.Retention) {
		if !c.s.Capabilities.Locks && !c.s.Capabilities.Echoes {
			want = storage.Retention{}
		}
		got := head(t, b, o.Key, "")
		if got.Retention.Mode != want.Mode || !got.Retention.Until.Equal(want.Until) {
			t.Errorf("%s: retention %v, want %v", o.Key, got.Retention, want)
		}
		if got.VersionID == "" || got.VersionID != o.VersionID {
			t.Errorf("%s: version %q, written as %q", o.Key, got.VersionID, o.VersionID)
		}
		if byID := head(t, b, o.Key, o.VersionID); byID.Retention != got.Retention {
			t.Errorf("%s: retention %v by version", o.Key, byID.Retention)
		}
	})
}

func (c contract) retentionLonger(t *testing.T) {
	c.locked(t, func(_ *storage.Bucket, name string, o storage.Object, r storage.Retention) {
		b := c.open(t, name) // not in md5 mode: the SDK has no Content-MD5 for this request
		r.Until = r.Until.Add(time.Hour).Truncate(time.Second)
		if err := b.Retain(t.Context(), o.Key, o.VersionID, r); (err == nil) != c.s.Capabilities.Locks {
			t.Fatalf("lock %s for longer: %v", o.Key, err)
		} else if err != nil {
			return
		}
		if got := head(t, b, o.Key, o.VersionID).Retention; got.Mode != r.Mode || !got.Until.Equal(r.Until) {
			t.Errorf("%s: %v, asked for %v", o.Key, got, r)
		}
	})
}

func (c contract) retentionEnforced(t *testing.T) {
	c.locked(t, func(b *storage.Bucket, name string, o storage.Object, _ storage.Retention) {
		_, err := c.s.Client().DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &name, Key: &o.Key, VersionId: &o.VersionID})
		if (err != nil) != c.s.Capabilities.Locks {
			t.Errorf("delete of a locked version: %v", err)
		}
		if err == nil {
			return
		}
		_, err = c.s.Client().PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
			Bucket: &name, Key: &o.Key, VersionId: &o.VersionID,
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(time.Minute))},
		})
		if err == nil {
			t.Errorf("%s: retention was shortened", o.Key)
		}
		wantBytes(t, b, o.Key, o.VersionID, []byte("locked"))
	})
}
