package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Version is one version of an object, or a delete marker.
type Version struct {
	Key    string
	ID     string // "null" in a bucket that never kept versions
	Marker bool   // a delete marker: it hides the versions below it, and holds no bytes
	Size   int64
}

// Versions yields all versions and delete markers whose key begins with prefix, 1,000 a
// request (s3:ListBucketVersions). An error is yielded once, as the last element.
func (b *Bucket) Versions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return func(yield func(Version, error) bool) {
		in := &s3.ListObjectVersionsInput{Bucket: &b.opts.Bucket, Prefix: &prefix, EncodingType: types.EncodingTypeUrl}
		for {
			out, err := b.client.ListObjectVersions(ctx, in)
			if err = b.fail(opVersions, prefix, err); err == nil {
				err = decodeVersions(prefix, out)
			}
			if err != nil {
				yield(Version{}, err)
				return
			}
			for _, v := range out.Versions {
				if !yield(Version{Key: *v.Key, ID: *v.VersionId, Size: size(v.Size)}, nil) {
					return
				}
			}
			for _, m := range out.DeleteMarkers {
				if !yield(Version{Key: *m.Key, ID: *m.VersionId, Marker: true}, nil) {
					return
				}
			}
			if !*out.IsTruncated {
				return
			}
			if aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) && aws.ToString(out.NextVersionIdMarker) == aws.ToString(in.VersionIdMarker) {
				yield(Version{}, unreadable(opVersions, prefix, "new markers"))
				return
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		}
	}
}

// decodeVersions decodes the keys of a page, and refuses a page that lacks something.
func decodeVersions(prefix string, page *s3.ListObjectVersionsOutput) error {
	if page.IsTruncated == nil {
		return unreadable(opVersions, prefix, "IsTruncated")
	}
	keys := []**string{&page.NextKeyMarker}
	for i := range page.Versions {
		if page.Versions[i].VersionId == nil {
			return unreadable(opVersions, prefix, "version id")
		}
		keys = append(keys, &page.Versions[i].Key)
	}
	for i := range page.DeleteMarkers {
		if page.DeleteMarkers[i].VersionId == nil {
			return unreadable(opVersions, prefix, "version id")
		}
		keys = append(keys, &page.DeleteMarkers[i].Key)
	}
	for _, k := range keys {
		plain := aws.ToString(*k)
		if page.EncodingType == types.EncodingTypeUrl {
			var err error
			if plain, err = url.QueryUnescape(plain); err != nil {
				return unreadable(opVersions, prefix, "readable key")
			}
		}
		*k = &plain
	}
	return nil
}

// Remover deletes versions from a bucket. It is a type of its own, so that code which
// holds only a [Bucket] cannot delete.
type Remover struct{ b *Bucket }

// NewRemover returns a remover for b. It is as safe for concurrent use as b.
func NewRemover(b *Bucket) *Remover { return &Remover{b} }

// Versions is [Bucket.Versions], with the remover's credentials.
func (r *Remover) Versions(ctx context.Context, prefix string) iter.Seq2[Version, error] {
	return r.b.Versions(ctx, prefix)
}

// Remove deletes one version, as Versions gave it, permanently (s3:DeleteObjectVersion),
// unless Removable has something against it: versitygw would delete a held version whose
// lock has ended. With bypass a governance lock is overruled, which needs the right
// s3:BypassGovernanceRetention. A version that is not there any more is no error: where a
// request fails, a listing shows whether the version is there.
func (r *Remover) Remove(ctx context.Context, v Version, bypass bool) error {
	err := r.Removable(ctx, v, bypass)
	if err == nil {
		err = r.b.remove(ctx, v.Key, v.ID, bypass)
	}
	if _, locked := errors.AsType[*LockedError](err); err == nil || locked || errors.Is(err, ErrHeld) {
		return err
	}
	for left, listed := range r.b.Versions(ctx, v.Key) {
		if listed != nil || left.Key == v.Key && left.ID == v.ID {
			return err
		}
	}
	return nil
}

// Removable returns nil if neither a hold nor a lock keeps the version
// (s3:GetObjectLegalHold, s3:GetObjectRetention). A held version gives [ErrHeld], and a
// locked one a [*LockedError]; with bypass, only under compliance.
func (r *Remover) Removable(ctx context.Context, v Version, bypass bool) error {
	if v.Marker {
		return nil // it holds nothing, and has neither hold nor lock
	}
	held, err := r.b.Hold(ctx, v.Key, v.ID)
	switch {
	case errors.Is(err, ErrNoLocks):
		return nil
	case err != nil:
		return err
	case held:
		return &Error{Op: opDelete, Key: v.Key, Err: ErrHeld}
	}
	lock, err := r.b.Retention(ctx, v.Key, v.ID)
	if err != nil {
		return err
	}
	skew, _ := r.b.Skew()
	if lock.Until.After(time.Now().Add(skew)) && !(bypass && lock.Mode == string(types.ObjectLockModeGovernance)) {
		return &Error{Op: opDelete, Key: v.Key, Err: &LockedError{lock}}
	}
	return nil
}

// LockedError says that a lock in force keeps a version.
type LockedError struct{ Retention Retention }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s retention until %s keeps the version", e.Retention.Mode, e.Retention.Until.UTC().Format(time.RFC3339))
}

// remove deletes one version permanently. If versionID is empty and the bucket is
// versioned, it only hides the object.
func (b *Bucket) remove(ctx context.Context, key, versionID string, bypass bool) error {
	in := &s3.DeleteObjectInput{Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID)}
	if bypass {
		in.BypassGovernanceRetention = aws.Bool(true)
	}
	_, err := b.client.DeleteObject(ctx, in)
	return b.fail(opDelete, key, err)
}
