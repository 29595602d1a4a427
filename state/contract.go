// Package state defines the ledger: the data that it keeps of every recording of every
// inbox, the changes that are allowed, the side effects of each change, and the contract
// that every ledger keeps. The package does no I/O. Package state/bolt keeps a ledger in
// a file, package state/postgres in a database; package state/statetest tests a ledger
// against this contract.
//
// Every ledger promises:
//
//   - A method that changes the ledger returns nil only once the change is durable,
//     and an error only if no part of the change was made. If the medium itself fails
//     during the write, the change may be made in spite of the error: read again. The
//     ledger stays consistent in any case.
//   - A method whose context has ended returns the context's error and changes
//     nothing. Call it with a context without cancellation if it must write although
//     the caller has given up.
//   - An entry changes only along an edge of the table in edges.go, and only from
//     the state that the caller expects: a compare-and-set. An entry that is archived
//     names at least one version with its keys, size and SHA-256, and these never
//     change or disappear.
//   - The counters and the events of an inbox change in the transaction that changes
//     its entries. So reading the counters needs no walk over the entries, and each
//     change of an entry's state has an event until MoveJournal drops it.
//   - The caller owns every value that a method returns.
//
// All methods may be called concurrently. Callbacks run inside a transaction and must
// not call the ledger, except for those of Scan and ScanWaiting.
package state

import (
	"context"
	"errors"
	"time"
)

// Errors that callers branch on, with errors.Is.
var (
	ErrNotFound     = errors.New("not in the ledger")
	ErrEdge         = errors.New("no such change of state")
	ErrInvalid      = errors.New("invalid entry")
	ErrOrdered      = errors.New("a person ordered otherwise")    // comes with ErrInvalid: an act in the entry forbids the change
	ErrDamaged      = errors.New("the ledger is damaged")         // it does not hold what was written
	ErrJournalMoved = errors.New("the journal's head has moved")  // the head is not the one that the caller expects
	ErrTokenMoved   = errors.New("the inbox has another token")   // the token is not the one that the caller expects
	ErrLoggedOut    = errors.New("the inbox has been logged out") // a renewal must not save its token
	ErrUnavailable  = errors.New("the ledger can't be reached now")
	ErrClaimed      = errors.New("another process works on the inbox")
	ErrClaimLost    = errors.New("the claim on the inbox is lost") // it was released, it ran out, or another process has it
)

// Errors of opening a ledger.
var (
	ErrNoLedger = errors.New("there is no ledger")
	ErrNewer    = errors.New("the ledger was written by a newer archiverd")
	ErrSealKey  = errors.New("the ledger's tokens need the seal key they were sealed with")
)

// Recordings is the part of a ledger that keeps entries.
type Recordings interface {
	// Entry reads one entry; ErrNotFound if there is none.
	Entry(ctx context.Context, k Key) (Entry, error)

	// Entries reads the entries of some recordings of one inbox, at one moment. It leaves
	// out recordings that have none.
	Entries(ctx context.Context, org, inbox string, recordings []string) (map[string]Entry, error)

	// Move takes the entry from one state to another, or edits it within its state if
	// both are the same, and returns the changed entry. From "" it creates the entry,
	// and the inbox if that is new. edit may be nil. It gets the entry to change, may
	// run more than once, each time on a fresh copy, and must change nothing else. See
	// Change.Apply for the changes beside the edit.
	//
	// Errors: *ConflictError if the entry is not in state from, ErrEdge if the edge is
	// not in the table, ErrInvalid if the edit breaks a promise.
	Move(ctx context.Context, k Key, from, to State, edit func(*Entry)) (Entry, error)

	// List applies one page of a listing in one transaction: all of it or nothing.
	// f reads entries of the given recordings with get, which must not be called after f
	// has returned, and returns the changes, each like a Move. A recording may have
	// several changes; they are applied in their order. f may run more than once.
	List(ctx context.Context, org, inbox string, recordings []string, f func(get func(recording string) (Entry, bool)) []Change) error

	// Archived returns Entry.Settled of each recording; "" where the ledger does not
	// know the recording. It is far cheaper than reading the entries.
	Archived(ctx context.Context, org, inbox string, recordings []string) ([]string, error)

	// Live returns entries of one inbox that are listed, failed, archived or
	// delete_requested, in the order of their ids' bytes, beginning with the first id
	// after `after`, at most limit entries. It leaves out entries for which skip, if
	// set, returns true.
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]KeyedEntry, error)

	// Waiting returns the entries of Live that are listed or failed. Archived entries
	// cost next to nothing.
	Waiting(ctx context.Context, org, inbox, after string, limit int) ([]KeyedEntry, error)

	// Scan calls f with every entry, inbox by inbox and in the order of ids; an empty
	// org or inbox stands for all. It reads in chunks, each in a transaction of its
	// own: f gets an entry that exists all the time exactly once, whatever changes it
	// meanwhile. f owns the entry, and may call the ledger. Scan ends with f's first
	// error and returns it unchanged.
	Scan(ctx context.Context, org, inbox string, f func(Key, *Entry) error) error

	// ScanWaiting is Scan for the entries that are listed or failed. The other entries
	// cost next to nothing.
	ScanWaiting(ctx context.Context, org, inbox string, f func(Key, *Entry) error) error

	// Search calls f with the entries that a query selects, in its order. It finds them in
	// an index of all that a Selection names, and reads only entries that it gives to f:
	// with a million entries in the ledger, a query that selects few, or has a Limit, takes
	// less than half a second. f owns the entry, and may call the ledger. Of entries that
	// change meanwhile, f gets each that is selected all the time and keeps its DateCreated,
	// exactly once; Skip and Limit are of one moment only as long as nothing changes. Search
	// ends with f's first error and returns it unchanged. In any order but SortInbox, Search
	// keeps some memory for each found entry, up to Skip and Limit together.
	Search(ctx context.Context, q Query, f func(Key, *Entry) error) error

	// Restore adds entries of an inbox that are known from the archive, all of them or
	// none. It needs no edge and records no event, because it restores the past and
	// makes no change. It refuses an entry that Move would refuse: ErrInvalid.
	Restore(ctx context.Context, org, inbox string, all []Restored) error
}

// Inboxes is the part of a ledger that keeps inboxes, their passes and their tokens.
type Inboxes interface {
	// Inbox reads one inbox; ErrNotFound if there is none.
	Inbox(ctx context.Context, org, id string) (Inbox, error)

	// Inboxes reads the inboxes of one organization, "" for all, in the order of
	// organizations and of ids' bytes.
	Inboxes(ctx context.Context, org string) ([]Inbox, error)

	// EditInbox changes an inbox as Inbox.Edit does, and creates it if it is absent. edit
	// may run more than once.
	EditInbox(ctx context.Context, org, id string, edit func(*Inbox)) error

	// AddPass records a pass under its Start, replacing one that started at the same
	// time, keeps the newest 100, and changes the inbox as EditInbox does, all in one
	// transaction.
	AddPass(ctx context.Context, org, inbox string, p Pass, edit func(*Inbox)) error

	// Passes reads the passes of an inbox, newest first, at most limit of them.
	Passes(ctx context.Context, org, inbox string, limit int) ([]Pass, error)

	// Token reads the token of an inbox; the zero Token if there is none.
	Token(ctx context.Context, org, inbox string) (Token, error)

	// SaveToken replaces the token from by to, which was made from it. It returns
	// ErrTokenMoved if the ledger holds another token than from, so that a renewal
	// never undoes a login, and ErrLoggedOut if the inbox has been logged out.
	SaveToken(ctx context.Context, org, inbox string, from, to Token) error

	// Login stores the token of a person's login, replacing any other, edits the inbox,
	// which it creates if it is absent, and ends a logout, all in one transaction.
	Login(ctx context.Context, org, inbox string, t Token, edit func(*Inbox)) error

	// Logout deletes the token of an inbox and marks the inbox as logged out, in one
	// transaction.
	Logout(ctx context.Context, org, inbox string) error
}

// Journals is the part of a ledger that keeps events until the archive's journals hold them.
type Journals interface {
	// Events returns the oldest events of an inbox, at most limit of them.
	Events(ctx context.Context, org, inbox string, limit int) ([]Event, error)

	// MoveJournal moves the head of an inbox's journal and drops the events that the
	// journal now has, in one transaction. ErrJournalMoved if the head is not from.
	MoveJournal(ctx context.Context, org, inbox string, from, to JournalHead, has []Event) error

	// AcceptFaults records faults of an inbox's journal as accepted, in addition to
	// earlier ones, and records an event for each.
	AcceptFaults(ctx context.Context, org, inbox string, faults []AcceptedFault) error
}

// Uploads is the part of a ledger that keeps the multipart uploads under way. Whoever has an
// inbox's claim may abort every upload that was recorded before that claim: no other process
// uses it any more.
type Uploads interface {
	// AddUpload records an upload, replacing an earlier record of it. The record is
	// durable at return, so call AddUpload before the first part is sent.
	AddUpload(ctx context.Context, u UploadRef) error

	// RemoveUpload deletes the record of an upload; a missing one is not an error.
	RemoveUpload(ctx context.Context, key, id string) error

	// Uploads reads the uploads of one inbox, in the order of their keys; an empty org
	// and inbox stand for all inboxes on which no other process has a claim.
	Uploads(ctx context.Context, org, inbox string) ([]UploadRef, error)
}

// Runs is the part of a ledger that keeps runs.
type Runs interface {
	// AddRun records a run under its ID, replacing an earlier record of it, and keeps the
	// newest 100.
	AddRun(ctx context.Context, r Run) error

	// Runs reads the runs, newest first, at most limit of them.
	Runs(ctx context.Context, limit int) ([]Run, error)
}

// Claims is the part of a ledger that says which process works on an inbox.
type Claims interface {
	// Claim takes an inbox that the ledger knows, for one pass over it. While a claim
	// lives, another call for its inbox returns ErrClaimed, with a text that names the
	// holder. ErrNotFound if there is no such inbox.
	Claim(ctx context.Context, org, inbox string) (Claim, error)
}

// Claim is the right to work on one inbox, and the way to change that inbox. A claim lives
// until it is released, or until its time is over: a ledger that several processes share
// gives each claim a time, measured by the ledger's own clock. No two claims on an inbox
// live at once.
//
// The methods that change the ledger do what the ledger's methods of the same name do, for
// the claim's inbox. They compare the claim's number with the ledger's in the transaction
// that makes the change, and return ErrClaimLost and change nothing if the claim does not
// live any more. So a process that was stopped for a while can't disturb its successor.
type Claim interface {
	// Number is the fencing number. A later claim on the same inbox has a larger one.
	Number() int64

	// Until is when the claim runs out unless it is kept, by the clock of this process.
	// It counts from before the request that made or kept the claim was sent: this process
	// stops no later than the ledger gives the inbox to another. The zero time: the claim
	// does not run out.
	Until() time.Time

	// Keep gives the claim its whole time again; ErrClaimLost if it does not live any more.
	Keep(ctx context.Context) error

	// Release ends the claim, so that others can claim the inbox at once. A claim that is
	// lost is no error.
	Release(ctx context.Context) error

	Move(ctx context.Context, recording string, from, to State, edit func(*Entry)) (Entry, error)
	List(ctx context.Context, recordings []string, f func(get func(recording string) (Entry, bool)) []Change) error
	EditInbox(ctx context.Context, edit func(*Inbox)) error
	AddPass(ctx context.Context, p Pass, edit func(*Inbox)) error
	SaveToken(ctx context.Context, from, to Token) error
	MoveJournal(ctx context.Context, from, to JournalHead, has []Event) error
	AddUpload(ctx context.Context, u UploadRef) error // Org and Inbox become the claim's
	RemoveUpload(ctx context.Context, key, id string) error
}

// Ledger is a whole ledger. A pass changes an inbox through a Claim. The methods of the
// ledger itself ask for no claim: they are for the commands of a person. Each is a
// compare-and-set, or an edit in one transaction.
type Ledger interface {
	// ID returns the ledger's random id, made with the ledger. Claims on inboxes name it.
	ID() string
	Recordings
	Inboxes
	Journals
	Uploads
	Runs
	Claims
}
