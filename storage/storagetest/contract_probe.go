package storagetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func (c contract) probeSettings(t *testing.T) {
	plain := storage.NewProbe(c.open(t, c.s.NewBucket(t, false)))
	locked := storage.NewProbe(c.open(t, c.s.NewBucket(t, true)))
	for _, tc := range []struct {
		p          *storage.Probe
		versioning string
		locks      bool
	}{{plain, "", false}, {locked, "Enabled", true}} {
		if got, err := tc.p.Versioning(t.Context()); err != nil || got != tc.versioning {
			t.Errorf("versioning %q, %v, want %q", got, err, tc.versioning)
		}
		want := tc.locks && c.s.Capabilities.Locks
		if got, err := tc.p.LockEnabled(t.Context()); err != nil || got != want {
			t.Errorf("locks %v, %v, want %v", got, err, want)
		}
	}
}

func (c contract) probeLifecycle(t *testing.T) {
	name := c.s.NewBucket(t, false)
	p := storage.NewProbe(c.open(t, name))
	if !c.s.Capabilities.Lifecycle {
		if rules, err := p.Lifecycle(t.Context()); err == nil {
			t.Errorf("Lifecycle gives %v: does it know rules now?", rules)
		}
		return
	}
	if rules, err := p.Lifecycle(t.Context()); err != nil || rules != nil {
		t.Fatalf("Lifecycle gives %v, %v before there was a rule", rules, err)
	}
	on, off := types.ExpirationStatusEnabled, types.ExpirationStatusDisabled
	date := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	within := func(prefix string) *types.LifecycleRuleFilter { return &types.LifecycleRuleFilter{Prefix: &prefix} }
	_, err := c.s.Client().PutBucketLifecycleConfiguration(t.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &name,
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{
			{ID: aws.String("days"), Status: on, Filter: within("a/"), Expiration: &types.LifecycleExpiration{Days: aws.Int32(30)},
				NoncurrentVersionExpiration: &types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(3)}},
			{ID: aws.String("date"), Status: on, Filter: within(""), Expiration: &types.LifecycleExpiration{Date: &date}},
			{ID: aws.String("off"), Status: off, Filter: within("b/"), Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}},
			{ID: aws.String("tagged"), Status: on, Filter: &types.LifecycleRuleFilter{Tag: &types.Tag{Key: aws.String("k"), Value: aws.String("v")}},
				Expiration: &types.LifecycleExpiration{Days: aws.Int32(1)}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Lifecycle(t.Context())
	want := []storage.Rule{
		{ID: "date", Expire: &storage.Due{Date: date}},
		{ID: "days", Prefix: "a/", Expire: &storage.Due{Days: 30}, Noncurrent: &storage.Due{Days: 3}},
	}
	slices.SortFunc(got, func(x, y storage.Rule) int { return strings.Compare(x.ID, y.ID) }) // each store has an order of its own
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Errorf("%v -want +got\n%s", err, d)
	}
}

func (c contract) probeLocks(t *testing.T) {
	c.locked(t, func(b *storage.Bucket, name string, o storage.Object, r storage.Retention) {
		p := storage.NewProbe(c.open(t, name)) // not b: with MD5 only, b would not send the checksum that a lock request needs
		sooner := storage.Retention{Mode: r.Mode, Until: r.Until.Add(-30 * time.Minute)}
		if !c.s.Capabilities.Locks {
			if got, err := b.Retention(t.Context(), o.Key, o.VersionID); err == nil {
				t.Errorf("retention %v: does it know locks now?", got)
			}
			return
		}
		r.Until = r.Until.Add(time.Second)
		if err := p.SetRetention(t.Context(), o.Key, o.VersionID, r); err != nil {
			t.Errorf("%s: its lock can't be made longer: %v", o.Key, err)
		}
		if err := p.SetRetention(t.Context(), o.Key, o.VersionID, sooner); err == nil {
			t.Errorf("%s: its lock was shortened", o.Key)
		}
		if err := p.Delete(t.Context(), o.Key, o.VersionID, false); err == nil {
			t.Errorf("%s was deleted", o.Key)
		}
		if err := p.Overwrite(t.Context(), o.Key, []byte("other")); err != nil {
			t.Errorf("%s: overwrite: %v", o.Key, err)
		}
		wantBytes(t, b, o.Key, o.VersionID, []byte("locked"))
		got, err := b.Retention(t.Context(), o.Key, o.VersionID)
		if err != nil || got.Mode != r.Mode || !got.Until.Equal(r.Until) {
			t.Errorf("%s: retention %v, %v, want %v", o.Key, got, err, r)
		}
		// The servers' root may bypass a governance lock; nobody may bypass a compliance lock.
		if err := p.Delete(t.Context(), o.Key, o.VersionID, true); (err == nil) != (r.Mode == "GOVERNANCE") {
			t.Errorf("%s: deleted with permission to bypass: %v", o.Key, err)
		}
	})
	name := c.s.NewBucket(t, true)
	b := c.open(t, name)
	o := create(t, b, storage.New{Key: "free"}, nil)
	got, err := b.Retention(t.Context(), "free", o.VersionID)
	if c.s.Capabilities.Locks && (err != nil || got != storage.Retention{}) {
		t.Errorf("retention %v, %v of an object without", got, err)
	}
}

func (c contract) probeDeletes(t *testing.T) {
	name := c.s.NewBucket(t, true)
	b := c.open(t, name)
	p := storage.NewProbe(b)
	o := create(t, b, storage.New{Key: "k"}, []byte("first"))
	if err := p.Delete(t.Context(), "k", "", false); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, b, "k")
	wantBytes(t, b, "k", o.VersionID, []byte("first"))
	if err := p.Delete(t.Context(), "k", o.VersionID, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Get(t.Context(), "k", o.VersionID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("version is there still: %v", err)
	}
}

func (c contract) probeRefused(t *testing.T) {
	if !c.s.Capabilities.Authentication {
		return // access asserts that the server lacks them
	}
	b := c.open(t, c.s.NewBucket(t, true), func(o *storage.Options) { o.SecretAccessKey = "wrong" })
	p := storage.NewProbe(b)
	_, versioning := p.Versioning(t.Context())
	_, locks := p.LockEnabled(t.Context())
	_, rules := p.Lifecycle(t.Context())
	_, hold := b.Hold(t.Context(), "k", "")
	var listed error
	for _, listed = range b.Versions(t.Context(), "k") {
	}
	_, retention := b.Retention(t.Context(), "k", "")
	for _, err := range []error{
		versioning, locks, rules, retention, hold, listed, b.SetHold(t.Context(), "k", "", true),
		p.SetRetention(t.Context(), "k", "", storage.Retention{Mode: "GOVERNANCE", Until: time.Now().Add(time.Hour)}),
		p.Overwrite(t.Context(), "k", nil), p.Delete(t.Context(), "k", "", true),
		storage.NewRemover(b).Remove(t.Context(), storage.Version{Key: "k", ID: "v"}, true),
	} {
		wantErr(t, err, storage.ErrAccess)
	}
}
