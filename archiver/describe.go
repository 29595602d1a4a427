package archiver

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// description is what only the one who transferred the media knows of them.
type description struct {
	downloaded     *time.Time
	correlationIDs []string
	adopted        bool
	fresh          bool // nobody has looked for a manifest
}

// describe writes the manifest of proved media, then the ledger's entry.
func (p *pass) describe(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, m *stored, how description) error {
	manifest := p.manifestOf(k, e, rec, m, how)
	obj, sum, err := p.putManifest(ctx, k, e, manifest, m.Retention, how.fresh)
	if err != nil {
		return err
	}
	return p.enter(ctx, k, e, manifest, m.Object, obj, sum, how.adopted)
}

// manifestOf makes the manifest of proved media.
func (p *pass) manifestOf(k state.Key, e state.Entry, rec genesys.Recording, m *stored, how description) *record.Manifest {
	media := record.MediaOf(m.Object, string(p.in.Format), m.sha256)
	media.ContentType, media.Checks = m.detected, m.checks
	media.Whole, media.Suspect, media.Unproved = m.whole, m.suspect, m.unproved
	manifest := &record.Manifest{
		SchemaVersion:  record.ManifestVersion,
		Organization:   k.Org,
		User:           record.ManifestUser{ID: k.Inbox, Name: p.inbox.Name, Email: p.inbox.Email},
		RecordingID:    k.Recording,
		DateModified:   e.DateModified,
		Media:          media,
		Retention:      p.Retention.Describe(e.DateCreated, m.Modified, m.Retention),
		Times:          record.ManifestTimes{Listed: e.ListedAt, Downloaded: how.downloaded, Uploaded: m.Modified.UTC()},
		CorrelationIDs: how.correlationIDs,
		Adopted:        how.adopted,
		Ledger:         p.Ledger.ID(),
		Archiverd:      p.Version,
	}
	manifest.SetRecording(rec.Raw)
	return manifest
}

// putManifest writes the manifest to the first free key and proves it there. The first key
// of a fresh place is not looked at: where it is taken, the place is looked at anew.
func (p *pass) putManifest(ctx context.Context, k state.Key, e state.Entry, m *record.Manifest, lock storage.Retention, fresh bool) (storage.Object, string, error) {
	text, err := m.Encode()
	if err != nil {
		return storage.Object{}, "", err
	}
	obj, sum, err := p.prover.PutFree(ctx, storage.New{
		Key:         p.keys.Manifest(e.MediaKey, 1),
		ContentType: "application/json",
		Metadata:    p.keys.Metadata(k.Recording, e, p.in.Format),
		Retention:   lock,
	}, text, fresh)
	return obj, sum, placeTaken(err)
}

// enter writes the archived version into the ledger.
func (p *pass) enter(ctx context.Context, k state.Key, e state.Entry, m *record.Manifest, media, manifest storage.Object, manifestSum string, adopted bool) error {
	v := m.Version()
	v.Fingerprint = cmp.Or(e.Fingerprint, v.Fingerprint) // the listing's, with which the next one is compared
	v.MediaKey, v.MediaVersionID, v.Size = media.Key, media.VersionID, media.Size
	v.ManifestKey, v.ManifestVersionID, v.ManifestSize, v.ManifestSHA256 = manifest.Key, manifest.VersionID, manifest.Size, manifestSum
	v.RetentionMode, v.RetainUntil = media.Retention.Mode, media.Retention.Until.UTC()
	v.ArchivedAt = time.Now().UTC()
	v.Checksum = ""
	if media.Checksum.Algorithm != "" {
		v.Checksum = media.Checksum.Algorithm + ":" + media.Checksum.Value
	}
	_, err := p.move(ctx, k, e.State, state.StateArchived, func(e *state.Entry) {
		e.Versions = append(e.Versions, v)
		e.Fingerprint = v.Fingerprint
		e.Twin, e.TwinAsked, e.Mismatches = "", false, 0
	})
	if err != nil {
		return err
	}
	p.warnDoubt(k, v)
	p.Tally.Archived.Add(1)
	p.count(func(r *state.Pass) {
		r.Archived++
		if adopted {
			r.Adopted++
		}
	})
	return nil
}

// doubt is why a version's original is not deleted by its media alone, or "".
func doubt(v state.Version) string {
	switch {
	case v.Suspect != "":
		return "suspect: " + v.Suspect
	case v.Unproved != "":
		return "not proved whole: " + v.Unproved
	}
	return ""
}

func (p *pass) warnDoubt(k state.Key, v state.Version) {
	switch {
	case v.Suspect != "":
		p.log.Warn("archived, but the media are suspect and the original will never be deleted", "recording", k.Recording, "reason", v.Suspect)
	case v.Unproved != "":
		p.log.Warn("archived, but it is not known whether the media are whole: the original stays unless delete_originals.unproved is true", "recording", k.Recording, "reason", v.Unproved)
	}
}

// adopt takes media that stand in their place already into the ledger, without
// another download. A manifest that describes them is believed where the store
// shows the checksum it names; else the bytes are read and judged again.
func (p *pass) adopt(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, pl place) error {
	// The lock was computed when the upload began, up to a day before it was done.
	lock := p.Retention.Lock(e.DateCreated, pl.found.Modified.Add(-24*time.Hour))
	media, err := p.prover.Lock(ctx, *pl.found, lock)
	if err != nil {
		return err
	}
	m, obj, sum, err := p.findManifest(ctx, k, e, media)
	if err == nil && m != nil {
		obj, err = p.prover.Lock(ctx, obj, lock)
	}
	if err != nil {
		return err
	}
	twin := func(sum string) bool { return e.Twin != "" && e.Twin == sum }
	if m != nil && !twin(m.Media.SHA256) && m.Media.Checksum != nil && *m.Media.Checksum == (record.ManifestChecksum{Algorithm: media.Checksum.Algorithm, Value: media.Checksum.Value}) {
		return p.enter(ctx, k, e, m, media, obj, sum, true)
	}
	found, err := p.readMedia(ctx, k, e, rec, media)
	if err != nil {
		return err
	}
	if m == nil || twin(found.sha256) {
		return p.describe(ctx, k, e, rec, found, description{adopted: true})
	}
	if m.Media.SHA256 != found.sha256 {
		err := fmt.Errorf("%s has not the SHA-256 that its manifest %s states: %w", media.Key, obj.Key, failure.ErrCorrupt)
		return p.reportCorrupt(ctx, k, e.State, media.Key, err)
	}
	return p.enter(ctx, k, e, m, media, obj, sum, true)
}

// readMedia reads media in the archive and puts them through the checks of a download.
func (p *pass) readMedia(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, media storage.Object) (*stored, error) {
	d := newMediaDigest(p.in.Format)
	if err := proof.Read(ctx, p.Bucket, media, d); err != nil {
		return nil, err
	}
	if equal, comparable := d.Matches(media.Checksum); comparable && !equal || media.Metadata[record.MetaSHA256] != "" && media.Metadata[record.MetaSHA256] != d.Hex() {
		err := fmt.Errorf("%s read back does not match its own checksum: %w", media.Key, failure.ErrCorrupt)
		return nil, p.reportCorrupt(ctx, k, e.State, media.Key, err)
	}
	v, err := d.judge(rec, true) // what contradicts itself was stored as suspect
	if err != nil {
		return nil, p.reportCorrupt(ctx, k, e.State, media.Key, fmt.Errorf("%s: %w", media.Key, err))
	}
	if v, err = p.judgeTwin(ctx, d, k, e, v); err != nil {
		return nil, err
	}
	return storedMedia(media, d, v, true), nil
}

// findManifest looks for the manifest that describes a stored media object.
func (p *pass) findManifest(ctx context.Context, k state.Key, e state.Entry, media storage.Object) (*record.Manifest, storage.Object, string, error) {
	for n := 1; n <= record.MaxPlaces; n++ {
		key := p.keys.Manifest(e.MediaKey, n)
		r, obj, err := p.Bucket.Get(ctx, key, "")
		if errors.Is(err, storage.ErrNotFound) {
			return nil, obj, "", nil
		}
		if err != nil {
			return nil, obj, "", err
		}
		text, err := io.ReadAll(io.LimitReader(r, record.MaxManifest))
		r.Close()
		if err != nil {
			return nil, obj, "", fmt.Errorf("read manifest %s: %w", key, err)
		}
		m, err := record.DecodeManifest(text)
		if err != nil {
			p.reportForeign(key)
			continue
		}
		if m.Describes(k.Recording, e.DateModified, media) && (e.Fingerprint == "" || m.Fingerprint() == e.Fingerprint) {
			// The reply to a GET need not show version and lock.
			obj, err := p.Bucket.Head(ctx, key, obj.VersionID)
			return m, obj, fmt.Sprintf("%x", sha256.Sum256(text)), err
		}
	}
	return nil, storage.Object{}, "", nil
}
