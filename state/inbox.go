package state

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// Conditions of an inbox.
const (
	ConditionOK         = "ok"
	ConditionNeedsLogin = "needs_login"
	ConditionFailing    = "failing"
	ConditionShort      = "short" // Genesys counts more recordings than it lists
)

// Inbox is one user's inbox.
type Inbox struct {
	Org         string          `json:"org,omitempty"` // as configured; with ID the key
	ID          string          `json:"id,omitempty"`  // of the user
	Name        string          `json:"name,omitempty"`
	Email       string          `json:"email,omitempty"`
	Condition   string          `json:"condition,omitempty"`    // one of the conditions
	Reason      string          `json:"reason,omitempty"`       // for people: why the inbox is in that condition
	Counts      map[State]int64 `json:"counts,omitempty"`       // entries in each state that has any. Kept by the ledger
	Bytes       int64           `json:"bytes,omitempty"`        // of media of all versions ever archived. Kept by the ledger
	Totals      Totals          `json:"totals,omitzero"`        // Kept by the ledger
	NeedsPerson int64           `json:"needs_person,omitempty"` // failed entries that need a person. Kept by the ledger
	Suspect     int64           `json:"suspect,omitempty"`      // recordings whose newest version is suspect. Kept by the ledger
	Unproved    int64           `json:"unproved,omitempty"`     // recordings whose newest version is not proved whole. Kept by the ledger
	LastPass    *Pass           `json:"last_pass,omitempty"`    // the newest of Passes; nil: none yet. Kept by the ledger
	AddedAt     time.Time       `json:"added_at,omitzero"`      // set by the ledger when it creates the inbox
	LastSuccess time.Time       `json:"last_success,omitzero"`
	// OldestWaiting is the date of the oldest recording that the last pass left
	// unarchived; zero: it left none.
	OldestWaiting time.Time   `json:"oldest_waiting,omitzero"`
	NotBefore     time.Time   `json:"not_before,omitzero"` // the earliest time for the next request, set by a Retry-After
	Journal       JournalHead `json:"journal,omitzero"`    // kept by MoveJournal
	// OwnerClaimed: the archive's owner object for the inbox names this ledger.
	OwnerClaimed bool `json:"owner_claimed,omitempty"`
	// AcceptGone: a person has confirmed that a great number of missing recordings are really gone.
	AcceptGone bool `json:"accept_gone,omitempty"`
	// Rebuilt: the inbox's entries were made from the archive, and no reconcile has
	// confirmed them yet. Until then nothing is deleted from the inbox.
	Rebuilt bool `json:"rebuilt,omitempty"`
	// AcceptedFaults of the journal; kept by AcceptFaults.
	AcceptedFaults []AcceptedFault `json:"accepted_faults,omitempty"`
	// LoggedOut: a person has logged the inbox out. It is not archived until its user logs in again.
	LoggedOut bool `json:"logged_out,omitempty"`
}

// Totals count the events of an inbox's recordings since the ledger was made. They only
// grow.
type Totals struct {
	Archived int64 `json:"archived,omitempty"` // versions that the archive holds
	Failed   int64 `json:"failed,omitempty"`   // failed attempts to archive a recording
	Vanished int64 `json:"vanished,omitempty"`
	Gone     int64 `json:"gone,omitempty"`
	Deleted  int64 `json:"deleted,omitempty"`
	Findings int64 `json:"findings,omitempty"` // of all passes
}

// Pass is the result of one pass over an inbox. The numbers count recordings, but Bytes
// counts bytes of archived media, Findings counts objects, and Walks counts walks through
// the listing.
type Pass struct {
	Start           time.Time `json:"start"`
	End             time.Time `json:"end,omitzero"`
	Complete        bool      `json:"complete,omitempty"`
	Listed          int64     `json:"listed,omitempty"`
	Missing         int64     `json:"missing,omitempty"` // counted by Genesys and not listed
	Archived        int64     `json:"archived,omitempty"`
	Adopted         int64     `json:"adopted,omitempty"`
	Failed          int64     `json:"failed,omitempty"`
	Vanished        int64     `json:"vanished,omitempty"`
	Gone            int64     `json:"gone,omitempty"`
	DeleteRequested int64     `json:"delete_requested,omitempty"`
	Deleted         int64     `json:"deleted,omitempty"`
	Bytes           int64     `json:"bytes,omitempty"`
	Findings        int64     `json:"findings,omitempty"` // objects that contradict the ledger or the archive's rules
	Walks           int       `json:"walks,omitempty"`
	Error           string    `json:"error,omitempty"`
}

// UploadRef names a multipart upload, so that an upload left behind can be aborted.
type UploadRef struct {
	Org     string    `json:"org,omitempty"`   // Org and Inbox name the inbox that the object belongs to;
	Inbox   string    `json:"inbox,omitempty"` // both are "" in records of an earlier version
	Key     string    `json:"-"`               // of the object
	ID      string    `json:"-"`               // the store's id of the upload
	Started time.Time `json:"started,omitzero"`
	Aborted time.Time `json:"aborted,omitzero"` // when the archiver first aborted it after it was left behind
}

// Clone returns a copy that shares nothing with the inbox but its LastPass.
func (in *Inbox) Clone() *Inbox {
	c := *in
	c.Counts, c.AcceptedFaults = maps.Clone(in.Counts), slices.Clone(in.AcceptedFaults)
	return &c
}

// Equal reports whether both are the same in every field.
func (in *Inbox) Equal(other *Inbox) bool { return reflect.DeepEqual(in, other) }

// Edit lets edit change the inbox, except for the fields that the ledger keeps itself:
// Org, ID, Counts, Bytes, Totals, NeedsPerson, Suspect, Unproved, LastPass, Journal and
// AcceptedFaults stay unchanged.
func (in *Inbox) Edit(edit func(*Inbox)) {
	c := in.Clone()
	edit(c)
	c.Org, c.ID, c.LastPass = in.Org, in.ID, in.LastPass
	c.Counts, c.Bytes, c.Totals = in.Counts, in.Bytes, in.Totals
	c.NeedsPerson, c.Suspect, c.Unproved = in.NeedsPerson, in.Suspect, in.Unproved
	c.Journal, c.AcceptedFaults = in.Journal, in.AcceptedFaults
	*in = *c
}

// Account updates the counters for an entry that changed from old, or nil, to e.
func (in *Inbox) Account(old, e *Entry) {
	if old == nil {
		old = &Entry{}
	}
	in.count(old.State, -1)
	in.count(e.State, 1)
	in.Bytes += e.bytes() - old.bytes()
	in.Totals.Archived += int64(len(e.Versions) - len(old.Versions))
	in.NeedsPerson += e.person() - old.person()
	suspect, unproved := e.doubt()
	suspected, doubted := old.doubt()
	in.Suspect += suspect - suspected
	in.Unproved += unproved - doubted
	switch {
	case e.State == StateFailed && e.Attempts > old.Attempts:
		in.Totals.Failed++
	case e.State == old.State:
	case e.State == StateVanished:
		in.Totals.Vanished++
	case e.State == StateGone:
		in.Totals.Gone++
	case e.State == StateDeleted:
		in.Totals.Deleted++
	}
}

// Expected returns how many of the inbox's recordings should be in its listing.
func (in *Inbox) Expected() (n int64) {
	for s, count := range in.Counts {
		if s.Expected() {
			n += count
		}
	}
	return n
}

func (in *Inbox) count(s State, n int64) {
	if s == "" {
		return
	}
	if in.Counts == nil {
		in.Counts = make(map[State]int64)
	}
	in.Counts[s] += n
	if in.Counts[s] == 0 {
		delete(in.Counts, s)
	}
}
