package storage

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
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

// Versions returns all versions and delete markers of exactly this key, in no order
// (s3:ListBucketVersions). Nil means that the store holds nothing under the key.
func (b *Bucket) Versions(ctx context.Context, key string) (all []Version, err error) {
	in := &s3.ListObjectVersionsInput{Bucket: &b.opts.Bucket, Prefix: &key, EncodingType: types.EncodingTypeUrl}
	for {
		out, err := b.client.ListObjectVersions(ctx, in)
		if err != nil {
			return nil, b.fail(opVersions, key, err)
		}
		page, beyond, err := versionsOf(key, out)
		if err != nil {
			return nil, err
		}
		if all = append(all, page...); beyond || !*out.IsTruncated {
			return all, nil
		}
		if aws.ToString(out.NextKeyMarker) == aws.ToString(in.KeyMarker) && aws.ToString(out.NextVersionIdMarker) == aws.ToString(in.VersionIdMarker) {
			return nil, unreadable(opVersions, key, "new markers")
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}

// versionsOf returns the versions in a page that have the key, and whether the page has
// gone beyond it: the key is the first of those that begin with it. It decodes the page's
// NextKeyMarker.
func versionsOf(key string, page *s3.ListObjectVersionsOutput) (of []Version, beyond bool, err error) {
	if page.IsTruncated == nil {
		return nil, false, unreadable(opVersions, key, "IsTruncated")
	}
	plain := func(s *string) string {
		if page.EncodingType != types.EncodingTypeUrl {
			return aws.ToString(s)
		}
		decoded, failed := url.QueryUnescape(aws.ToString(s))
		if failed != nil {
			err = unreadable(opVersions, key, "readable key")
		}
		return decoded
	}
	var all []Version
	for _, v := range page.Versions {
		all = append(all, Version{Key: plain(v.Key), ID: aws.ToString(v.VersionId), Size: size(v.Size)})
	}
	for _, m := range page.DeleteMarkers {
		all = append(all, Version{Key: plain(m.Key), ID: aws.ToString(m.VersionId), Marker: true})
	}
	for _, v := range all {
		if v.ID == "" {
			err = unreadable(opVersions, key, "version id")
		}
		if v.Key == key {
			of = append(of, v)
		}
	}
	page.NextKeyMarker = aws.String(plain(page.NextKeyMarker))
	return of, len(of) < len(all), err
}

// Remover deletes versions from a bucket. It is a type of its own, so that code which
// holds only a [Bucket] cannot delete.
type Remover struct{ b *Bucket }

// NewRemover returns a remover for b. It is as safe for concurrent use as b.
func NewRemover(b *Bucket) *Remover { return &Remover{b} }

// Remove deletes one version, as [Bucket.Versions] gave it, permanently
// (s3:DeleteObjectVersion). Before it sends the deletion, Remove reads the hold and the lock
// of the version (s3:GetObjectLegalHold, s3:GetObjectRetention), because versitygw deletes a
// held version whose lock has ended. A held version gives [ErrHeld], and a locked one a
// [*LockedError]. With bypass a governance lock is overruled, which needs the right
// s3:BypassGovernanceRetention. A version that is not there any more is no error: where a
// request fails, a listing shows whether the version is there.
func (r *Remover) Remove(ctx context.Context, v Version, bypass bool) error {
	err := r.removable(ctx, v, bypass)
	if err == nil {
		err = r.b.remove(ctx, v.Key, v.ID, bypass)
	}
	if err == nil || errors.Is(err, ErrHeld) || errors.As(err, new(*LockedError)) {
		return err
	}
	if left, listed := r.b.Versions(ctx, v.Key); listed != nil || slices.ContainsFunc(left, func(l Version) bool { return l.ID == v.ID }) {
		return err
	}
	return nil
}

func (r *Remover) removable(ctx context.Context, v Version, bypass bool) error {
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
