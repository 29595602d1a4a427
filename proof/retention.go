package proof

import (
	"cmp"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// minLock is the shortest retention worth setting: S3 refuses dates in the past, and
// clocks differ.
const minLock = time.Hour

// Retention says how long the archive keeps what it holds.
type Retention struct {
	Mode  string                    // "GOVERNANCE", "COMPLIANCE", or "" for no lock
	Until func(time.Time) time.Time // the end of a retention that begins at the given time
}

// Now returns the time by this machine's clock or by the store's, whichever is later.
// Deletions and retention count from it: by a clock that is slow, an original could be
// deleted, or a lock end, too early, also by another machine whose clock is right.
func (p *Prover) Now() time.Time {
	skew, _ := p.Bucket.Skew()
	return time.Now().Add(max(skew, 0)).UTC()
}

// End returns the end of a recording's retention. It counts from dateCreated if that is
// believable, otherwise from the time at which the recording was archived.
func (r Retention) End(dateCreated string, archived time.Time) time.Time {
	from := archived
	if t, ok := genesys.ParseTime(dateCreated); ok && t.Year() >= 2000 && t.Before(archived) {
		from = t
	}
	return r.Until(from.UTC())
}

// Lock returns the lock to ask for. It is the zero value if no mode is configured, or if
// the retention has ended or ends too soon.
func (r Retention) Lock(dateCreated string, archived time.Time) storage.Retention {
	until := r.End(dateCreated, archived)
	if r.Mode == "" || until.Before(archived.Add(minLock)) {
		return storage.Retention{}
	}
	return storage.Retention{Mode: r.Mode, Until: until}
}

// Longer returns a lock that also lasts as long as another one, unless that one has ended or
// ends too soon. The mode of the first counts, if it has one.
func Longer(lock, other storage.Retention, now time.Time) storage.Retention {
	if !other.Until.After(lock.Until) || other.Until.Before(now.Add(minLock)) {
		return lock
	}
	return storage.Retention{Mode: cmp.Or(lock.Mode, other.Mode), Until: other.Until}
}

// Describe returns what a manifest says of the lock that the media have.
func (r Retention) Describe(dateCreated string, archived time.Time, have storage.Retention) *record.ManifestRetention {
	switch {
	case have.Mode != "":
		until := have.Until.UTC()
		return &record.ManifestRetention{Mode: have.Mode, Until: &until}
	case r.Mode != "":
		return &record.ManifestRetention{Note: "not locked: the retention ended " + r.End(dateCreated, archived).Format(time.RFC3339)}
	}
	return nil
}

// locked returns an error if an object does not hold at least the retention asked for.
func locked(obj storage.Object, want storage.Retention) error {
	if want.Mode == "" {
		return nil
	}
	if !record.Holds(obj.Retention, want) {
		return fmt.Errorf("%s is locked %q until %s, want %s until %s: %w", obj.Key, obj.Retention.Mode,
			obj.Retention.Until.Format(time.RFC3339), want.Mode, want.Until.Format(time.RFC3339), failure.ErrNotLocked)
	}
	return nil
}
