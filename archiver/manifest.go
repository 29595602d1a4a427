package archiver

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// description is what a manifest says that neither the media nor the ledger show.
type description struct {
	downloaded     *time.Time
	correlationIDs []string
	adopted        bool
	fresh          bool // no manifest was looked for
}

// describe writes the manifest of proved media, then the ledger's entry.
func (t *transfer) describe(ctx context.Context, m *stored, how description) error {
	d, err := t.putManifest(ctx, t.manifestOf(m, how), m.Retention, how.fresh)
	if err != nil {
		return err
	}
	return t.enter(ctx, m.Object, d, how.adopted)
}

// manifestOf returns the manifest of proved media.
func (t *transfer) manifestOf(m *stored, how description) *record.Manifest {
	media := record.MediaOf(m.Object, string(t.in.Format), m.sha256)
	media.ContentType, media.Checks = m.detected, m.checks
	media.Whole, media.Suspect, media.Unproved = m.whole, m.suspect, m.unproved
	manifest := &record.Manifest{
		SchemaVersion:  record.ManifestVersion,
		Organization:   t.key.Org,
		User:           record.ManifestUser{ID: t.key.Inbox, Name: t.atStart.Name, Email: t.atStart.Email},
		RecordingID:    t.key.Recording,
		DateModified:   t.entry.DateModified,
		Media:          media,
		Retention:      t.Retention.Describe(t.entry.DateCreated, m.Modified, m.Retention),
		Times:          record.ManifestTimes{Listed: t.entry.ListedAt, Downloaded: how.downloaded, Uploaded: m.Modified.UTC()},
		CorrelationIDs: how.correlationIDs,
		Adopted:        how.adopted,
		Ledger:         t.Ledger.ID(),
		Archiverd:      t.Version,
	}
	manifest.SetRecording(t.rec.Raw)
	return manifest
}

// described is a manifest that the store was proved to hold.
type described struct {
	*record.Manifest
	obj storage.Object
	sum string // SHA-256, hex
}

// putManifest writes the manifest to the first free key and proves it there. It does not
// look at the first key of a fresh place: if that key is taken, the transfer begins again.
func (t *transfer) putManifest(ctx context.Context, m *record.Manifest, lock storage.Retention, fresh bool) (described, error) {
	text, err := m.Encode()
	if err != nil {
		return described{}, err
	}
	obj, sum, err := t.Prover.PutFree(ctx, storage.New{
		Key:         t.keys.Manifest(t.entry.MediaKey, 1),
		ContentType: "application/json",
		Metadata:    t.keys.Metadata(t.key.Recording, t.entry, t.in.Format),
		Retention:   lock,
	}, text, fresh)
	return described{m, obj, sum}, placeTaken(err)
}

// enter writes the archived version into the ledger.
func (t *transfer) enter(ctx context.Context, media storage.Object, d described, adopted bool) error {
	v := d.Version()
	v.Fingerprint = cmp.Or(t.entry.Fingerprint, v.Fingerprint) // the listing's: the next listing is compared with it
	v.MediaKey, v.MediaVersionID, v.Size = media.Key, media.VersionID, media.Size
	v.ManifestKey, v.ManifestVersionID, v.ManifestSize, v.ManifestSHA256 = d.obj.Key, d.obj.VersionID, d.obj.Size, d.sum
	v.RetentionMode, v.RetainUntil = media.Retention.Mode, media.Retention.Until.UTC()
	v.ArchivedAt = t.Prover.Now()
	v.Checksum = ""
	if media.Checksum.Algorithm != "" {
		v.Checksum = media.Checksum.Algorithm + ":" + media.Checksum.Value
	}
	if len(t.entry.Cases()) > 0 {
		if err := t.hold(ctx, v, true); err != nil {
			return err
		}
		v.Held = true
	}
	t.leaveWorker()
	e, err := t.move(ctx, t.key, t.entry.State, state.StateArchived, func(e *state.Entry) {
		if !e.Expanded && len(t.rec.Raw) > 0 { // the listing was too large for conversations
			record.Describe(e, t.rec)
		}
		e.Versions = append(e.Versions, v)
		e.Fingerprint = v.Fingerprint
		e.Twin, e.TwinAsked, e.Mismatches = "", false, 0
	})
	if err != nil {
		return err
	}
	if err := t.matchHold(ctx, e); err != nil {
		return err
	}
	t.warnDoubt(v)
	t.Tally.Archived.Add(1)
	t.count(func(r *state.Pass) {
		r.Archived++
		if adopted {
			r.Adopted++
		}
	})
	return nil
}

// leaveWorker gives the worker back before the ledger is told that the recording is archived: the
// ledger may have it wait for others.
func (t *transfer) leaveWorker() {
	if t.turn != nil {
		t.turn.giveBack()
	}
}

// hold sets or releases the store's legal hold of a version's media and manifest, and reads
// it back.
func (t *transfer) hold(ctx context.Context, v state.Version, on bool) error {
	for _, o := range []struct{ key, version string }{{v.MediaKey, v.MediaVersionID}, {v.ManifestKey, v.ManifestVersionID}} {
		if err := t.Bucket.SetHold(ctx, o.key, o.version, on); err != nil {
			return fmt.Errorf("hold what is archived of a held recording, and nothing else: %w", err)
		}
	}
	return nil
}

// matchHold makes the store hold the newest version of an entry if a case holds the
// recording, and only then: a case may have come up, or been released, while the version was
// on its way. The ledger is looked at again after each change of the store's. After a crash
// in between, verify finds a version that is not held, and hold or release given again puts
// it right.
func (t *transfer) matchHold(ctx context.Context, e state.Entry) error {
	for n := len(e.Versions); ; {
		v, on := e.Versions[n-1], len(e.Cases()) > 0
		if v.Held == on {
			return nil
		}
		if err := t.hold(ctx, v, on); err != nil {
			return err
		}
		var err error
		if e, err = t.move(ctx, t.key, e.State, e.State, func(e *state.Entry) { e.Versions[n-1].Held = on }); err != nil {
			return err
		}
	}
}

// doubt returns why a version's media alone do not allow to delete the original, or "".
func doubt(v state.Version) string {
	switch {
	case v.Suspect != "":
		return "suspect: " + v.Suspect
	case v.Unproved != "":
		return "not proved whole: " + v.Unproved
	}
	return ""
}

func (t *transfer) warnDoubt(v state.Version) {
	switch {
	case v.Suspect != "":
		t.log.Warn("archived, but the media are suspect and the original will never be deleted", "recording", t.key.Recording, "reason", v.Suspect)
	case v.Unproved != "":
		t.log.Warn("archived, but it is not known whether the media are whole: the original stays unless delete_originals.unproved is true", "recording", t.key.Recording, "reason", v.Unproved)
	}
}
