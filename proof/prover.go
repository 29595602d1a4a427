// Package proof shows what the store really holds: that an object which was just written
// is there with the bytes that were sent, and that an object of the ledger still is what
// the ledger says. A reply to a write proves nothing; HEAD proves what a trusted store
// computed itself; reading proves every byte.
package proof

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// MaxSkew is how far this machine's clock may be from the clocks of Genesys and the store.
const MaxSkew = 5 * time.Minute

type bucket interface {
	Put(ctx context.Context, n storage.New, body []byte, sha256 [32]byte) (storage.Object, error)
	PutCorrupt(ctx context.Context, key string) error
	Retain(ctx context.Context, key, versionID string, r storage.Retention) error
	Skew() (time.Duration, bool)
	reader
}

type reader interface {
	Head(ctx context.Context, key, versionID string) (storage.Object, error)
	Get(ctx context.Context, key, versionID string) (io.ReadCloser, storage.Object, error)
}

// Prover writes objects and proves that the store holds them. Its methods may be called
// concurrently. All fields are required, and must not change after the first call.
type Prover struct {
	Bucket bucket
	Prefix string // of every key
	Ledger string // the ledger's id, by which the canary objects are named
	Log    *slog.Logger

	canary canary
}

// Put creates a small object and proves that the store holds it. It returns the SHA-256 in
// hex.
func (p *Prover) Put(ctx context.Context, n storage.New, text []byte) (storage.Object, string, error) {
	d := NewDigest()
	d.Write(text)
	sum := d.Hex()
	obj, err := p.Bucket.Put(ctx, n, text, d.Sum())
	if err != nil {
		return obj, sum, err
	}
	obj, _, err = p.Prove(ctx, n.Key, obj.VersionID, d, n.Retention)
	return obj, sum, err
}

// PutFree puts a small object to n.Key, or to the first free key beside it: see
// record.Beside. With fresh it does not look whether n.Key is free, and fails with
// storage.ErrExists if it is not.
func (p *Prover) PutFree(ctx context.Context, n storage.New, text []byte, fresh bool) (storage.Object, string, error) {
	first := n.Key
	for i := 1; i <= record.MaxPlaces; i++ {
		n.Key = record.Beside(first, i)
		if !fresh {
			_, err := p.Bucket.Head(ctx, n.Key, "")
			if err == nil {
				continue
			}
			if !errors.Is(err, storage.ErrNotFound) {
				return storage.Object{}, "", err
			}
		}
		return p.Put(ctx, n, text)
	}
	return storage.Object{}, "", fmt.Errorf("no free key beside %s: %d are taken", first, record.MaxPlaces)
}

// Prove shows that an object just written is in the store with the digest's bytes and the
// retention asked for. It sends HEAD, and reads the whole object if HEAD shows no checksum
// or the store is not trusted to check any: see Trusted. It returns the object as the store
// shows it, and whether it was read.
func (p *Prover) Prove(ctx context.Context, key, versionID string, d *Digest, want storage.Retention) (obj storage.Object, readBack bool, err error) {
	obj, err = p.Bucket.Head(ctx, key, versionID)
	if errors.Is(err, storage.ErrNotFound) {
		return obj, false, fmt.Errorf("the store accepted %s but does not show it: %w", key, err)
	}
	if err != nil {
		return obj, false, err
	}
	if obj.Size != d.Size {
		return obj, false, fmt.Errorf("%s has %d bytes of %d: %w", key, obj.Size, d.Size, failure.ErrCorrupt)
	}
	trusted, err := p.Trusted(ctx)
	if err != nil {
		return obj, false, err
	}
	if equal, comparable := d.Matches(obj.Checksum); !comparable || !trusted {
		readBack = true
		if err := p.compare(ctx, obj, d.Sum()); err != nil {
			return obj, true, err
		}
	} else if !equal {
		return obj, false, fmt.Errorf("%s shows another %s: %w", key, obj.Checksum.Algorithm, failure.ErrCorrupt)
	}
	obj, err = p.Lock(ctx, obj, want) // Ceph RGW 16 leaves an object that was uploaded in parts unlocked
	return obj, readBack, err
}

// compare reads a stored object and compares its SHA-256.
func (p *Prover) compare(ctx context.Context, obj storage.Object, want [sha256.Size]byte) error {
	d := NewDigest()
	if err := Read(ctx, p.Bucket, obj, d); err != nil {
		return err
	}
	if d.Sum() != want {
		return fmt.Errorf("%s read back has another SHA-256: %w", obj.Key, failure.ErrCorrupt)
	}
	return nil
}

// Read writes the bytes of an object into w. It fails unless they are as many as the
// object's size.
func Read(ctx context.Context, b reader, obj storage.Object, w io.Writer) error {
	r, _, err := b.Get(ctx, obj.Key, obj.VersionID)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w, r)
	if err == nil && n != obj.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("read back %s: %d of %d bytes: %w", obj.Key, n, obj.Size, err)
	}
	return nil
}

// Lock gives an object the retention that it lacks: the bucket, or the configuration, had
// none when the object was written. It never shortens a retention.
func (p *Prover) Lock(ctx context.Context, obj storage.Object, want storage.Retention) (storage.Object, error) {
	err := locked(obj, want)
	if err == nil || obj.Retention.Mode != "" && obj.Retention.Mode != want.Mode {
		return obj, err
	}
	if err := p.Bucket.Retain(ctx, obj.Key, obj.VersionID, want); failure.Temporary(err) {
		return obj, err
	} else if err != nil {
		return obj, fmt.Errorf("%w: %w", failure.ErrNotLocked, err)
	}
	obj, err = p.Bucket.Head(ctx, obj.Key, obj.VersionID)
	if err != nil {
		return obj, err
	}
	return obj, locked(obj, want)
}

// LockRefused recognises a bucket without Object Lock by its refusal of a write that asked
// for a retention: S3 then answers that the request is invalid.
func LockRefused(err error, asked storage.Retention) error {
	if e, ok := errors.AsType[*storage.Error](err); ok && asked.Mode != "" && e.Code == "InvalidRequest" {
		return fmt.Errorf("%w: %w", failure.ErrNotLocked, err)
	}
	return err
}
