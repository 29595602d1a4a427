// Package state is the ledger's vocabulary and its rules: what is known of every
// recording of every inbox, which changes are allowed, what each of them does beside
// itself, and the contract that every ledger keeps. The package does no I/O. Package
// state/bolt keeps a ledger in a file; package state/statetest holds a ledger to this
// contract.
//
// Every ledger promises:
//
//   - A method that changes the ledger returns nil only once the change is durable,
//     and an error only where nothing of the change was made. When the medium itself
//     fails during the write, the error may come with the change made: read again.
//     The ledger stays whole in any case.
//   - A method whose context has ended returns the context's error and changes
//     nothing. What must be written although a caller gave up gets a context
//     without cancellation.
//   - An entry changes only along an edge of the table in edges.go, and only from
//     the state that its caller believed it in: a compare-and-set. An entry that is
//     archived names at least one version with its keys, size and SHA-256, and these
//     never change or disappear.
//   - The counters of an inbox change in the transaction that changes its entries, so
//     that reading them walks nothing. So do its events: each change of an entry's
//     state is there until MoveJournal drops it.
//   - Everything handed out belongs to the caller.
//
// All methods may be called concurrently. Callbacks run inside a transaction and must
// not call the ledger, but for those of Scan and ScanWaiting.
package state

import (
	"context"
	"errors"
)

// Errors that callers tell apart, with errors.Is.
var (
	ErrNotFound     = errors.New("not in the ledger")
	ErrEdge         = errors.New("no such change of state")
	ErrInvalid      = errors.New("invalid entry")
	ErrDamaged      = errors.New("the ledger is damaged")         // what is kept is not what was written
	ErrJournalMoved = errors.New("the journal's head has moved")  // the head is not the one that the caller believed in
	ErrTokenMoved   = errors.New("the inbox has another token")   // the token is not the one that the caller believed in
	ErrLoggedOut    = errors.New("the inbox has been logged out") // its token must not come back
)

// Recordings is the part of a ledger that keeps entries.
type Recordings interface {
	// Entry reads one entry; ErrNotFound where there is none.
	Entry(ctx context.Context, k Key) (Entry, error)

	// Move takes the entry from one state to another, or edits it within its state
	// where both are the same, and returns the entry as it is then. From "" it
	// creates the entry, and the inbox where that is new. edit may be nil. It gets
	// the entry to change, may run more than once, each time on a fresh copy, and
	// must touch only that. See Change.Apply for what happens beside the edit.
	//
	// Errors: *ConflictError where the entry is not in from, ErrEdge where the edge
	// is not in the table, ErrInvalid where the edit broke a promise.
	Move(ctx context.Context, k Key, from, to State, edit func(*Entry)) (Entry, error)

	// List applies one page of a listing in one transaction: all of it or nothing.
	// f reads entries with get, which is of no use once f has returned, and returns
	// the changes, each like a Move. A recording may have several changes; they are
	// applied in their order. f may run more than once.
	List(ctx context.Context, org, inbox string, f func(get func(recording string) (Entry, bool)) []Change) error

	// Archived returns Entry.Settled of each recording; "" where the ledger does not
	// know the recording. It is far cheaper than reading the entries.
	Archived(ctx context.Context, org, inbox string, recordings []string) ([]string, error)

	// Live returns entries of one inbox that are listed, failed, archived or
	// delete_requested, in the order of their ids' bytes, from the first after
	// `after` on, at most limit of them. It leaves out those for which skip, if set,
	// returns true.
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]KeyedEntry, error)

	// Waiting returns the entries of Live that are listed or failed. Entries that are
	// archived cost nothing.
	Waiting(ctx context.Context, org, inbox, after string, limit int) ([]KeyedEntry, error)

	// Scan calls f with every entry, inbox by inbox and in the order of ids; an empty
	// org or inbox stands for all. It reads in chunks, each a transaction of its own:
	// an entry that is there all the time comes exactly once, whatever becomes of it
	// meanwhile. f owns what it gets, and may call the ledger. Scan ends with f's
	// first error and returns it as it is.
	Scan(ctx context.Context, org, inbox string, f func(Key, *Entry) error) error

	// ScanWaiting is Scan for the entries that are listed or failed, at next to no
	// cost for the others.
	ScanWaiting(ctx context.Context, org, inbox string, f func(Key, *Entry) error) error

	// Restore puts back what is known of an inbox's recordings from elsewhere, all of
	// it or nothing. It follows no edge and records no event, because it tells what
	// was, not what happens. An entry that Move would refuse is refused: ErrInvalid.
	Restore(ctx context.Context, org, inbox string, all []Restored) error
}

// Inboxes is the part of a ledger that keeps inboxes, their passes and their tokens.
type Inboxes interface {
	// Inbox reads one inbox; ErrNotFound where there is none.
	Inbox(ctx context.Context, org, id string) (Inbox, error)

	// Inboxes reads the inboxes of one organization, "" for all, in the order of
	// organizations and of ids' bytes.
	Inboxes(ctx context.Context, org string) ([]Inbox, error)

	// EditInbox changes an inbox, new where it is absent, as Inbox.Edit does. edit may
	// run more than once.
	EditInbox(ctx context.Context, org, id string, edit func(*Inbox)) error

	// AddPass records a pass under its Start, in place of one that started at the same
	// time, forgets the oldest beyond 100, and changes the inbox as EditInbox does, all
	// in one transaction.
	AddPass(ctx context.Context, org, inbox string, p Pass, edit func(*Inbox)) error

	// Passes reads the passes of an inbox, newest first, at most limit of them.
	Passes(ctx context.Context, org, inbox string, limit int) ([]Pass, error)

	// Token reads the token of an inbox; the zero Token where there is none.
	Token(ctx context.Context, org, inbox string) (Token, error)

	// SaveToken puts a token in the place of another that it was made from.
	// ErrTokenMoved where the ledger holds another one than from, so that a renewal
	// never undoes a login; ErrLoggedOut where the inbox was logged out meanwhile.
	SaveToken(ctx context.Context, org, inbox string, from, to Token) error

	// Login gives an inbox, new where it is absent, a token that a person brought, in
	// place of any other, and edits the inbox, in one transaction. The inbox is not
	// logged out from then on.
	Login(ctx context.Context, org, inbox string, t Token, edit func(*Inbox)) error

	// Logout forgets the token of an inbox and marks the inbox as logged out, in one
	// transaction.
	Logout(ctx context.Context, org, inbox string) error
}

// Journals is the part of a ledger that knows what the archive's journals lack.
type Journals interface {
	// Events returns the oldest events of an inbox, at most limit of them.
	Events(ctx context.Context, org, inbox string, limit int) ([]Event, error)

	// MoveJournal moves the head of an inbox's journal and drops the events that the
	// journal has then, in one transaction. ErrJournalMoved where the head is not from.
	MoveJournal(ctx context.Context, org, inbox string, from, to JournalHead, has []Event) error

	// AcceptFaults keeps faults of an inbox's journal as accepted, beside those
	// accepted before, and makes an event of each.
	AcceptFaults(ctx context.Context, org, inbox string, faults []AcceptedFault) error
}

// Uploads is the part of a ledger that knows the multipart uploads under way. An upload
// belongs to its inbox, and so to the process that works on that inbox.
type Uploads interface {
	// AddUpload remembers an upload, in place of what was known of it. The upload is
	// durable at return, so call AddUpload before the first part is sent.
	AddUpload(ctx context.Context, u UploadRef) error

	// RemoveUpload forgets an upload; a missing one is no error.
	RemoveUpload(ctx context.Context, key, id string) error

	// Uploads reads the uploads of one inbox, in the order of their keys; an empty org
	// and inbox stand for all inboxes on which no other process works now.
	Uploads(ctx context.Context, org, inbox string) ([]UploadRef, error)
}

// Runs is the part of a ledger that keeps runs.
type Runs interface {
	// AddRun records a run under its ID, in place of what was recorded of it before,
	// and forgets the oldest beyond 100.
	AddRun(ctx context.Context, r Run) error

	// Runs reads the runs, newest first, at most limit of them.
	Runs(ctx context.Context, limit int) ([]Run, error)
}

// Ledger is all of it.
type Ledger interface {
	// ID is the ledger's own random id, made with the ledger: its claim on inboxes.
	ID() string
	Recordings
	Inboxes
	Journals
	Uploads
	Runs
}
