package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// Probe tests a bucket: it reads the bucket's settings, and tries on test objects
// what a store has to refuse for the archive to be safe. It is a type of its own,
// so that code which holds only a [Bucket] cannot overwrite or delete.
type Probe struct{ b *Bucket }

// NewProbe returns a probe of b. It is as safe for concurrent use as b.
func NewProbe(b *Bucket) *Probe { return &Probe{b} }

// Versioning returns "Enabled", "Suspended", or "" if versioning was never enabled
// (s3:GetBucketVersioning).
func (p *Probe) Versioning(ctx context.Context) (string, error) {
	out, err := p.b.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &p.b.opts.Bucket})
	if err != nil {
		return "", p.b.fail(opVersioning, "", err)
	}
	return string(out.Status), nil
}

// LockEnabled reports whether the bucket has Object Lock
// (s3:GetBucketObjectLockConfiguration).
func (p *Probe) LockEnabled(ctx context.Context) (bool, error) {
	out, err := p.b.client.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &p.b.opts.Bucket})
	switch {
	case hasCode(err, "ObjectLockConfigurationNotFoundError"):
		return false, nil
	case err != nil:
		return false, p.b.fail(opLockConfig, "", err)
	case out.ObjectLockConfiguration == nil:
		return false, unreadable(opLockConfig, "", "ObjectLockConfiguration")
	}
	return out.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled, nil
}

// Rule is one enabled rule of a bucket's lifecycle that concerns objects without
// tags. Days are whole days since an object was created, or since a version was
// replaced. A nil action is one that the rule does not have.
type Rule struct {
	ID          string
	Prefix      string
	Expire      *Due
	Noncurrent  *Due // permanent removal of versions that were replaced or hidden
	Transitions []Transition
	AbortDays   int32 // after which incomplete multipart uploads are aborted; 0: never
}

// Due is when a rule acts: after some days, or at a date.
type Due struct {
	Days int32
	Date time.Time // zero: Days count
}

// Transition moves objects into another storage class.
type Transition struct {
	Due
	Class      string // "GLACIER", "STANDARD_IA", …
	Noncurrent bool   // only versions that were replaced or hidden
}

// Lifecycle returns the enabled rules; nil if the bucket has no rules
// (s3:GetLifecycleConfiguration). Rules for tagged objects are left out, because
// this package writes no tags.
func (p *Probe) Lifecycle(ctx context.Context) ([]Rule, error) {
	out, err := p.b.client.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &p.b.opts.Bucket})
	switch {
	case hasCode(err, "NoSuchLifecycleConfiguration"):
		return nil, nil
	case err != nil:
		return nil, p.b.fail(opLifecycle, "", err)
	case len(out.Rules) == 0: // some servers answer this request with a listing
		return nil, unreadable(opLifecycle, "", "rule")
	}
	var rules []Rule
	for _, r := range out.Rules {
		prefix, tagged := scope(r)
		if r.Status == types.ExpirationStatusEnabled && !tagged {
			rules = append(rules, rule(r, prefix))
		}
	}
	return rules, nil
}

// scope returns the keys that a rule applies to, and whether it needs tags. Bounds on
// sizes are ignored: some objects are within any bounds.
func scope(r types.LifecycleRule) (prefix string, tagged bool) {
	switch f := r.Filter; {
	case f == nil:
		//lint:ignore SA1019 rules made before 2016 have their prefix here
		return aws.ToString(r.Prefix), false
	case f.And != nil:
		return aws.ToString(f.And.Prefix), len(f.And.Tags) > 0
	default:
		return aws.ToString(f.Prefix), f.Tag != nil
	}
}

func rule(r types.LifecycleRule, prefix string) Rule {
	out := Rule{ID: aws.ToString(r.ID), Prefix: prefix}
	if e := r.Expiration; e != nil && (e.Days != nil || e.Date != nil) { // else it only removes delete markers without versions
		out.Expire = &Due{aws.ToInt32(e.Days), aws.ToTime(e.Date)}
	}
	if n := r.NoncurrentVersionExpiration; n != nil {
		out.Noncurrent = &Due{Days: aws.ToInt32(n.NoncurrentDays)}
	}
	for _, t := range r.Transitions {
		out.Transitions = append(out.Transitions, Transition{Due{aws.ToInt32(t.Days), aws.ToTime(t.Date)}, string(t.StorageClass), false})
	}
	for _, t := range r.NoncurrentVersionTransitions {
		out.Transitions = append(out.Transitions, Transition{Due{Days: aws.ToInt32(t.NoncurrentDays)}, string(t.StorageClass), true})
	}
	if a := r.AbortIncompleteMultipartUpload; a != nil {
		out.AbortDays = aws.ToInt32(a.DaysAfterInitiation)
	}
	return out
}

// SetRetention requests another lock for one version, without permission to bypass
// the present one: a store that accepts a shorter lock does not enforce its locks.
func (p *Probe) SetRetention(ctx context.Context, key, versionID string, r Retention) error {
	return p.b.Retain(ctx, key, versionID, r)
}

// Overwrite puts body under key without a condition.
func (p *Probe) Overwrite(ctx context.Context, key string, body []byte) error {
	sum := sha256.Sum256(body)
	in, err := p.b.putInput(New{Key: key})
	if err != nil {
		return err
	}
	in.IfNoneMatch, in.Body = nil, bytes.NewReader(body)
	if p.b.md5() {
		in.ContentMD5 = contentMD5(body)
	} else {
		in.ChecksumSHA256 = base64of(sum[:])
	}
	_, err = p.b.client.PutObject(ctx, in, signed(sum))
	return p.b.fail(opOverwrite, key, err)
}

// Delete removes one version permanently. If versionID is empty and the bucket is
// versioned, it only hides the object. With bypass it asks to ignore a governance
// lock, which needs the right s3:BypassGovernanceRetention.
func (p *Probe) Delete(ctx context.Context, key, versionID string, bypass bool) error {
	return p.b.remove(ctx, key, versionID, bypass)
}

func hasCode(err error, code string) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && api.ErrorCode() == code
}
