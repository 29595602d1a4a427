package storagetest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

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
	_, ok := errors.AsType[*storage.Error](err)
	if !errors.Is(err, want) || !ok {
		t.Errorf("error %v, want *storage.Error with %v", err, want)
	}
}

func temporary(err error) bool {
	e, ok := errors.AsType[*storage.Error](err)
	return ok && e.Temporary()
}

// random returns n bytes, the same every time.
func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}
