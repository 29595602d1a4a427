// Package doctor tests, on the configured services, what archiverd's promises depend on: the
// store's create-only writes, checksums and locks, the rights of the credentials, the
// ledger's place and content, and the token of each inbox. It writes only below
// {prefix}/doctor/.
package doctor

import (
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/storage"
)

// Result is the result of a check.
type Result string

// The results. A check that could not be made is never a Pass.
const (
	Pass      Result = "pass"
	Warn      Result = "warn"      // archiverd works, but something should be changed
	Fail      Result = "fail"      // archiverd can't keep a promise here, or can't work at all
	Unchecked Result = "unchecked" // there is nothing to check, or archiverd has no means to check it
)

// Check is one thing that the doctor checked, and what it found.
type Check struct {
	Name   string       `json:"name"`            // stable, such as "store.lock"
	About  string       `json:"about,omitempty"` // the inbox, as org/id, or the key of the configuration
	Result Result       `json:"result"`
	Found  string       `json:"found"`
	Remedy string       `json:"remedy,omitempty"` // what to do; set in every Warn and Fail
	Kind   failure.Kind `json:"-"`                // who has to act; set in a Fail
}

// Doctor tests the configured services. Its methods may be called at the same time.
type Doctor struct {
	Bucket     examinedBucket
	Probe      probe
	Prefix     string // configured, of all keys in the bucket
	Retention  proof.Retention
	Encryption string // that the configuration asks for: "none", "AES256" or "aws:kms"
	Deleting   bool   // the configuration has originals deleted
}

type examinedBucket interface {
	Check(ctx context.Context) error
	Credentials(ctx context.Context) (from string, ends time.Time, err error)
	Skew() (time.Duration, bool)
	ListAfter(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error]
	Head(ctx context.Context, key, versionID string) (storage.Object, error)
	Get(ctx context.Context, key, versionID string) (io.ReadCloser, storage.Object, error)
	Put(ctx context.Context, n storage.New, body []byte, sha256 [32]byte) (storage.Object, error)
	PutCorrupt(ctx context.Context, key string) error
	Create(ctx context.Context, n storage.New) (*storage.Upload, error)
	Uploads(ctx context.Context, prefix string) iter.Seq2[storage.Begun, error]
	Retention(ctx context.Context, key, versionID string) (storage.Retention, error)
	SetHold(ctx context.Context, key, versionID string, on bool) error
}

// probe has the requests that archiverd sends only to test a bucket.
type probe interface {
	Versioning(ctx context.Context) (string, error)
	LockEnabled(ctx context.Context) (bool, error)
	Lifecycle(ctx context.Context) ([]storage.Rule, error)
	SetRetention(ctx context.Context, key, versionID string, r storage.Retention) error
	Overwrite(ctx context.Context, key string, body []byte) error
	Delete(ctx context.Context, key, versionID string, bypass bool) error
}

// findings collects checks.
type findings struct {
	about string
	list  []Check
}

func (f *findings) pass(name, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Pass, Found: fmt.Sprintf(found, args...)})
}

func (f *findings) warn(name, remedy, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Warn, Found: fmt.Sprintf(found, args...), Remedy: remedy})
}

func (f *findings) fail(name string, kind failure.Kind, remedy, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Fail, Found: fmt.Sprintf(found, args...), Remedy: remedy, Kind: kind})
}

func (f *findings) unchecked(name, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Unchecked, Found: fmt.Sprintf(found, args...)})
}
