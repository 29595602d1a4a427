package proof

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Recorded is a media object or a manifest as the ledger has it.
type Recorded struct {
	Recording state.Key
	Manifest  bool // a manifest, not media
	Key       string
	VersionID string // "" if the bucket had no versions

	size     int64
	sha256   string
	checksum string // "CRC32:base64", "" if the store showed none
	version  state.Version
	until    time.Time // the end of its retention
}

// Objects returns the media and the manifest of a version of an entry. until is the end of the
// retention: Compare reports a lifecycle rule that removes the object earlier.
func Objects(k state.Key, v state.Version, until time.Time) [2]Recorded {
	manifestSum := ""
	if sum, err := hex.DecodeString(v.ManifestSHA256); err == nil && len(sum) > 0 {
		manifestSum = "SHA256:" + base64.StdEncoding.EncodeToString(sum)
	}
	return [2]Recorded{
		{
			Recording: k, Key: v.MediaKey, VersionID: v.MediaVersionID,
			size: v.Size, sha256: v.SHA256, checksum: v.Checksum, version: v, until: until,
		}, {
			Recording: k, Manifest: true, Key: v.ManifestKey, VersionID: v.ManifestVersionID,
			size: v.ManifestSize, sha256: v.ManifestSHA256, checksum: manifestSum, version: v, until: until,
		},
	}
}

// Comparison is what comparing a stored object with the recorded one showed.
type Comparison struct {
	Flaws    Flaws
	Checksum bool             // HEAD showed a checksum that could be compared
	Manifest *record.Manifest // of a manifest that was read and is the recorded one
}

// Compare proves that the store holds what the ledger says: it compares the object, as HEAD
// showed it, in version, size, checksum, lock and announced expiry. With read it also compares
// the SHA-256, and checks that a manifest describes this version. The error is the store's;
// differences are Flaws.
func (o Recorded) Compare(ctx context.Context, b reader, obj storage.Object, read bool) (Comparison, error) {
	if o.VersionID != "" && obj.VersionID != o.VersionID {
		return Comparison{Flaws: Flaws{Flawf(record.FaultAltered, "the store shows version %q, the ledger has %q", obj.VersionID, o.VersionID)}}, nil
	}
	c := o.compareHead(obj)
	if read {
		if err := o.read(ctx, b, obj, &c); err != nil {
			return c, err
		}
	}
	if len(c.Flaws) > 0 && c.Flaws[0].Fault == record.FaultAltered && !record.SameRecording(obj.Metadata, o.names()) {
		c.Flaws[0] = Flawf(record.FaultForeign, "an object that archiverd did not write: %s", c.Flaws[0].Detail)
	}
	c.Flaws = append(c.Flaws, o.compareTerms(obj)...)
	return c, nil
}

// names returns the part of the object's metadata that names its recording.
func (o Recorded) names() map[string]string {
	return record.Keys{Org: o.Recording.Org, Inbox: o.Recording.Inbox}.Metadata(o.Recording.Recording, state.Entry{}, "")
}

// compareHead compares what HEAD shows of the bytes.
func (o Recorded) compareHead(obj storage.Object) (c Comparison) {
	if obj.Size != o.size {
		c.Flaws = append(c.Flaws, Flawf(record.FaultAltered, "%d bytes, the ledger has %d", obj.Size, o.size))
	}
	algorithm, _, _ := strings.Cut(o.checksum, ":")
	if algorithm == "" || o.Manifest && obj.Checksum.Algorithm != algorithm {
		return c
	}
	c.Checksum = true
	if shown := obj.Checksum.Algorithm + ":" + obj.Checksum.Value; shown != o.checksum {
		c.Flaws = append(c.Flaws, Flawf(record.FaultAltered, "the store shows the checksum %q, the ledger has %q", shown, o.checksum))
	}
	return c
}

// compareTerms compares how long the object will be kept.
func (o Recorded) compareTerms(obj storage.Object) (flaws Flaws) {
	recorded := storage.Retention{Mode: o.version.RetentionMode, Until: o.version.RetainUntil}
	if short := record.ShortLock(obj.Retention, recorded); short != "" {
		flaws = append(flaws, Flaw{record.FaultLock, short})
	}
	if !obj.Expires.IsZero() && obj.Expires.Before(o.until) {
		flaws = append(flaws, Flawf(record.FaultExpires, "a lifecycle rule will remove it on %s, its retention ends on %s: exclude the prefix from the rule",
			obj.Expires.Format(time.DateOnly), o.until.Format(time.DateOnly)))
	}
	return flaws
}

// read compares the bytes and, of a manifest, what it says.
func (o Recorded) read(ctx context.Context, b reader, obj storage.Object, c *Comparison) error {
	sum := sha256.New()
	var text bytes.Buffer
	w := io.Writer(sum)
	if o.Manifest && obj.Size <= record.MaxManifest {
		w = io.MultiWriter(sum, &text)
	}
	if err := Read(ctx, b, obj, w); err != nil {
		return err
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != o.sha256 {
		c.Flaws = append(c.Flaws, Flawf(record.FaultAltered, "the bytes have the SHA-256 %s, the ledger has %s", have, o.sha256))
	}
	if !o.Manifest {
		return nil
	}
	m, err := o.describedBy(text.Bytes())
	if err != nil {
		c.Flaws = append(c.Flaws, Flaw{record.FaultManifest, err.Error()})
	}
	c.Manifest = m
	return nil
}

// describedBy decodes a manifest that says of the version what the ledger says.
func (o Recorded) describedBy(text []byte) (*record.Manifest, error) {
	m, err := record.DecodeManifest(text)
	if err != nil {
		return nil, err
	}
	v := o.version
	media := storage.Object{Key: v.MediaKey, VersionID: v.MediaVersionID, Size: v.Size}
	if !m.Describes(o.Recording.Recording, cmp.Or(v.ManifestModified, v.DateModified), media) || m.Media.SHA256 != v.SHA256 || m.Organization != o.Recording.Org || m.User.ID != o.Recording.Inbox {
		return nil, fmt.Errorf("it describes %s of recording %q, %d bytes with SHA-256 %s", m.Media.Key, m.RecordingID, m.Media.Size, m.Media.SHA256)
	}
	return m, nil
}
