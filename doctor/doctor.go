// Package doctor tries out, on the services that are configured, what archiverd's promises
// depend on: the store's create-only writes, checksums and locks, the rights of its
// credentials, the ledger's place and content, and the token of each inbox. It writes
// below {prefix}/doctor/ alone.
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

// Result is how a check came out.
type Result string

// The results. Nothing is called Pass that could not be looked at.
const (
	Pass      Result = "pass"
	Warn      Result = "warn"      // archiverd works, but not as it could
	Fail      Result = "fail"      // a promise does not hold here, or nothing works
	Unchecked Result = "unchecked" // nothing to look at, or nothing that can be seen from here
)

// Check is one thing that the doctor looked at.
type Check struct {
	Name   string       `json:"name"`            // stable, such as "store.lock"
	About  string       `json:"about,omitempty"` // the inbox, as org/id, or the key of the configuration
	Result Result       `json:"result"`
	Found  string       `json:"found"`
	Remedy string       `json:"remedy,omitempty"` // of every Warn and Fail
	Kind   failure.Kind `json:"-"`                // of a Fail: who has to act
}

// Doctor tries out, on the services that are configured, what the promises lean on.
type Doctor struct {
	Bucket     examinedBucket
	Probe      probe
	Prefix     string // of every key
	Retention  proof.Retention
	Encryption string // asked of the store: "none", "AES256" or "aws:kms"
	Deleting   bool   // originals are to be deleted
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

// probe is what the archive itself never does to a bucket.
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
