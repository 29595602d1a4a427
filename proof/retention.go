package archiver

import (
	"context"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// minLock is the shortest retention worth setting: S3 refuses dates in the past,
// and clocks differ.
const minLock = time.Hour

// keepUntil is the end of a recording's retention: counted from dateCreated where
// that is believable, else from the time it was archived.
func (a *Archiver) keepUntil(dateCreated string, archived time.Time) time.Time {
	from := archived
	if t, ok := genesys.ParseTime(dateCreated); ok && t.Year() >= 2000 && t.Before(archived) {
		from = t
	}
	return a.Retention.Until(from.UTC())
}

// retention is the lock to ask for, or none: no mode is configured, or the end has
// passed already or is too near.
func (a *Archiver) retention(dateCreated string, archived time.Time) storage.Retention {
	until := a.keepUntil(dateCreated, archived)
	if a.Retention.Mode == "" || until.Before(archived.Add(minLock)) {
		return storage.Retention{}
	}
	return storage.Retention{Mode: a.Retention.Mode, Until: until}
}

// locked tells whether an object holds at least the retention asked for.
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

// lock gives an object that was found the retention that it lacks: the bucket, or the
// configuration, had none when it was written. It never shortens one.
func (p *pass) lock(ctx context.Context, obj storage.Object, want storage.Retention) (storage.Object, error) {
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

// manifestRetention says in the manifest what lock the media have.
func (a *Archiver) manifestRetention(dateCreated string, archived time.Time, have storage.Retention) *record.ManifestRetention {
	switch {
	case have.Mode != "":
		until := have.Until.UTC()
		return &record.ManifestRetention{Mode: have.Mode, Until: &until}
	case a.Retention.Mode != "":
		return &record.ManifestRetention{Note: "not locked: the retention ended " + a.keepUntil(dateCreated, archived).Format(time.RFC3339)}
	}
	return nil
}
