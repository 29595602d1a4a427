package state

import "time"

// Event is one change of an entry's state, or of its bad keys, or an act on it, or a fault
// of the journal that a person accepted. The transaction that makes the change records the
// event, so that a crash cannot separate them. The event is kept until the journal in
// the archive has it. Listing a recording for the first time makes no event; archiving
// it, failing, or finding it vanished does.
type Event struct {
	Number    uint64    `json:"-"` // events of one inbox count up
	Recording string    `json:"-"`
	At        time.Time `json:"at"`
	From      State     `json:"from,omitempty"`
	To        State     `json:"to,omitempty"`
	Version   int       `json:"version,omitempty"`  // which of the entry's versions, from 1, the change added; 0: none
	BadKeys   []string  `json:"bad_keys,omitempty"` // the keys that the change added, which may be all that changed
	Why       string    `json:"why,omitempty"`      // the edit's Entry.Why, or the entry's error
	Act       *Act      `json:"act,omitempty"`      // the act that the change added; when the entry becomes erased or expired: the act that ordered it
	// Accepted is a fault that a person accepted; then no entry changed.
	Accepted *AcceptedFault `json:"accepted,omitempty"`
}

// AcceptedFault is a faulty object of an inbox's journal that a person has accepted.
type AcceptedFault struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256,omitempty"` // of the object at the key; "": there is no object
	Fault  string `json:"fault"`            // for people
}

// JournalHead names the newest object of an inbox's journal. The zero value means that
// there is none.
type JournalHead struct {
	Key       string `json:"key"`
	SHA256    string `json:"sha256"`
	VersionID string `json:"version,omitempty"`
	// The lock that the store showed when the head moved here.
	RetentionMode string    `json:"retention_mode,omitempty"`
	RetainUntil   time.Time `json:"retain_until,omitzero"`
}

// newEvent returns the event of a change from old to e, or nil if the change makes none.
func newEvent(recording string, old, e *Entry, now time.Time) *Event {
	if old == nil || old.State == e.State && len(e.BadKeys) == len(old.BadKeys) && len(e.Acts) == len(old.Acts) {
		return nil
	}
	ev := &Event{
		Recording: recording, At: now.UTC(), From: old.State, To: e.State,
		BadKeys: e.BadKeys[len(old.BadKeys):], Why: e.Why,
	}
	if len(e.Versions) > len(old.Versions) {
		ev.Version = len(e.Versions)
	}
	if n := len(old.Acts); len(e.Acts) > n {
		act := e.Acts[n]
		ev.Act = &act
	} else if e.State.Disposed() {
		act := *e.Disposal()
		ev.Act = &act
	}
	if ev.Why == "" && ev.From != ev.To && (e.State == StateFailed || e.State == StateVanished || e.State == StateArchived) {
		ev.Why = e.LastError
	}
	return ev
}
