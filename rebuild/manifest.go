package rebuild

import (
	"cmp"
	"context"
	"errors"
	"io"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// unproved is the media's Unproved in a manifest that is written from the media alone.
const unproved = "the recording's metadata are lost"

// replaceManifest reports a manifest that is not the one that the journal names. If the
// original may be there, the next pass writes a good one. If it is gone, the media's bytes
// are all that can still be described. A manifest that only can't be read may be the right
// one.
func (r *rebuild) replaceManifest(ctx context.Context, k state.Key, e *state.Entry, i int) error {
	v := e.Versions[i]
	if r.unread[v.ManifestKey] {
		return nil // reported already
	}
	err := r.find(record.FaultManifest, k, v.ManifestKey, "missing, torn or altered: the journal names one with the SHA-256 %s", v.ManifestSHA256)
	if err != nil || r.ReadOnly || e.State != state.StateDeleted && e.State != state.StateGone {
		return err
	}
	obj, about, err := r.readMedia(ctx, v.MediaKey)
	switch {
	case unreadable(err) && errors.Is(err, storage.ErrNotFound):
		return nil // the step media finds that
	case unreadable(err):
		return r.find(record.FaultUnreadable, k, v.MediaKey, "%v", err)
	case err != nil:
		return err
	case about.SHA256 != v.SHA256:
		return r.find(record.FaultAltered, k, v.MediaKey, "has the SHA-256 %s, the journal names %s", about.SHA256, v.SHA256)
	}
	return r.describe(ctx, k, e, i, describedMedia{obj, about})
}

type describedMedia struct {
	storage.Object
	about record.ManifestMedia
}

// readMedia reads media, and returns what a manifest says of them.
func (r *rebuild) readMedia(ctx context.Context, key string) (obj storage.Object, about record.ManifestMedia, err error) {
	if obj, err = r.head(ctx, key, ""); err != nil {
		return obj, about, err
	}
	format := genesys.Format(obj.Metadata[record.MetaFormat])
	var d *proof.Digest
	var check *media.Check
	err = r.reading.Try(ctx, func() error {
		d, check = proof.NewDigest(), media.New(format)
		return proof.Read(ctx, r.Bucket, obj, io.MultiWriter(d, check))
	})
	if err != nil {
		return obj, about, err
	}
	about = record.MediaOf(obj, string(format), d.Hex())
	about.ContentType, about.Unproved, about.Checks = check.Detected(), unproved, []string{"whole body", "read back"}
	return obj, about, nil
}

// describe writes a manifest of media whose original and manifest are both lost.
func (r *rebuild) describe(ctx context.Context, k state.Key, e *state.Entry, i int, m describedMedia) error {
	e.DateModified = m.Metadata[record.MetaDateModified]
	manifest := &record.Manifest{
		SchemaVersion: record.ManifestVersion,
		Organization:  k.Org,
		User:          record.ManifestUser{ID: k.Inbox, Name: r.users[k.Inbox].Name, Email: r.users[k.Inbox].Email},
		RecordingID:   k.Recording,
		DateModified:  e.DateModified,
		Media:         m.about,
		Retention:     r.Retention.Describe(e.DateCreated, m.Modified, m.Retention),
		Times:         record.ManifestTimes{Listed: e.ListedAt, Uploaded: m.Modified.UTC()},
		Adopted:       true,
		Ledger:        r.Ledger.ID(),
		Archiverd:     r.Version,
	}
	manifest.SetRecording(nil)
	text, err := manifest.Encode()
	if err != nil {
		return err
	}
	keys := record.Keys{Prefix: r.Prefix, Org: k.Org, Inbox: k.Inbox}
	obj, sum, err := r.Prover.PutFree(ctx, storage.New{
		Key: keys.Manifest(e.MediaKey, 1), ContentType: "application/json",
		Metadata: keys.Metadata(k.Recording, *e, genesys.Format(m.about.Format)), Retention: m.Retention,
	}, text, false)
	if (errors.Is(err, storage.ErrExists) || errors.Is(err, storage.ErrConflict)) && !failure.Temporary(err) { // below a delete marker, for one
		return r.find(record.FaultManifest, k, e.Versions[i].ManifestKey, "it can't be written again: %v", err)
	}
	if err != nil {
		return err
	}
	return r.edit(ctx, k, func(e *state.Entry) {
		v, n := manifest.Version(), &e.Versions[i]
		n.Whole, n.Suspect, n.Unproved = v.Whole, v.Suspect, v.Unproved
		n.DateModified, n.Format, n.MediaVersionID = v.DateModified, v.Format, v.MediaVersionID
		n.ManifestKey, n.ManifestVersionID, n.ManifestSize, n.ManifestSHA256 = obj.Key, obj.VersionID, obj.Size, sum
		n.RetentionMode, n.RetainUntil = v.RetentionMode, v.RetainUntil
		n.Checksum = cmp.Or(v.Checksum, n.Checksum)
	})
}
