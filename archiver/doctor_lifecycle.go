package archiver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/archiverd/archiverd/storage"
)

// lifecycle wants no rule that would expire the archive before its retention ends, or
// freeze it, and one that clears away the parts of broken uploads.
func (v *visit) lifecycle(ctx context.Context) {
	const name, parts = "store.lifecycle", "store.unfinished_uploads"
	rules, err := v.Probe.Lifecycle(ctx)
	if err != nil {
		v.unseen(name, "s3:GetLifecycleConfiguration", err)
		v.unseen(parts, "s3:GetLifecycleConfiguration", err)
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
			lose = append(lose, fmt.Sprintf("%q %s of being hidden", r.ID, due(*r.Noncurrent)))
		}
		for _, t := range r.Transitions {
			if frozen(t.Class) {
				freeze = append(freeze, fmt.Sprintf("%q %s (%s)", r.ID, due(t.Due), t.Class))
			}
		}
		if r.AbortDays > 0 && strings.HasPrefix(v.Prefix+"/media/", r.Prefix) { // all else is small
			aborts = fmt.Sprintf("cleared away by rule %q", r.ID)
		}
	}
	const exclude = "exclude the prefix from the rule, or let it act only after storage.object_lock.retain_for"
	switch {
	case expire != nil:
		v.fail(name, KindIntegrity, exclude, "the archive would expire before its retention ends, by rule %s", strings.Join(expire, ", "))
	case lose != nil:
		v.warn(name, exclude, "versions that someone hid or replaced would be lost for good before their retention ends, by rule %s", strings.Join(lose, ", "))
	case freeze != nil:
		v.warn(name, "exclude the prefix from the rule: archiverd get, verify --read and the repair after a crash can't read frozen objects", "objects would be moved to where they can't be read at once, by rule %s", strings.Join(freeze, ", "))
	default:
		v.pass(name, "none of the bucket's rules would expire or freeze the archive")
	}
	if aborts == "" {
		v.warn(parts, "add a rule with AbortIncompleteMultipartUpload after 7 days for the prefix: the parts of an upload that was never finished cost money and don't show", "no rule clears away uploads that were never finished")
	} else {
		v.pass(parts, "%s", aborts)
	}
}

// touches tells whether a rule for a prefix concerns what is archived. The doctor's
// own objects may expire.
func (v *visit) touches(prefix string) bool {
	for _, kind := range []string{"media", "manifests", "journal", "owners"} {
		dir := v.Prefix + "/" + kind + "/"
		if strings.HasPrefix(dir, prefix) || strings.HasPrefix(prefix, dir) {
			return true
		}
	}
	return false
}

// tooSoon tells whether a rule acts on an object archived now before its retention
// ends. That of an older recording ends sooner, so it is safe too.
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

// frozen tells a storage class that is not read at once.
func frozen(class string) bool {
	return class == "GLACIER" || class == "DEEP_ARCHIVE"
}
