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

// JournalVersion is the newest version of the schema; docs/journal.schema.json describes it.
// Version 2 added acts and the states waived, erased and expired. An object that holds none
// of them has version 1, so that an earlier archiverd reads it.
const JournalVersion = 2

const (
	// JournalTime is the format of an object's name: the start of its pass, or the next
	// free nanosecond, so that names sort in the order of the chain.
	JournalTime = "20060102T150405.000000000Z"
	// MaxEvents and MaxEventBytes bound one object; further events go into the next. A
	// long pass writes objects before it ends.
	MaxEvents     = 2000
	MaxEventBytes = 4 << 20
	// maxJournal bounds the bytes read of one object: an event may exceed MaxEventBytes.
	maxJournal = 16 << 20
	// maxWord bounds the length of a text in an event that does not identify the event.
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

// JournalLink names the previous object.
type JournalLink struct {
	Key       string           `json:"key"`
	SHA256    string           `json:"sha256"`
	Retention JournalRetention `json:"retention,omitzero"` // its lock; absent: none
}

// JournalRetention is the lock that the store showed of a journal object after it was
// stored. The object cannot hold its own lock, so the next object holds it.
type JournalRetention struct {
	Mode  string    `json:"mode"`
	Until time.Time `json:"until"`
}

// JournalPass is the pass that wrote the object. The object may hold events of earlier
// passes that could not write them.
type JournalPass struct {
	state.Pass
	Summary *int64 `json:"summary,omitempty"` // recordings by the inbox's summary, if it said
	Total   *int64 `json:"total,omitempty"`   // recordings by the listing's last page, if it said
}

// JournalEvent is a change of a recording's state or of its bad keys, or an act on it, or a
// fault of the journal that a person accepted.
type JournalEvent struct {
	At        time.Time         `json:"at"`
	Recording string            `json:"recording,omitempty"`
	From      state.State       `json:"from,omitempty"`
	To        state.State       `json:"to,omitempty"`
	Why       string            `json:"why,omitempty"`      // the failure, or the checks made
	Stored    *JournalStored    `json:"stored,omitempty"`   // if the change added a version
	BadKeys   []string          `json:"bad_keys,omitempty"` // media keys found to hold other bytes than were written: never used again
	Listed    *JournalRecording `json:"listed,omitempty"`   // of a recording that failed, vanished, got a bad key or was waived, which no manifest describes; with a name only if nothing of it can be erased; of one that was disposed of, its dates alone
	Act       *state.Act        `json:"act,omitempty"`      // what a person did
	Versions  []state.Version   `json:"versions,omitempty"` // of an act that disposes of the recording: what it removes

	Accepted *state.AcceptedFault `json:"accepted,omitempty"` // set alone, with the time
}

// JournalStored is the archived version.
type JournalStored struct {
	MediaKey       string `json:"media_key"`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	ManifestKey    string `json:"manifest_key"`
	ManifestSHA256 string `json:"manifest_sha256"`
	Suspect        string `json:"suspect,omitempty"`  // why the media are doubted
	Unproved       string `json:"unproved,omitempty"` // why it is not known whether the media are whole
}

// JournalRecording is a recording as it was listed.
type JournalRecording struct {
	Name         string    `json:"name,omitempty"`
	Conversation string    `json:"conversation,omitempty"`
	Created      string    `json:"created,omitempty"`
	Modified     string    `json:"modified,omitempty"`
	First        time.Time `json:"first"` // when it was listed first
}

// Add adds an event to the object, and raises the object's version to the event's.
func (j *Journal) Add(e JournalEvent) {
	version := 1
	if e.Act != nil || e.From == state.StateWaived {
		version = 2
	}
	j.SchemaVersion = max(j.SchemaVersion, version)
	j.Events = append(j.Events, e)
}

// Encode returns the object's bytes: one line of JSON.
func (j *Journal) Encode() ([]byte, error) { return encode("journal", j) }

// HeadOf names a journal object, with the lock that the store shows.
func HeadOf(obj storage.Object, sum string) state.JournalHead {
	return state.JournalHead{
		Key: obj.Key, SHA256: sum, VersionID: obj.VersionID,
		RetentionMode: obj.Retention.Mode, RetainUntil: obj.Retention.Until.UTC(),
	}
}

// LockOf returns the lock that the store showed of a journal object.
func LockOf(at state.JournalHead) storage.Retention {
	return storage.Retention{Mode: at.RetentionMode, Until: at.RetainUntil}
}

// Tells reports whether the object holds exactly these events.
func (j *Journal) Tells(events []state.Event) bool {
	if len(j.Events) != len(events) {
		return false
	}
	for i, e := range j.Events {
		ev := events[i]
		if e.Recording != ev.Recording || e.From != ev.From || e.To != ev.To || !e.At.Equal(ev.At) || (e.Act == nil) != (ev.Act == nil) || e.Act != nil && e.Act.ID != ev.Act.ID {
			return false
		}
	}
	return true
}

// Clip cuts a text to the length that a journal allows.
func Clip(s string) string {
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "…"
}

// DecodeJournal reads a stored journal object. An unknown field is an error, because
// archiverd did not write it.
func DecodeJournal(text []byte) (*Journal, error) {
	var j Journal
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("decode journal: %w", err)
	}
	switch {
	case j.SchemaVersion < 1 || j.SchemaVersion > JournalVersion:
		return nil, fmt.Errorf("decode journal: version %d is not known to this archiverd", j.SchemaVersion)
	case strings.TrimSpace(string(text[d.InputOffset():])) != "":
		return nil, errors.New("decode journal: more than one JSON value")
	case j.Ledger == "" || j.Previous != nil && j.Previous.Key == "":
		return nil, errors.New("decode journal: it names no ledger, or an empty key of the previous object")
	}
	return &j, nil
}

// JournalStart reads the time that names a journal object.
func JournalStart(key string) (time.Time, bool) {
	name, ok := strings.CutSuffix(path.Base(key), ".json")
	t, err := time.Parse(JournalTime, name)
	return t, ok && err == nil
}
