package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// ManifestVersion is the version of the manifest's schema; docs/manifest.schema.json
// describes it.
const ManifestVersion = 1

// MaxManifest bounds the bytes read of a manifest.
const MaxManifest = 40 << 20

// Manifest describes one stored media object: one line of JSON, so that query
// engines read a folder of them as a table. Readers find media by Media.Key, never
// by a manifest's name.
type Manifest struct {
	SchemaVersion  int                `json:"schema_version"`
	Organization   string             `json:"organization"`
	User           ManifestUser       `json:"user"`
	RecordingID    string             `json:"recording_id"`
	DateModified   string             `json:"date_modified,omitempty"`
	Recording      json.RawMessage    `json:"recording"`       // as the API gave it, except for white space
	Lacks          string             `json:"lacks,omitempty"` // metadata that were no longer available
	Media          ManifestMedia      `json:"media"`
	Retention      *ManifestRetention `json:"retention,omitempty"` // absent if no retention was requested
	Times          ManifestTimes      `json:"times"`
	CorrelationIDs []string           `json:"correlation_ids,omitempty"` // of the API replies that led to the media
	Adopted        bool               `json:"adopted,omitempty"`         // made from the stored bytes, after an interruption
	Ledger         string             `json:"ledger"`                    // id of the ledger that wrote it
	Archiverd      string             `json:"archiverd"`                 // version that wrote it
}

// ManifestUser is the user whose inbox the recording came from.
type ManifestUser struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// ManifestMedia is the media object and the checks made of it.
type ManifestMedia struct {
	Key         string            `json:"key"`
	VersionID   string            `json:"version_id,omitempty"`
	Format      string            `json:"format"`
	Size        int64             `json:"size"`
	SHA256      string            `json:"sha256"` // hex, of the bytes as downloaded
	ContentType string            `json:"content_type"`
	Checks      []string          `json:"checks"`
	Whole       bool              `json:"whole,omitempty"`    // the container and the recording's duration show that the media are whole
	Suspect     string            `json:"suspect,omitempty"`  // why the media are doubted
	Unproved    string            `json:"unproved,omitempty"` // why it is not known whether the media are whole
	Checksum    *ManifestChecksum `json:"checksum,omitempty"`
}

// ManifestChecksum is the full-object checksum that the store shows, in base64.
type ManifestChecksum struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

// ManifestRetention is the lock on the media and the manifest. If Mode is empty, no lock
// was set, and Note says why.
type ManifestRetention struct {
	Mode  string     `json:"mode,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	Note  string     `json:"note,omitempty"`
}

// ManifestTimes are UTC.
type ManifestTimes struct {
	Listed     time.Time  `json:"listed"`
	Downloaded *time.Time `json:"downloaded,omitempty"` // absent for adopted media
	Uploaded   time.Time  `json:"uploaded"`
}

// MediaOf returns what a manifest says of media as the store shows them.
func MediaOf(obj storage.Object, format, sha256 string) ManifestMedia {
	m := ManifestMedia{Key: obj.Key, VersionID: obj.VersionID, Format: format, Size: obj.Size, SHA256: sha256}
	if obj.Checksum.Algorithm != "" {
		m.Checksum = &ManifestChecksum{Algorithm: obj.Checksum.Algorithm, Value: obj.Checksum.Value}
	}
	return m
}

// SetRecording sets the recording's metadata. If raw is empty, the manifest says that they
// are lost.
func (m *Manifest) SetRecording(raw json.RawMessage) {
	m.Recording = raw
	if len(raw) == 0 {
		m.Recording = json.RawMessage("{}")
		m.Lacks = "the recording's metadata: it was deleted in Genesys before they were kept with the media"
	}
}

// Encode returns the manifest's bytes: one line, with the recording's own text unchanged
// except for white space between tokens.
func (m *Manifest) Encode() ([]byte, error) { return encode("manifest", m) }

// encode returns one line of JSON, without the escapes for HTML.
func encode(what string, v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return b.Bytes(), nil
}

// DecodeManifest reads a stored manifest. Another version of the schema is an error,
// because this archiverd does not know what it means.
func DecodeManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("decode manifest: %w", err)
	}
	if m.SchemaVersion != ManifestVersion {
		return nil, fmt.Errorf("decode manifest: version %d is not known to this archiverd", m.SchemaVersion)
	}
	if sum, err := hex.DecodeString(m.Media.SHA256); err != nil || len(sum) != sha256.Size || m.Media.Key == "" {
		return nil, fmt.Errorf("decode manifest: it names no media key and SHA-256")
	}
	return &m, nil
}

// Fingerprint returns the fingerprint of the recording in the manifest, or "".
func (m *Manifest) Fingerprint() string {
	rec, err := genesys.ParseRecording(m.Recording)
	if err != nil {
		return ""
	}
	return rec.Fingerprint
}

// Version returns the ledger's version made from the manifest. The manifest's own key,
// size and checksum are not set.
func (m *Manifest) Version() state.Version {
	v := state.Version{
		DateModified: m.DateModified, Fingerprint: m.Fingerprint(), Format: m.Media.Format,
		MediaKey: m.Media.Key, MediaVersionID: m.Media.VersionID, Size: m.Media.Size, SHA256: m.Media.SHA256,
		Whole: m.Media.Whole, Suspect: m.Media.Suspect, Unproved: m.Media.Unproved,
	}
	if c := m.Media.Checksum; c != nil {
		v.Checksum = c.Algorithm + ":" + c.Value
	}
	if l := m.Retention; l != nil && l.Until != nil {
		v.RetentionMode, v.RetainUntil = l.Mode, l.Until.UTC()
	}
	return v
}

// Describes reports whether the manifest belongs to this stored object of this recording.
func (m *Manifest) Describes(id, dateModified string, media storage.Object) bool {
	return m.RecordingID == id && m.DateModified == dateModified &&
		m.Media.Key == media.Key && m.Media.VersionID == media.VersionID && m.Media.Size == media.Size
}
