package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/storage"
)

// lifecycle checks that no rule of the bucket would expire the archive before its retention
// ends or move it where it can't be read at once, and that a rule aborts unfinished uploads.
func (v *visit) lifecycle(ctx context.Context) {
	const name = "store.lifecycle"
	rules, err := v.Probe.Lifecycle(ctx)
	if err != nil {
		v.unseen(name, "s3:GetLifecycleConfiguration", err)
		v.unfinished(ctx, fmt.Sprintf("whether a rule does could not be determined: %v", err))
		return
	}
	var expire, lose, freeze []string
	aborts := ""
	now := time.Now()
	for _, r := range rules {
		if !v.touches(r.Prefix) {
			continue
		}
		if v.tooSoon(r.Expire, now) {
			expire = append(expire, fmt.Sprintf("%q %s", r.ID, due(*r.Expire)))
		}
		if v.tooSoon(r.Noncurrent, now) {
			lose = append(lose, fmt.Sprintf("%q %s of becoming noncurrent", r.ID, due(*r.Noncurrent)))
		}
		for _, t := range r.Transitions {
			if frozen(t.Class) {
				freeze = append(freeze, fmt.Sprintf("%q %s (%s)", r.ID, due(t.Due), t.Class))
			}
		}
		if r.AbortDays > 0 && strings.HasPrefix(v.Prefix+"/media/", r.Prefix) { // only media are uploaded in parts
			aborts = fmt.Sprintf("aborted by rule %q", r.ID)
		}
	}
	const exclude = "exclude the prefix from the rule, or let it act only after storage.object_lock.retain_for"
	switch {
	case expire != nil:
		v.fail(name, failure.KindIntegrity, exclude, "the archive would expire before its retention ends, by rule %s", strings.Join(expire, ", "))
	case lose != nil:
		v.warn(name, exclude, "versions that someone hid or replaced would be lost for good before their retention ends, by rule %s", strings.Join(lose, ", "))
	case freeze != nil:
		v.warn(name, "exclude the prefix from the rule: archiverd get, verify --read and the repair after a crash can't read frozen objects", "objects would be moved to where they can't be read at once, by rule %s", strings.Join(freeze, ", "))
	default:
		v.pass(name, "none of the bucket's rules would expire or freeze the archive")
	}
	if aborts == "" {
		v.unfinished(ctx, "no rule does")
	} else {
		v.pass(unfinishedUploads, "%s", aborts)
	}
}

const unfinishedUploads = "store.unfinished_uploads"

// unfinished checks that the store lists uploads under way: a run can then abort those that the
// ledger does not know. noRule says why no rule is known to abort them.
func (v *visit) unfinished(ctx context.Context, noRule string) {
	const add = "add a rule with AbortIncompleteMultipartUpload after 7 days for the prefix: the parts of an unfinished upload cost money and are in no listing of objects"
	switch shown, err := v.showsUpload(ctx); {
	case errors.Is(err, storage.ErrAccess):
		v.warn(unfinishedUploads, "allow s3:ListBucketMultipartUploads, or "+add, "only a lifecycle rule aborts an upload whose creation was never answered, since these credentials may not list uploads; %s", noRule)
	case err != nil:
		v.warn(unfinishedUploads, add, "only a lifecycle rule aborts an upload whose creation was never answered, since uploads could not be listed: %v; %s", err, noRule)
	case !shown:
		v.warn(unfinishedUploads, add, "only a lifecycle rule aborts an upload whose creation was never answered, since the store does not list it; %s", noRule)
	default:
		v.pass(unfinishedUploads, "the store lists uploads under way, so runs abort those older than a day")
	}
}

// showsUpload begins an upload and looks for it as a run would.
func (v *visit) showsUpload(ctx context.Context) (shown bool, err error) {
	u, err := v.Bucket.Create(ctx, storage.New{Key: v.dir + "-unfinished", ContentType: "text/plain"})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, u.Abort(ctx)) }()
	for b, err := range v.Bucket.Uploads(ctx, v.Prefix+"/doctor/") {
		if err != nil {
			return false, err
		}
		if b.ID == u.ID {
			return true, nil
		}
	}
	return false, nil
}

// touches reports whether a rule for a prefix applies to archived objects. The doctor's own
// objects may expire.
func (v *visit) touches(prefix string) bool {
	for _, kind := range []string{"media", "manifests", "journal", "owners"} {
		dir := v.Prefix + "/" + kind + "/"
		if strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir) {
			return true
		}
	}
	return false
}

// tooSoon reports whether a rule acts on an object archived now before its retention ends. The
// retention of an older recording ends sooner, so a rule that is safe for now is safe for it.
func (v *visit) tooSoon(d *storage.Due, now time.Time) bool {
	if d == nil {
		return false
	}
	when := d.Date
	if when.IsZero() {
		when = now.AddDate(0, 0, int(d.Days))
	}
	// Both the retention's end and a rule's day are rounded up to a midnight.
	return when.AddDate(0, 0, 1).Before(v.Doctor.Retention.Until(now.UTC()))
}

func due(d storage.Due) string {
	if d.Date.IsZero() {
		return fmt.Sprintf("after %d days", d.Days)
	}
	return "on " + d.Date.Format(time.DateOnly)
}

// frozen reports whether objects of the storage class can't be read at once.
func frozen(class string) bool {
	return class == "GLACIER" || class == "DEEP_ARCHIVE"
}
