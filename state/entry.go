package state

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// State is the state of a recording. The empty State is that of a recording which the
// ledger doesn't know.
type State string

// The states of an entry; the edges between them are in edges.go.
const (
	StateListed          State = "listed"           // listed in the inbox, not archived yet
	StateFailed          State = "failed"           // archiving failed; NextAttempt says when to try again
	StateArchived        State = "archived"         // media and manifest are in the archive, verified
	StateDeleteRequested State = "delete_requested" // archived, and a DELETE may have been sent
	StateDeleted         State = "deleted"          // archived, and our DELETE removed the original
	StateVanished        State = "vanished"         // the original disappeared before it was archived
	StateGone            State = "gone"             // archived, and the original disappeared without our DELETE
	StateWaived          State = "waived"           // not archived, and a person accepts that
	StateErased          State = "erased"           // removed from the archive by an order; final
	StateExpired         State = "expired"          // removed from the archive after its retention; final
)

// States returns all states of an entry, in the order in which a recording passes them.
// The caller owns it.
func States() []State {
	return []State{StateListed, StateFailed, StateArchived, StateDeleteRequested, StateDeleted, StateVanished, StateGone, StateWaived, StateErased, StateExpired}
}

// Meaning explains the state to a person.
func (s State) Meaning() string {
	switch s {
	case StateListed:
		return "waits to be archived"
	case StateFailed:
		return "could not be archived yet"
	case StateArchived:
		return "media and manifest are in the archive, the original is not deleted"
	case StateDeleteRequested:
		return "archived, and Genesys was asked to delete the original"
	case StateDeleted:
		return "archived, and the original deleted by archiverd"
	case StateVanished:
		return "deleted in Genesys before it could be archived"
	case StateGone:
		return "archived, and deleted in Genesys by someone else"
	case StateWaived:
		return "not archived, and a person accepts that"
	case StateErased:
		return "removed from the archive by an order"
	case StateExpired:
		return "removed from the archive after its retention"
	}
	return "unknown to this archiverd"
}

// Past reports whether passes ignore entries in this state until their recordings are
// listed again.
func (s State) Past() bool {
	return s == StateDeleted || s == StateVanished || s == StateGone || s == StateWaived || s.Disposed()
}

// Disposed reports whether an entry in this state names objects that must not exist any
// more. Its recording is never archived again.
func (s State) Disposed() bool { return s == StateErased || s == StateExpired }

// Stored reports whether an entry in this state must name objects in the archive.
func (s State) Stored() bool {
	return s == StateArchived || s == StateDeleteRequested || s == StateDeleted || s == StateGone
}

// Expected reports whether a recording in this state should be in its inbox's listing.
func (s State) Expected() bool {
	return s == StateListed || s == StateFailed || s == StateArchived
}

// Key names a recording: the organization as configured, the inbox by its
// user's id, the recording by its id.
type Key struct{ Org, Inbox, Recording string }

// MaxID is the longest key of an entry in a ledger, in bytes: bbolt's limit. Every ledger has
// it, so that a ledger can move from one to the other.
const MaxID = 32768

// CheckInbox returns why no ledger can keep an inbox under these ids, or nil.
func CheckInbox(org, id string) error {
	if org == "" || strings.Trim(org, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("organization %q: want letters a-z, digits and '-'", org)
	}
	return checkLen("inbox", id, MaxID-len(org)-1)
}

// CheckRecording returns why no ledger can keep a recording under this id, or nil.
func CheckRecording(id string) error { return checkLen("recording", id, MaxID) }

func checkLen(what, id string, most int) error {
	switch {
	case id == "":
		return fmt.Errorf("the id of the %s is empty", what)
	case len(id) > most:
		return fmt.Errorf("the id of the %s has %d bytes; the ledger takes %d", what, len(id), most)
	}
	return nil
}

// String returns the key for messages; ids that aren't plain are quoted.
func (k Key) String() string {
	s := k.Org + "/" + k.Inbox + "/" + k.Recording
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		return q
	}
	return s
}

// Entry is the ledger's record of one recording. Times and dates given as strings are
// as the API gave them. A string that is not UTF-8 is converted when it is stored; an
// object key that is not UTF-8 is refused.
type Entry struct {
	State State `json:"state"`

	// From the newest listing.
	Name           string          `json:"name,omitempty"`
	ConversationID string          `json:"conversation,omitempty"`
	DateCreated    string          `json:"created,omitempty"`
	DateModified   string          `json:"modified,omitempty"`
	Fingerprint    string          `json:"fingerprint,omitempty"`  // genesys.Recording's; "": listed by an earlier archiverd without fingerprints
	Milliseconds   int64           `json:"duration_ms,omitempty"`  // the recording's duration; 0: not known
	Participants   []Participant   `json:"participants,omitempty"` // of the conversation, as far as the listing showed them
	ListedAt       time.Time       `json:"listed_at,omitzero"`     // when first listed; the ledger sets it if the creating edit leaves it zero
	Raw            json.RawMessage `json:"raw,omitempty"`          // the recording as listed, byte for byte; dropped once archived
	Expanded       bool            `json:"expanded,omitempty"`     // Raw was listed with expand=conversation

	MediaKey string    `json:"media_key,omitempty"` // the first key, from which all later ones are made: once set it can't change
	Versions []Version `json:"versions,omitempty"`  // oldest first; never removed
	BadKeys  []string  `json:"bad_keys,omitempty"`  // media keys at which the store holds other bytes than were written; never used again, never removed from this list

	Attempts    int       `json:"attempts,omitempty"`
	LastError   string    `json:"error,omitempty"`
	FailedSince time.Time `json:"failed_since,omitzero"`
	NextAttempt time.Time `json:"next_attempt,omitzero"`  // to archive the recording; if it is archived, to delete its original
	NeedsPerson bool      `json:"needs_person,omitempty"` // archiving has failed for so long that further attempts alone won't help
	Mismatches  int       `json:"mismatches,omitempty"`   // passes in which the media disagreed with their own header or the metadata
	Changes     int       `json:"changes,omitempty"`      // consecutive passes that found the archived recording changed
	Twin        string    `json:"twin,omitempty"`         // SHA-256 of media that Genesys also served for another recording: both are downloaded once more
	TwinAsked   bool      `json:"twin_asked,omitempty"`   // the second download gave the same media

	MissingSince      time.Time `json:"missing_since,omitzero"` // start of the pass whose complete listing first lacked the recording; zero: listed
	DeleteRequestedAt time.Time `json:"delete_requested_at,omitzero"`
	DeleteAttempts    int       `json:"delete_attempts,omitempty"`

	Acts []Act `json:"acts,omitempty"` // what persons did with the recording, oldest first; never removed

	// Why is an edit's reason for its change of state. It goes into the change's Event;
	// an entry read from the ledger has none.
	Why string `json:"-"`
}

// Version is one archived version of a recording: a media object and its manifest.
// Versions with the same media share the media object. MediaKey, Size and SHA256 can't
// change once in the ledger.
type Version struct {
	DateModified      string    `json:"modified,omitempty"`          // the recording's, as Genesys shows it for these media
	ManifestModified  string    `json:"manifest_modified,omitempty"` // the manifest's date_modified, if the recording's has changed since
	Fingerprint       string    `json:"fingerprint,omitempty"`       // of the other metadata that describe the media; "": not known
	Format            string    `json:"format,omitempty"`
	MediaKey          string    `json:"media_key"`
	MediaVersionID    string    `json:"media_version,omitempty"`
	ManifestKey       string    `json:"manifest_key"`
	ManifestVersionID string    `json:"manifest_version,omitempty"`
	Size              int64     `json:"size"`               // bytes of media
	SHA256            string    `json:"sha256"`             // of the media, 64 hex digits in lower case
	Checksum          string    `json:"checksum,omitempty"` // "CRC32:base64" as the store shows it; "" if it shows none
	ManifestSize      int64     `json:"manifest_size,omitempty"`
	ManifestSHA256    string    `json:"manifest_sha256,omitempty"`
	RetentionMode     string    `json:"retention,omitempty"`
	RetainUntil       time.Time `json:"retain_until,omitzero"`
	ArchivedAt        time.Time `json:"archived_at,omitzero"`
	Suspect           string    `json:"suspect,omitempty"`  // why the media are doubted: the original is never deleted
	Unproved          string    `json:"unproved,omitempty"` // why it is not known whether the media are whole
	// Whole: the container and the recording's duration showed that the media are
	// whole. If Suspect, Unproved and Whole are all unset, the media were never checked.
	Whole bool `json:"whole,omitempty"`
	Held  bool `json:"held,omitempty"` // the store showed its own legal hold on media and manifest
}

// sha256Empty is the hash of no bytes: the only one a version of size 0 may have.
const sha256Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// Clone returns a copy that shares nothing with the entry.
func (e *Entry) Clone() Entry {
	c := *e
	c.Raw = slices.Clone(e.Raw)
	c.Versions = slices.Clone(e.Versions)
	c.BadKeys = slices.Clone(e.BadKeys)
	c.Acts = slices.Clone(e.Acts)
	c.Participants = slices.Clone(e.Participants)
	return c
}

// Newest returns the newest version; the zero Version where there is none.
func (e *Entry) Newest() Version {
	if len(e.Versions) == 0 {
		return Version{}
	}
	return e.Versions[len(e.Versions)-1]
}

// bytes returns the size of all versions' media. Media that two versions share count
// twice, as the counter has always counted them.
func (e *Entry) bytes() (n int64) {
	for _, v := range e.Versions {
		n += v.Size
	}
	return n
}

// doubt returns 1 or 0 for each: whether the newest version's media are suspect, and
// whether they are unproved. Of an entry that was disposed of there are no media.
func (e *Entry) doubt() (suspect, unproved int64) {
	if len(e.Versions) == 0 || e.State.Disposed() {
		return 0, 0
	}
	switch v := e.Versions[len(e.Versions)-1]; {
	case v.Suspect != "":
		return 1, 0
	case v.Unproved != "":
		return 0, 1
	}
	return 0, 0
}

// person returns 1 for an entry that needs a person, else 0.
func (e *Entry) person() int64 {
	if e.State == StateFailed && e.NeedsPerson {
		return 1
	}
	return 0
}

// Check returns why the entry must not be in a ledger, as an ErrInvalid, or nil.
func (e *Entry) Check() error {
	switch e.State {
	case StateListed, StateFailed, StateVanished, StateErased, StateExpired:
	case StateWaived:
		if !slices.ContainsFunc(e.Acts, func(a Act) bool { return a.Kind == ActWaive }) {
			return fmt.Errorf("%w: waived, and no act to waive it", ErrInvalid)
		}
	default:
		if !e.State.Stored() {
			return fmt.Errorf("%w: state %q", ErrInvalid, e.State)
		}
		if len(e.Versions) == 0 {
			return fmt.Errorf("%w: %s without a version", ErrInvalid, e.State)
		}
		if len(e.Raw) > 0 {
			return fmt.Errorf("%w: %s with the recording as listed", ErrInvalid, e.State)
		}
	}
	for _, key := range append([]string{e.MediaKey}, e.BadKeys...) {
		if !utf8.ValidString(key) {
			return fmt.Errorf("%w: media key %q is not UTF-8", ErrInvalid, key)
		}
	}
	for i := range e.Versions {
		if err := e.Versions[i].check(); err != nil {
			return fmt.Errorf("%w: version %d: %w", ErrInvalid, i+1, err)
		}
	}
	for i := range e.Acts {
		if err := e.Acts[i].check(); err != nil {
			return fmt.Errorf("%w: act %d: %w", ErrInvalid, i+1, err)
		}
	}
	return e.checkDisposal()
}

func (v *Version) check() error {
	switch {
	case v.MediaKey == "" || v.ManifestKey == "":
		return fmt.Errorf("media key %q, manifest key %q", v.MediaKey, v.ManifestKey)
	case !utf8.ValidString(v.MediaKey) || !utf8.ValidString(v.ManifestKey):
		return fmt.Errorf("keys %q, %q: not UTF-8", v.MediaKey, v.ManifestKey)
	case !isSHA256(v.SHA256):
		return fmt.Errorf("SHA-256 %q", v.SHA256)
	case v.ManifestSHA256 != "" && !isSHA256(v.ManifestSHA256):
		return fmt.Errorf("the manifest's SHA-256 %q", v.ManifestSHA256)
	case v.Size < 0 || v.ManifestSize < 0 || (v.Size == 0) != (v.SHA256 == sha256Empty):
		return fmt.Errorf("sizes %d and %d with SHA-256 %s", v.Size, v.ManifestSize, v.SHA256)
	}
	return nil
}

func isSHA256(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil && len(s) == 64 && s == strings.ToLower(s)
}

// Settled returns the newest version's dateModified, followed by a space and its
// fingerprint if that is known, for an entry that is archived, not missing and not
// changing. A recording that is listed with the same two has not changed. For any other
// entry Settled returns "", and the entry has to be read.
func (e *Entry) Settled() string {
	n := len(e.Versions)
	if e.State != StateArchived || !e.MissingSince.IsZero() || e.Changes > 0 || n == 0 {
		return ""
	}
	shown := e.Versions[n-1].DateModified
	if f := e.Versions[n-1].Fingerprint; f != "" {
		shown += " " + f
	}
	if len(shown) > 255 {
		return ""
	}
	return shown
}
