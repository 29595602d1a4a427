package audit

import (
	"slices"
	"time"

	"github.com/archiverd/archiverd/record"
)

// Reconciled is one recording in its class.
type Reconciled struct {
	Class     Class  `json:"class"`
	Org       string `json:"org"`
	Inbox     string `json:"inbox"`
	Recording string `json:"recording"` // its id; or a hash of a long id that only a key shows
	Detail    string `json:"detail,omitempty"`
}

// Listener gets each recording, and each object that the ledger does not name. Its
// methods are called one at a time.
type Listener interface {
	Recording(Reconciled) error
	Object(Unnamed) error
}

// Span selects recordings by the UTC day of dateCreated that is in their keys: from From on,
// before To. Either may be zero. If both are, recordings without a date are selected too.
type Span struct{ From, To time.Time }

func (s Span) holds(day time.Time) bool {
	if s == (Span{}) {
		return true
	}
	return !day.IsZero() && !day.Before(s.From) && (s.To.IsZero() || day.Before(s.To))
}

// Reconciliation is the result for one inbox. Its sums are counted independently of each other,
// and Checks compares them.
type Reconciliation struct {
	Org     string        `json:"org"`
	Inbox   string        `json:"inbox"`
	Genesys GenesysSide   `json:"genesys"`
	Classes []ClassTotal  `json:"classes"` // all, in the order of Classes
	Objects []ObjectTotal `json:"objects"` // all, in the order of ObjectKinds
	Stored  Verification  `json:"stored"`  // the objects that the ledger names, by HEAD
	Owner   string        `json:"owner"`   // which ledger owns the inbox, in words
	Journal JournalSide   `json:"journal"`
	Checks  []CrossCheck  `json:"checks"`
}

// GenesysSide is what Genesys showed.
type GenesysSide struct {
	NotAsked   string `json:"not_asked,omitempty"` // why the listing is absent or broke off
	Err        error  `json:"-"`                   // the same, for failure.KindOf
	Complete   bool   `json:"complete"`            // the listing proved itself complete
	Summary    *int64 `json:"summary,omitempty"`   // the inbox's own count, of all dates
	Listed     int64  `json:"listed"`              // distinct recordings
	Missing    int64  `json:"missing,omitempty"`   // counted by Genesys and not listed, of all dates
	Unreadable int    `json:"unreadable"`          // listed without an id
}

// JournalSide is the inbox's journal: how many objects, and where the chain is broken.
type JournalSide struct {
	Objects  int64                 `json:"objects"`
	Faults   []record.JournalFault `json:"faults"`
	Accepted []record.JournalFault `json:"accepted,omitempty"` // by a person: they count as faults no longer
}

// ClassTotal counts the recordings of a class, and how many of them each side has.
type ClassTotal struct {
	Class      Class `json:"class"`
	Recordings int64 `json:"recordings"`
	Genesys    int64 `json:"genesys"`
	Ledger     int64 `json:"ledger"`
	Bucket     int64 `json:"bucket"`
}

// CrossCheck compares a sum with an independent count.
type CrossCheck struct {
	What  string `json:"what"`
	Sum   int64  `json:"sum"`   // of the rows of a table
	Count int64  `json:"count"` // of the recordings or objects themselves
}

// Total adds up the classes.
func (r *Reconciliation) Total() (t ClassTotal) {
	for _, c := range r.Classes {
		t.Recordings, t.Genesys, t.Ledger, t.Bucket = t.Recordings+c.Recordings, t.Genesys+c.Genesys, t.Ledger+c.Ledger, t.Bucket+c.Bucket
	}
	return t
}

// TotalObjects adds up the kinds.
func (r *Reconciliation) TotalObjects() (n int64) {
	for _, o := range r.Objects {
		n += o.Objects
	}
	return n
}

// Wrong counts the recordings in classes that are Wrong.
func (r *Reconciliation) Wrong() (n int64) {
	for _, c := range r.Classes {
		if c.Class.Wrong() {
			n += c.Recordings
		}
	}
	return n
}

// Sound reports whether nothing wrong was found in the archive.
func (r *Reconciliation) Sound() bool {
	for _, o := range r.Objects {
		if o.Kind.Wrong() && o.Objects > 0 {
			return false
		}
	}
	return r.Wrong() == 0 && len(r.Journal.Faults) == 0 && !slices.ContainsFunc(r.Checks, func(c CrossCheck) bool { return c.Sum != c.Count })
}

// Clean reports whether the archive is sound and the whole inbox could be listed.
func (r *Reconciliation) Clean() bool {
	return r.Sound() && r.Genesys.Err == nil && r.Genesys.Complete && r.Genesys.Unreadable == 0
}
