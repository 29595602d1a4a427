package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// JournalVersion is the version of the form; docs/journal.schema.json describes it.
const JournalVersion = 1

const (
	// JournalTime is the name of an object: the start of its pass, or the next
	// nanosecond that is free, so that names sort as the chain goes.
	JournalTime = "20060102T150405.000000000Z"
	// MaxEvents and MaxEventBytes bound one object; what is more goes into the next.
	// A pass that takes long does not wait for its end to write the first.
	MaxEvents     = 2000
	MaxEventBytes = 4 << 20
	// maxJournal bounds what is read back: one event may come on top of MaxEventBytes.
	maxJournal = 16 << 20
	// maxWord bounds a text that is told beside what identifies an event.
	maxWord = 2000
)

// Journal is one object of an inbox's journal: one line of JSON.
type Journal struct {
	SchemaVersion int            `json:"schema_version"`
	Organization  string         `json:"organization"`
	Inbox         string         `json:"inbox"`              // the user's id
	Previous      *JournalLink   `json:"previous,omitempty"` // absent in the first object
	Pass          JournalPass    `json:"pass"`
	Events        []JournalEvent `json:"events"`        // in the order in which they happened
	Configuration string         `json:"configuration"` // SHA-256 of the configuration without its secrets
	Ledger        string         `json:"ledger"`        // id of the ledger that wrote it
	Archiverd     string         `json:"archiverd"`     // version that wrote it
}

// JournalLink names the object before.
type JournalLink struct {
	Key       string           `json:"key"`
	SHA256    string           `json:"sha256"`
	Retention JournalRetention `json:"retention,omitzero"` // its lock; absent: none
}

// JournalRetention is the lock that the store showed of a journal object once that was
// stored: it can't tell so itself.
type JournalRetention struct {
	Mode  string    `json:"mode"`
	Until time.Time `json:"until"`
}

// JournalPass is the pass that wrote the object. Its events may be of earlier
// passes, which could not write theirs.
type JournalPass struct {
	state.Pass
	Summary *int64 `json:"summary,omitempty"` // recordings by the inbox's summary, if it said
	Total   *int64 `json:"total,omitempty"`   // recordings by the listing's last page, if it said
}

// JournalEvent is one change of a recording's state, or of its bad keys, or that a
// person accepted a fault of the journal.
type JournalEvent struct {
	At        time.Time         `json:"at"`
	Recording string            `json:"recording,omitempty"`
	From      state.State       `json:"from,omitempty"`
	To        state.State       `json:"to,omitempty"`
	Why       string            `json:"why,omitempty"`      // the failure, or what was checked
	Stored    *JournalStored    `json:"stored,omitempty"`   // where the change added a version
	BadKeys   []string          `json:"bad_keys,omitempty"` // media keys found to hold other bytes than were written: never used again
	Listed    *JournalRecording `json:"listed,omitempty"`   // of a recording that failed, vanished or got a bad key, which no manifest describes

	Accepted *state.AcceptedFault `json:"accepted,omitempty"` // and nothing else but the time
}

// JournalStored is what was archived.
type JournalStored struct {
	MediaKey       string `json:"media_key"`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	ManifestKey    string `json:"manifest_key"`
	ManifestSHA256 string `json:"manifest_sha256"`
	Suspect        string `json:"suspect,omitempty"`  // why the media are doubted
	Unproved       string `json:"unproved,omitempty"` // why it is not known whether the media are whole
}

// JournalRecording is what the listing said of a recording.
type JournalRecording struct {
	Name         string    `json:"name,omitempty"`
	Conversation string    `json:"conversation,omitempty"`
	Created      string    `json:"created,omitempty"`
	Modified     string    `json:"modified,omitempty"`
	First        time.Time `json:"first"` // when it was listed first
}

// HeadOf names a journal object, with the lock that the store shows.
func HeadOf(obj storage.Object, sum string) state.JournalHead {
	return state.JournalHead{
		Key: obj.Key, SHA256: sum, VersionID: obj.VersionID,
		RetentionMode: obj.Retention.Mode, RetainUntil: obj.Retention.Until.UTC(),
	}
}

func LockOf(at state.JournalHead) storage.Retention {
	return storage.Retention{Mode: at.RetentionMode, Until: at.RetainUntil}
}

// Tells whether the object holds just these events.
func (j *Journal) Tells(events []state.Event) bool {
	if len(j.Events) != len(events) {
		return false
	}
	for i, e := range j.Events {
		ev := events[i]
		if e.Recording != ev.Recording || e.From != ev.From || e.To != ev.To || !e.At.Equal(ev.At) {
			return false
		}
	}
	return true
}

// Clip bounds a text.
func Clip(s string) string {
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "…"
}

// DecodeJournal reads a stored journal object, strictly: what it has beside the form
// that is known here was not written by archiverd.
func DecodeJournal(text []byte) (*Journal, error) {
	var j Journal
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("decode journal: %w", err)
	}
	switch {
	case j.SchemaVersion != JournalVersion:
		return nil, fmt.Errorf("decode journal: version %d is not known to this archiverd", j.SchemaVersion)
	case strings.TrimSpace(string(text[d.InputOffset():])) != "":
		return nil, errors.New("decode journal: more than one JSON value")
	case j.Ledger == "" || j.Previous != nil && j.Previous.Key == "":
		return nil, errors.New("decode journal: it names no ledger, or no object before")
	}
	return &j, nil
}

// JournalStart reads the time that names a journal object.
func JournalStart(key string) (time.Time, bool) {
	name, ok := strings.CutSuffix(path.Base(key), ".json")
	t, err := time.Parse(JournalTime, name)
	return t, ok && err == nil
}
