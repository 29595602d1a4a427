package storage

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Hold reports whether one version has a legal hold (s3:GetObjectLegalHold). It returns
// [ErrNoLocks] if the bucket or the store has no holds. Head does not show the hold of an
// older version on every store (versitygw), so it is requested by itself.
func (b *Bucket) Hold(ctx context.Context, key, versionID string) (bool, error) {
	out, err := b.client.GetObjectLegalHold(ctx, &s3.GetObjectLegalHoldInput{Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID)})
	switch {
	case neverLocked(err):
		return false, nil
	case err != nil:
		return false, b.fail(opGetHold, key, err)
	case out.LegalHold == nil || out.LegalHold.Status != types.ObjectLockLegalHoldStatusOn && out.LegalHold.Status != types.ObjectLockLegalHoldStatusOff:
		return false, unreadable(opGetHold, key, "status of a hold")
	}
	return out.LegalHold.Status == types.ObjectLockLegalHoldStatusOn, nil
}

// SetHold sets or releases the legal hold of one version (s3:PutObjectLegalHold), and
// reads it back: a store that accepts the request and changes nothing gives [ErrIgnored].
// The hold is read first, too. A store that does not know holds could take the request for
// a put that replaces the object, so a store whose first reply is not about a hold is sent
// no such request.
func (b *Bucket) SetHold(ctx context.Context, key, versionID string, on bool) error {
	if held, err := b.Hold(ctx, key, versionID); err != nil || held == on {
		return err
	}
	status := types.ObjectLockLegalHoldStatusOff
	if on {
		status = types.ObjectLockLegalHoldStatusOn
	}
	_, err := b.client.PutObjectLegalHold(ctx, &s3.PutObjectLegalHoldInput{
		Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID), LegalHold: &types.ObjectLockLegalHold{Status: status},
	})
	if err != nil {
		return b.fail(opSetHold, key, err)
	}
	held, err := b.Hold(ctx, key, versionID)
	if err == nil && held != on {
		err = ignored(opSetHold, key, fmt.Sprintf("asked for a hold that is %s, the store shows none such", status))
	}
	return err
}

// Retention returns the lock of one version (s3:GetObjectRetention); the zero Retention if
// the version has no lock. It returns [ErrNoLocks] if the bucket or the store has no locks.
func (b *Bucket) Retention(ctx context.Context, key, versionID string) (Retention, error) {
	out, err := b.client.GetObjectRetention(ctx, &s3.GetObjectRetentionInput{Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID)})
	switch {
	case neverLocked(err):
		return Retention{}, nil
	case err != nil:
		return Retention{}, b.fail(opGetRetention, key, err)
	case out.Retention == nil || out.Retention.Mode == "" || out.Retention.RetainUntilDate == nil:
		return Retention{}, unreadable(opGetRetention, key, "Retention")
	}
	return Retention{string(out.Retention.Mode), aws.ToTime(out.Retention.RetainUntilDate)}, nil
}

// Retain requests a lock for one version (s3:PutObjectRetention), without permission to
// bypass the present one. A store that enforces its locks refuses to shorten one.
func (b *Bucket) Retain(ctx context.Context, key, versionID string, r Retention) error {
	mode, until := r.put()
	_, err := b.client.PutObjectRetention(ctx, &s3.PutObjectRetentionInput{
		Bucket: &b.opts.Bucket, Key: &key, VersionId: optional(versionID),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(mode), RetainUntilDate: until},
	})
	return b.fail(opSetRetention, key, err)
}

// Extend makes the lock of one version last at least as long as r, and returns the lock
// that is read back. It never shortens a lock. A version that has a lock keeps its mode,
// since stores refuse to change the mode without permission to bypass; a version without a
// lock gets r, and none if r has no mode. A store that accepts the request and changes nothing gives [ErrIgnored].
func (b *Bucket) Extend(ctx context.Context, key, versionID string, r Retention) (Retention, error) {
	have, err := b.Retention(ctx, key, versionID)
	if err != nil {
		return Retention{}, err
	}
	if have.Mode != "" {
		r.Mode = have.Mode
	}
	if r.Mode == "" {
		return have, nil
	}
	_, until := r.put()
	r.Until = *until
	if have.Until.After(r.Until) {
		r.Until = have.Until
	}
	if have.same(r) {
		return have, nil
	}
	if err := b.Retain(ctx, key, versionID, r); err != nil {
		return Retention{}, err
	}
	if have, err = b.Retention(ctx, key, versionID); err == nil && !have.same(r) {
		err = ignored(opSetRetention, key, fmt.Sprintf("asked for %s until %s, the store shows %q until %s",
			r.Mode, r.Until.Format(time.RFC3339), have.Mode, have.Until.Format(time.RFC3339)))
	}
	return have, err
}

func (r Retention) same(other Retention) bool {
	return r.Mode == other.Mode && r.Until.Equal(other.Until)
}

// neverLocked reports whether the store says that a version never had a lock or a hold, in
// a bucket that has locks. Ceph RGW says ObjectLockConfigurationNotFoundError, which others
// say of a bucket without Object Lock: such a bucket locks nothing either.
func neverLocked(err error) bool {
	return hasCode(err, "NoSuchObjectLockConfiguration") || hasCode(err, "NoSuchObjectLegalHold") || hasCode(err, "ObjectLockConfigurationNotFoundError")
}

// ignored returns the error of a request that was accepted and has no effect.
func ignored(op, key, what string) error {
	return &Error{Op: op, Key: key, Status: http.StatusOK, Err: fmt.Errorf("%w: %s", ErrIgnored, what)}
}
