package archiver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// adopt takes media that stand in their place already into the ledger, without another
// download. It believes a manifest that describes them if the store shows the checksum that
// the manifest names. Otherwise it reads the bytes and judges them again.
func (t *transfer) adopt(ctx context.Context, found storage.Object) error {
	// The lock was computed when the upload began, up to a day before the upload was done.
	lock := t.Retention.Lock(t.entry.DateCreated, found.Modified.Add(-24*time.Hour))
	media, err := t.Prover.Lock(ctx, found, lock)
	if err != nil {
		return err
	}
	d, err := t.findManifest(ctx, media)
	if err == nil && d != nil {
		d.obj, err = t.Prover.Lock(ctx, d.obj, lock)
	}
	if err != nil {
		return err
	}
	twin := func(sum string) bool { return t.entry.Twin != "" && t.entry.Twin == sum }
	if d != nil && !twin(d.Media.SHA256) && d.Media.Checksum != nil && *d.Media.Checksum == (record.ManifestChecksum{Algorithm: media.Checksum.Algorithm, Value: media.Checksum.Value}) {
		return t.enter(ctx, media, *d, true)
	}
	m, err := t.readMedia(ctx, media)
	if err != nil {
		return err
	}
	if d == nil || twin(m.sha256) {
		return t.describe(ctx, m, description{adopted: true})
	}
	if d.Media.SHA256 != m.sha256 {
		err := fmt.Errorf("%s does not have the SHA-256 that its manifest %s states: %w", media.Key, d.obj.Key, failure.ErrCorrupt)
		return t.reportCorrupt(ctx, media.Key, err)
	}
	return t.enter(ctx, media, *d, true)
}

// readMedia reads media in the archive and makes the checks of a download.
func (t *transfer) readMedia(ctx context.Context, media storage.Object) (*stored, error) {
	d := newMediaDigest(t.in.Format)
	if err := proof.Read(ctx, t.Bucket, media, d); err != nil {
		return nil, err
	}
	if equal, comparable := d.Matches(media.Checksum); comparable && !equal || media.Metadata[record.MetaSHA256] != "" && media.Metadata[record.MetaSHA256] != d.Hex() {
		err := fmt.Errorf("%s read back does not match its own checksum: %w", media.Key, failure.ErrCorrupt)
		return nil, t.reportCorrupt(ctx, media.Key, err)
	}
	v, err := d.judge(t.rec, true) // media that contradict themselves were stored as suspect
	if err != nil {
		return nil, t.reportCorrupt(ctx, media.Key, fmt.Errorf("%s: %w", media.Key, err))
	}
	if v, err = t.judgeTwin(ctx, d, v); err != nil {
		return nil, err
	}
	return storedMedia(media, d, v, true), nil
}

// findManifest looks for the manifest that describes a stored media object; nil: there is
// none.
func (t *transfer) findManifest(ctx context.Context, media storage.Object) (*described, error) {
	for n := 1; n <= record.MaxPlaces; n++ {
		key := t.keys.Manifest(t.entry.MediaKey, n)
		text, obj, err := record.ReadSmall(ctx, t.Bucket, key, record.MaxManifest)
		if errors.Is(err, storage.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		m, err := record.DecodeManifest(text)
		if err != nil {
			t.reportForeign(key)
			continue
		}
		if m.Describes(t.key.Recording, t.entry.DateModified, media) && (t.entry.Fingerprint == "" || m.Fingerprint() == t.entry.Fingerprint) {
			// The reply to a GET need not show version and lock.
			obj, err := t.Bucket.Head(ctx, key, obj.VersionID)
			return &described{m, obj, fmt.Sprintf("%x", sha256.Sum256(text))}, err
		}
	}
	return nil, nil
}
