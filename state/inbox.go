package state

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"
)

// Inbox is one user's inbox.
type Inbox struct {
	Org         string          `json:"org,omitempty"` // as configured; with ID the key
	ID          string          `json:"id,omitempty"`  // of the user
	Name        string          `json:"name,omitempty"`
	Email       string          `json:"email,omitempty"`
	Condition   string          `json:"condition,omitempty"`    // the archiver's word on it
	Reason      string          `json:"reason,omitempty"`       // for people: why it is in that condition
	Counts      map[State]int64 `json:"counts,omitempty"`       // entries in each state; none: absent. Kept by the ledger
	Bytes       int64           `json:"bytes,omitempty"`        // of media of all versions ever archived. Kept by the ledger
	Totals      Totals          `json:"totals,omitzero"`        // Kept by the ledger
	NeedsPerson int64           `json:"needs_person,omitempty"` // of the failed entries, those that have failed for so long. Kept by the ledger
	Suspect     int64           `json:"suspect,omitempty"`      // recordings whose newest version is suspect. Kept by the ledger
	Unproved    int64           `json:"unproved,omitempty"`     // recordings whose newest version is not proved whole. Kept by the ledger
	LastPass    *Pass           `json:"last_pass,omitempty"`    // the newest of Passes; nil: none yet. Kept by the ledger
	AddedAt     time.Time       `json:"added_at,omitzero"`      // set by the ledger when it first heard of the inbox
	LastSuccess time.Time       `json:"last_success,omitzero"`
	// OldestWaiting is when the oldest recording was made that the last pass left
	// unarchived; zero: it left none.
	OldestWaiting time.Time   `json:"oldest_waiting,omitzero"`
	NotBefore     time.Time   `json:"not_before,omitzero"` // the earliest time for the next request, by a Retry-After
	Journal       JournalHead `json:"journal,omitzero"`    // kept by MoveJournal
	// OwnerClaimed: the archive's owner object for the inbox names this ledger.
	OwnerClaimed bool `json:"owner_claimed,omitempty"`
	// AcceptGone: a person has said that recordings missing in great number are really gone.
	AcceptGone bool `json:"accept_gone,omitempty"`
	// Rebuilt: the inbox's entries were made from the archive, and no reconcile has
	// found them right since. Until one has, nothing is deleted from the inbox.
	Rebuilt bool `json:"rebuilt,omitempty"`
	// AcceptedFaults of the journal; kept by AcceptFaults.
	AcceptedFaults []AcceptedFault `json:"accepted_faults,omitempty"`
	// LoggedOut: a person has said that the inbox is to be left alone until its user logs in again.
	LoggedOut bool `json:"logged_out,omitempty"`
}

// Totals count what has happened to an inbox's recordings since the ledger was
// made. They only grow.
type Totals struct {
	Archived int64 `json:"archived,omitempty"` // versions that the archive holds
	Failed   int64 `json:"failed,omitempty"`   // attempts to archive one
	Vanished int64 `json:"vanished,omitempty"`
	Gone     int64 `json:"gone,omitempty"`
	Deleted  int64 `json:"deleted,omitempty"`
	Findings int64 `json:"findings,omitempty"` // of all passes
}

// Pass is what one pass of an inbox did. The numbers count recordings, but for
// Bytes, of media archived, and Walks, through the listing.
type Pass struct {
	Start           time.Time `json:"start"`
	End             time.Time `json:"end,omitzero"`
	Complete        bool      `json:"complete,omitempty"`
	Listed          int64     `json:"listed,omitempty"`
	Archived        int64     `json:"archived,omitempty"`
	Adopted         int64     `json:"adopted,omitempty"`
	Failed          int64     `json:"failed,omitempty"`
	Vanished        int64     `json:"vanished,omitempty"`
	Gone            int64     `json:"gone,omitempty"`
	DeleteRequested int64     `json:"delete_requested,omitempty"`
	Deleted         int64     `json:"deleted,omitempty"`
	Bytes           int64     `json:"bytes,omitempty"`
	Findings        int64     `json:"findings,omitempty"` // objects that are not what the ledger or the archive's rules say
	Walks           int       `json:"walks,omitempty"`
	Error           string    `json:"error,omitempty"`
}

// UploadRef names a multipart upload, so that one left behind can be aborted.
type UploadRef struct {
	Key     string    `json:"-"` // of the object
	ID      string    `json:"-"` // the store's id of the upload
	Started time.Time `json:"started,omitzero"`
	Aborted time.Time `json:"aborted,omitzero"` // when the archiver first aborted it after it was left behind
}

func (in *Inbox) clone() *Inbox {
	c := *in
	c.Counts, c.AcceptedFaults = maps.Clone(in.Counts), slices.Clone(in.AcceptedFaults)
	return &c
}

func (in *Inbox) equal(other *Inbox) bool { return reflect.DeepEqual(in, other) }

// account keeps the counters: an entry became e. old is what it was, or nil.
func (in *Inbox) account(old, e *Entry) {
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

// getInbox gives the record as it is kept, without what fill adds; nil where
// there is none.
func getInbox(tx *bbolt.Tx, key string) (*Inbox, error) {
	data := tx.Bucket([]byte("inboxes")).Get([]byte(key))
	if data == nil {
		return nil, nil
	}
	var in Inbox
	if err := unmarshal(data, &in); err != nil {
		return nil, damaged(fmt.Errorf("inbox %s: %w", key, err))
	}
	return &in, nil
}

func putInbox(tx *bbolt.Tx, key string, in *Inbox) error {
	c := *in
	c.Org, c.ID, c.LastPass = "", "", nil
	return putJSON(tx.Bucket([]byte("inboxes")), key, &c)
}

// fill adds what is kept elsewhere.
func (in *Inbox) fill(tx *bbolt.Tx, key string) error {
	in.Org, in.ID = splitKey([]byte(key))
	passes, err := getPasses(tx, key, 1)
	if len(passes) > 0 {
		in.LastPass = &passes[0]
	}
	return err
}

// Inbox reads one inbox; ErrNotFound where there is none.
func (l *Ledger) Inbox(org, id string) (Inbox, error) {
	key, err := inboxKey(org, id)
	if err != nil {
		return Inbox{}, fmt.Errorf("read inbox: %w", err)
	}
	var in *Inbox
	err = l.view(func(tx *bbolt.Tx) (err error) {
		if in, err = getInbox(tx, key); err != nil {
			return err
		}
		if in == nil {
			return ErrNotFound
		}
		return in.fill(tx, key)
	})
	if err != nil {
		return Inbox{}, fmt.Errorf("read inbox %s: %w", key, err)
	}
	return *in, nil
}

// Inboxes reads the inboxes of one organization, "" for all, in the order of
// their ids' bytes.
func (l *Ledger) Inboxes(org string) ([]Inbox, error) {
	keys, err := l.inboxKeys(org, "")
	if err != nil {
		return nil, fmt.Errorf("read inboxes: %w", err)
	}
	out := make([]Inbox, 0, len(keys))
	for _, key := range keys {
		o, id := splitKey([]byte(key))
		in, err := l.Inbox(o, id)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

// EditInbox changes an inbox, new where it is absent. edit runs once; Org, ID,
// Counts, Bytes, Totals, NeedsPerson, Suspect, Unproved, LastPass, Journal and AcceptedFaults are not its
// to change, and stay as they are.
func (l *Ledger) EditInbox(org, id string, edit func(*Inbox)) error {
	err := l.changeInbox(l.update, org, id, func(p *page) error {
		was := p.inbox.clone()
		if err := errors.Join(was.fill(p.tx, p.key), p.edit(edit)); err != nil || !p.inbox.equal(was) {
			return err
		}
		return errUnchanged
	})
	if err != nil {
		return fmt.Errorf("edit inbox %s/%s: %w", org, id, err)
	}
	return nil
}

// edit changes what the ledger does not keep by itself.
func (p *page) edit(edit func(*Inbox)) error {
	in := p.inbox.clone()
	if err := in.fill(p.tx, p.key); err != nil {
		return err
	}
	edit(in)
	in.Counts, in.Bytes, in.Totals = p.inbox.Counts, p.inbox.Bytes, p.inbox.Totals
	in.NeedsPerson, in.Journal, in.AcceptedFaults = p.inbox.NeedsPerson, p.inbox.Journal, p.inbox.AcceptedFaults
	in.Suspect, in.Unproved = p.inbox.Suspect, p.inbox.Unproved
	*p.inbox = *in // putInbox leaves out the rest that isn't edit's
	return nil
}

// passesKept is how many passes are kept for an inbox.
const passesKept = 100

// startTime is RFC 3339 in UTC with all nine digits, so that keys sort.
const startTime = "2006-01-02T15:04:05.000000000Z"

// AddPass records a pass under its Start, in place of one that started at the
// same time, forgets the oldest beyond 100, and changes the inbox as EditInbox
// does, all in one transaction. Concurrent calls share one; edit may run again.
func (l *Ledger) AddPass(org, inbox string, p Pass, edit func(*Inbox)) error {
	err := l.changeInbox(l.batch, org, inbox, func(pg *page) error {
		pg.inbox.Totals.Findings += p.Findings
		b, err := nested(pg.tx, "passes", pg.key)
		if err != nil {
			return err
		}
		if err := addStarted(b, p.Start, &p, passesKept); err != nil {
			return err
		}
		return pg.edit(edit)
	})
	if err != nil {
		return fmt.Errorf("add pass of %s/%s: %w", org, inbox, err)
	}
	return nil
}

// addStarted puts v under its start and forgets the oldest beyond those kept.
func addStarted(b *bbolt.Bucket, start time.Time, v any, kept int) error {
	if y := start.UTC().Year(); start.IsZero() || y < 1 || y > 9999 {
		return fmt.Errorf("what started %v", start)
	}
	if err := putJSON(b, start.UTC().Format(startTime), v); err != nil {
		return err
	}
	var old [][]byte
	n, c := 0, b.Cursor()
	for k, _ := c.Last(); k != nil; k, _ = c.Prev() {
		if n++; n > kept {
			old = append(old, k)
		}
	}
	for _, k := range old {
		if err := b.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// Passes reads the passes of an inbox, newest first, limit at most.
func (l *Ledger) Passes(org, inbox string, limit int) ([]Pass, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("read passes: %w", err)
	}
	var out []Pass
	err = l.view(func(tx *bbolt.Tx) (err error) {
		out, err = getPasses(tx, key, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read passes of %s: %w", key, err)
	}
	return out, nil
}

func getPasses(tx *bbolt.Tx, key string, limit int) ([]Pass, error) {
	return newest[Pass](tx.Bucket([]byte("passes")).Bucket([]byte(key)), limit)
}

// newest reads what addStarted put, newest first. b may be nil.
func newest[T any](b *bbolt.Bucket, limit int) ([]T, error) {
	if b == nil {
		return nil, nil
	}
	var out []T
	c := b.Cursor()
	for k, data := c.Last(); k != nil && len(out) < limit; k, data = c.Prev() {
		var v T
		if err := unmarshal(data, &v); err != nil {
			return nil, damaged(fmt.Errorf("what started %s: %w", k, err))
		}
		out = append(out, v)
	}
	return out, nil
}

// AddUpload remembers a multipart upload; it is durable at return, so call it
// before the first part is sent.
func (l *Ledger) AddUpload(u UploadRef) error {
	k, err := uploadKey(u.Key, u.ID)
	if err == nil {
		err = l.update(func(tx *bbolt.Tx) error {
			return putJSON(tx.Bucket([]byte("uploads")), k, &u)
		})
	}
	if err != nil {
		return fmt.Errorf("add upload of %q: %w", u.Key, err)
	}
	return nil
}

// RemoveUpload forgets a multipart upload; it is no error that there is none.
func (l *Ledger) RemoveUpload(key, id string) error {
	k, err := uploadKey(key, id)
	if err == nil {
		err = l.update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("uploads")).Delete([]byte(k))
		})
	}
	if err != nil {
		return fmt.Errorf("remove upload of %q: %w", key, err)
	}
	return nil
}

// Uploads reads the multipart uploads under way, in the order of their keys.
func (l *Ledger) Uploads() ([]UploadRef, error) {
	var out []UploadRef
	err := l.view(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("uploads")).ForEach(func(k, v []byte) error {
			u, err := decodeUpload(k, v)
			out = append(out, u)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read uploads: %w", err)
	}
	return out, nil
}

// uploadKey joins with a NUL, which is in no key or id that a store gives.
func uploadKey(key, id string) (string, error) {
	k := key + "\x00" + id
	if key == "" || id == "" || len(k) > maxKey || strings.Count(k, "\x00") > 1 {
		return "", fmt.Errorf("an upload with key %q and id %q", key, id)
	}
	return k, nil
}

func decodeUpload(k, v []byte) (u UploadRef, err error) {
	if err := unmarshal(v, &u); err != nil {
		return u, damaged(fmt.Errorf("upload %q: %w", k, err))
	}
	u.Key, u.ID, _ = strings.Cut(string(k), "\x00")
	return u, nil
}
