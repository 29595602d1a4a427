package doctor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// canaryLock is how long the doctor locks its object. Nobody can end a compliance lock sooner.
const canaryLock = time.Minute

// lock checks that a locked object can't be overwritten, shortened, deleted or bypassed.
func (v *visit) lock(ctx context.Context) {
	const name = "store.lock"
	mode := v.Doctor.Retention.Mode
	if mode == "" {
		v.unchecked(name, "no lock is asked for: storage.object_lock.mode is none")
		return
	}
	skew, _ := v.Bucket.Skew()
	c := lockedCanary{visit: v, key: v.dir + "-lock", want: storage.Retention{Mode: mode, Until: time.Now().Add(skew + canaryLock).UTC().Truncate(time.Second)}}
	if !c.put(ctx) || !c.shown(ctx) {
		return
	}
	for _, try := range []struct {
		what string
		make func(context.Context) error
	}{
		{"overwritten", c.overwrite}, {"shortened", c.shorten}, {"deleted", c.remove},
	} {
		switch err := try.make(ctx); {
		case errors.Is(err, errLockBroken):
			v.fail(name, failure.KindIntegrity, "use a store that enforces its locks; on this one a locked archive is no safer than an unlocked one",
				"an object locked for %s was %s", canaryLock, try.what)
			return
		case err != nil:
			v.fail(name, failKind(err), storeRemedy(err, "s3:GetObject, s3:GetObjectVersion, s3:PutObject, s3:PutObjectRetention and s3:GetObjectRetention"),
				"whether a locked object can be %s could not be determined: %v", try.what, err)
			return
		}
	}
	c.bypass(ctx)
}

// errLockBroken means that the locked object or its lock was changed.
var errLockBroken = errors.New("the lock did not hold")

// lockedCanary is the one object that the doctor locks.
type lockedCanary struct {
	*visit
	key, version string
	want         storage.Retention
}

func (c *lockedCanary) put(ctx context.Context) bool {
	const name = "store.lock"
	text := []byte(canaryText)
	obj, err := c.Bucket.Put(ctx, storage.New{Key: c.key, ContentType: "text/plain", Retention: c.want}, text, sha256.Sum256(text))
	if err == nil {
		c.version = obj.VersionID
		return true
	}
	remedy := storeRemedy(err, "s3:PutObjectRetention")
	if enabled, lerr := c.Probe.LockEnabled(ctx); lerr == nil && !enabled {
		remedy = "create a bucket with Object Lock and configure that, or set storage.object_lock.mode to none"
	}
	c.fail(name, failKind(err), remedy, "a locked object can't be created: %v", err)
	return false
}

// shown checks that HEAD shows the lock, because archiverd looks for it with HEAD after each
// write. If HEAD does not show it, shown finds out whether a right is missing or the lock.
func (c *lockedCanary) shown(ctx context.Context) bool {
	const name = "store.lock"
	obj, err := c.Bucket.Head(ctx, c.key, c.version)
	if err != nil {
		c.fail(name, failKind(err), storeRemedy(err, "s3:GetObject and s3:GetObjectVersion"), "a locked object can't be looked at: %v", err)
		return false
	}
	if c.version == "" {
		c.fail(name, failure.KindIntegrity, "create a bucket with Object Lock and configure that, or set storage.object_lock.mode to none", "the store accepted a lock, but named no version that has it")
		return false
	}
	if record.Holds(obj.Retention, c.want) {
		return true
	}
	switch have, err := c.Bucket.Retention(ctx, c.key, c.version); {
	case errors.Is(err, storage.ErrAccess):
		c.fail(name, failure.KindConfiguration, "allow archiverd's credentials s3:GetObjectRetention: archiverd counts nothing as archived whose lock it can't see", "the lock can't be read: %v", err)
	case err == nil && have.Mode == c.want.Mode && !have.Until.Before(c.want.Until):
		c.fail(name, failure.KindConfiguration, "allow archiverd's credentials s3:GetObjectRetention, or use a store whose HEAD shows locks", "the lock is there, but HEAD does not show it")
	default:
		c.fail(name, failure.KindIntegrity, "use a store and a bucket with Object Lock, or set storage.object_lock.mode to none",
			"the store accepted the lock and ignored it: asked for %s until %s, it shows %q until %s",
			c.want.Mode, c.want.Until.Format(time.RFC3339), obj.Retention.Mode, obj.Retention.Until.Format(time.RFC3339))
	}
	return false
}

// intact returns errLockBroken if the locked version is not as it was made. It asks for the
// lock itself, because some stores' HEAD does not show the lock of an older version (versitygw).
func (c *lockedCanary) intact(ctx context.Context) error {
	r, _, err := c.Bucket.Get(ctx, c.key, c.version)
	if errors.Is(err, storage.ErrNotFound) {
		return errLockBroken
	}
	if err != nil {
		return err
	}
	defer r.Close()
	have, err := io.ReadAll(io.LimitReader(r, int64(len(canaryText))+1))
	if err != nil {
		return fmt.Errorf("read the canary: %w", err)
	}
	lock, err := c.Bucket.Retention(ctx, c.key, c.version)
	if err != nil {
		return err
	}
	if lock.Mode != c.want.Mode || lock.Until.Before(c.want.Until) || !bytes.Equal(have, []byte(canaryText)) {
		return errLockBroken
	}
	return nil
}

// overwrite creates a newer version, which a lock does not forbid. The locked version must stay.
func (c *lockedCanary) overwrite(ctx context.Context) error {
	if err := c.Probe.Overwrite(ctx, c.key, []byte("archiverd doctor tried to overwrite what was here\n")); errors.Is(err, context.Canceled) {
		return err
	}
	return c.intact(ctx)
}

// shorten first makes the lock longer, and then asks for the earlier end. Without the first
// step the store could ignore both requests and seem to refuse the second.
func (c *lockedCanary) shorten(ctx context.Context) error {
	longer := c.want
	longer.Until = longer.Until.Add(time.Second)
	if err := c.Probe.SetRetention(ctx, c.key, c.version, longer); err != nil {
		return fmt.Errorf("make the lock longer by a second: %w", err)
	}
	shorter := c.want
	c.want = longer
	if err := c.Probe.SetRetention(ctx, c.key, c.version, shorter); err != nil {
		if e, ok := errors.AsType[*storage.Error](err); ok && e.Temporary() {
			return err
		}
	}
	return c.intact(ctx)
}

// remove asks to delete the version. The credentials may lack the right to delete anything.
func (c *lockedCanary) remove(ctx context.Context) error {
	if err := c.Probe.Delete(ctx, c.key, c.version, false); errors.Is(err, context.Canceled) {
		return err
	}
	return c.intact(ctx)
}

// bypass asks to delete the version in spite of its lock. Nobody may do that under compliance.
// Under governance it takes a right that archiverd's credentials should not have.
func (c *lockedCanary) bypass(ctx context.Context) {
	const name = "store.lock"
	if err := c.Probe.Delete(ctx, c.key, c.version, true); errors.Is(err, context.Canceled) {
		c.fail(name, failure.KindTemporary, "run archiverd doctor again", "stopped: %v", err)
		return
	}
	switch err := c.intact(ctx); {
	case err == nil:
		c.pass(name, "a %s lock withstood overwriting, shortening, deletion and bypass", c.want.Mode)
	case !errors.Is(err, errLockBroken):
		c.fail(name, failKind(err), storeRemedy(err, "s3:GetObject and s3:GetObjectVersion"), "whether the lock can be bypassed could not be determined: %v", err)
	case c.want.Mode == "COMPLIANCE":
		c.fail(name, failure.KindIntegrity, "use a store that enforces its locks", "a compliance lock was bypassed")
	default:
		c.warn(name, "take s3:BypassGovernanceRetention from archiverd's credentials, or set storage.object_lock.mode to compliance",
			"the lock withstood overwriting, shortening and deletion, but these credentials may bypass it")
	}
}
