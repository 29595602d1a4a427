// Package rebuild makes a lost ledger again from what the archive holds, in an order in
// which each step knows more than the one before:
//
//	manifests  what is archived: versions, keys, sizes, hashes
//	journal    what happened to it since: deleted, gone. And what has no manifest:
//	           failed, vanished, found corrupt. Later events win.
//	entries    a version of which no journal says anything counts as later than the
//	           journal. A manifest that the journal names and that is not there is
//	           written again if nothing else can write it: its original is gone
//	media      media that no manifest names become a listed recording, for the pass
//	           that adopts them
//
// Whatever can't be read, or contradicts the rest, is a finding, and never stops the rest.
// Only an owner object that can't be read does: it says whether the new ledger may take the
// place of the lost one.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/tally"
)

// Options say what to make a ledger from. All fields but ReadOnly are required.
type Options struct {
	Bucket  bucket
	Ledger  ledger // new, to be filled
	Prover  *proof.Prover
	Prefix  string // of every key
	Version string // of archiverd, for manifests
	// Retention says in a manifest why media have no lock.
	Retention proof.Retention
	Log       *slog.Logger
	Tally     *tally.Tally // counts the manifests while they are read
	ReadOnly  bool         // write no manifest in the place of one that is missing
}

type bucket interface {
	Hold(ctx context.Context, key, versionID string) (bool, error)
	Check(ctx context.Context) error
	record.Bucket
}

type ledger interface {
	ID() string
	Entry(ctx context.Context, k state.Key) (state.Entry, error)
	Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
	Restore(ctx context.Context, org, inbox string, all []state.Restored) error
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
	EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error
	MoveJournal(ctx context.Context, org, inbox string, from, to state.JournalHead, has []state.Event) error
}

// Org is an organization whose ledger was lost.
type Org struct {
	Name   string
	Format genesys.Format // of recordings that were never archived
	Login  bool           // its inboxes need one
}

// Result is what a rebuild found.
type Result struct {
	Ledger     string                `json:"ledger"`
	Inboxes    int                   `json:"inboxes"`
	Recordings map[state.State]int64 `json:"recordings"` // now in the ledger, by their state
	Manifests  int64                 `json:"manifests"`
	Journal    int64                 `json:"journal"`                  // objects
	Unfinished int64                 `json:"unfinished"`               // media without a manifest: the next passes finish them
	Foreign    []string              `json:"foreign_owners,omitempty"` // inboxes that another ledger owns
	Findings   int64                 `json:"findings"`
}

// rebuild makes one organization's part of a ledger.
type rebuild struct {
	Options
	org     Org
	owners  map[string]string
	ids     map[string]string              // the inboxes, by their escaped ids
	users   map[string]record.ManifestUser // by inbox: the last manifest's
	long    map[string]bool                // media keys that manifests name and that hold a hashed id
	bad     map[string]bool                // media keys that the journal records as bad
	unread  map[string]bool                // keys of objects that were found unreadable
	emit    func(proof.Finding) error
	totals  *Result
	reading proof.Reading

	versions int64 // in the entries
}

// FromArchive fills the ledger, which must be new, from the archive alone. It calls emit with
// each finding. The error says why the ledger could not be made.
func FromArchive(ctx context.Context, o Options, orgs []Org, emit func(proof.Finding) error) (*Result, error) {
	totals := &Result{Ledger: o.Ledger.ID(), Recordings: map[state.State]int64{}}
	for _, org := range orgs {
		owners, err := record.Owners(ctx, o.Bucket, o.Prefix, org.Name)
		if err != nil {
			return totals, err
		}
		r := &rebuild{
			Options: o, org: org, owners: owners, emit: emit, totals: totals,
			reading: proof.Reading{Bucket: o.Bucket, Log: o.Log},
			ids:     map[string]string{}, users: map[string]record.ManifestUser{}, long: map[string]bool{}, bad: map[string]bool{}, unread: map[string]bool{},
		}
		for _, step := range []func(context.Context) error{r.manifests, r.journals, r.entries, r.media, r.inboxes} {
			if err := step(ctx); err != nil {
				return totals, fmt.Errorf("rebuild organization %s: %w", org.Name, err)
			}
		}
	}
	return totals, nil
}

// find reports what is wrong with an object. It reports an unreadable object only once.
func (r *rebuild) find(f record.Fault, k state.Key, key, format string, args ...any) error {
	if f == record.FaultUnreadable {
		if r.unread[key] {
			return nil
		}
		r.unread[key] = true
	}
	r.totals.Findings++
	return r.emit(proof.Finding{Fault: f, Org: r.org.Name, Inbox: k.Inbox, Recording: k.Recording, Key: key, Detail: fmt.Sprintf(format, args...)})
}

// statement is what one object of the archive says of a recording.
type statement struct {
	state.Restored
	key string // of the object
}

// restore enters what objects say of an inbox's recordings. If an object contradicts itself,
// so that it makes no valid entry, restore reports and skips it.
func (r *rebuild) restore(ctx context.Context, inbox string, f record.Fault, all []statement) error {
	batch := make([]state.Restored, len(all))
	for i := range all {
		batch[i] = all[i].Restored
	}
	err := r.Ledger.Restore(ctx, r.org.Name, inbox, batch)
	if err == nil {
		return nil
	}
	if !errors.Is(err, state.ErrInvalid) {
		return failure.OfLedger(err)
	}
	for i, t := range all {
		err := r.Ledger.Restore(ctx, r.org.Name, inbox, batch[i:i+1])
		if errors.Is(err, state.ErrInvalid) {
			err = r.find(f, state.Key{Inbox: inbox, Recording: t.Recording}, t.key, "it contradicts itself: %v", err)
		} else if err != nil {
			err = failure.OfLedger(err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// journals applies the journal of each inbox to its entries.
func (r *rebuild) journals(ctx context.Context) error {
	ids, err := r.inboxIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.journal(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (r *rebuild) journal(ctx context.Context, id string) error {
	head := state.JournalHead{}
	objects := record.Chain{Bucket: r.Bucket, Keys: record.Keys{Prefix: r.Prefix, Org: r.org.Name, Inbox: id}}
	read := func(ctx context.Context, key string) (state.JournalHead, []byte, error) {
		return r.tryJournal(ctx, objects, key)
	}
	faults, err := objects.After(ctx, head, read, func(at state.JournalHead, j *record.Journal) error {
		r.totals.Journal++
		if err := r.applyAll(ctx, id, at.Key, j.Events); err != nil {
			return err
		}
		if err := r.Ledger.MoveJournal(ctx, r.org.Name, id, head, at, nil); err != nil {
			return failure.OfLedger(err)
		}
		head = at
		if j.Pass.Error != "" {
			return nil
		}
		if err := r.Ledger.EditInbox(ctx, r.org.Name, id, func(i *state.Inbox) { i.LastSuccess = j.Pass.End }); err != nil {
			return failure.OfLedger(err)
		}
		return nil
	})
	if err == nil {
		err = r.noteLock(ctx, id, head)
	}
	if err != nil {
		return err
	}
	for _, f := range faults {
		if err := r.find(record.FaultJournal, state.Key{Inbox: id}, f.Key, "%s: %s", f.Kind, f.Detail); err != nil {
			return err
		}
	}
	return nil
}

// noteLock enters the lock of the newest journal object, because the reply to a GET need not
// have shown it.
func (r *rebuild) noteLock(ctx context.Context, inbox string, head state.JournalHead) error {
	if head.Key == "" {
		return nil
	}
	obj, err := r.head(ctx, head.Key, head.VersionID)
	if unreadable(err) {
		return r.find(record.FaultUnreadable, state.Key{Inbox: inbox}, head.Key, "%v", err)
	}
	if err != nil {
		return err
	}
	if err := r.Ledger.MoveJournal(ctx, r.org.Name, inbox, head, record.HeadOf(obj, head.SHA256), nil); err != nil {
		return failure.OfLedger(err)
	}
	return nil
}

// applyAll applies the events of one object of a journal.
func (r *rebuild) applyAll(ctx context.Context, inbox, key string, events []record.JournalEvent) error {
	var all []statement
	for _, ev := range events {
		if ev.Accepted != nil {
			continue // accepted by the lost ledger: in the new one a person has to accept it again
		}
		if wrong := r.wrongKey(inbox, ev); wrong != "" {
			if err := r.find(record.FaultJournal, state.Key{Inbox: inbox, Recording: ev.Recording}, key, "it contradicts itself: %q is no key of this recording", wrong); err != nil {
				return err
			}
			continue
		}
		for _, bad := range ev.BadKeys {
			r.bad[bad] = true
		}
		all = append(all, statement{state.Restored{Recording: ev.Recording, Edit: func(e *state.Entry) { r.apply(inbox, ev, e) }}, key})
	}
	return r.restore(ctx, inbox, record.FaultJournal, all)
}

// wrongKey returns a key in an event that its recording can't have, or "".
func (r *rebuild) wrongKey(inbox string, ev record.JournalEvent) string {
	wrong := func(kind, key string) bool {
		k, ok := record.ParseKey(r.Prefix, key)
		return !ok || k.Kind != kind || k.Org != r.org.Name || k.Inbox != record.EscapeID(inbox) || k.Recording != record.EscapeID(ev.Recording)
	}
	for _, key := range ev.BadKeys {
		if wrong("media", key) {
			return key
		}
	}
	for _, v := range ev.Versions {
		switch {
		case wrong("media", v.MediaKey):
			return v.MediaKey
		case wrong("manifests", v.ManifestKey):
			return v.ManifestKey
		}
	}
	switch s := ev.Stored; {
	case s == nil:
	case wrong("media", s.MediaKey):
		return s.MediaKey
	case wrong("manifests", s.ManifestKey):
		return s.ManifestKey
	}
	return ""
}

// apply changes an entry as a journal's event changed the lost one. If a missing object of the
// journal makes the events contradict each other, the entry becomes one that waits.
func (r *rebuild) apply(inbox string, ev record.JournalEvent, e *state.Entry) {
	if e.State == state.StateDeleted && ev.To == state.StateGone {
		return // written by a ledger that was restored from before the deletion
	}
	if ev.Stored != nil {
		i := slices.IndexFunc(e.Versions, func(v state.Version) bool { return v.ManifestKey == ev.Stored.ManifestKey })
		if i < 0 { // entries finds that the manifest is missing
			i = r.insert(e, state.Version{
				MediaKey: ev.Stored.MediaKey, ManifestKey: ev.Stored.ManifestKey, Size: ev.Stored.Size, SHA256: ev.Stored.SHA256,
				Suspect: ev.Stored.Suspect, Unproved: ev.Stored.Unproved,
			})
		}
		if e.Versions[i].ArchivedAt = ev.At; e.Versions[i].ManifestSHA256 != ev.Stored.ManifestSHA256 {
			e.Versions[i].ManifestSHA256, e.Versions[i].ManifestSize = ev.Stored.ManifestSHA256, 0
		}
	}
	for _, key := range ev.BadKeys {
		if !slices.Contains(e.BadKeys, key) {
			e.BadKeys = append(e.BadKeys, key)
		}
		// A crash left a manifest that describes them: the lost ledger never had that version.
		e.Versions = slices.DeleteFunc(e.Versions, func(v state.Version) bool { return v.MediaKey == key && v.ArchivedAt.IsZero() })
	}
	if ev.Act != nil {
		ev.Act.Do(e)
	}
	if len(ev.Versions) > 0 {
		e.Versions = ev.Versions
	}
	if l := ev.Listed; l != nil && (len(e.Versions) == 0 || e.ListedAt.IsZero()) { // no manifest says it
		e.Name, e.ConversationID, e.DateCreated, e.DateModified, e.ListedAt = l.Name, l.Conversation, l.Created, l.Modified, l.First
	}
	switch {
	case e.MediaKey != "":
	case len(e.Versions) > 0:
		e.MediaKey = r.firstKey(e.Versions[0].MediaKey)
	case len(e.BadKeys) > 0:
		e.MediaKey = r.firstKey(e.BadKeys[0])
	default:
		e.MediaKey = record.Keys{Prefix: r.Prefix, Org: r.org.Name, Inbox: inbox}.Media(ev.Recording, e.DateCreated, r.org.Format)
	}
	become(ev, e)
}

// become brings an entry to the state that an event records.
func become(ev record.JournalEvent, e *state.Entry) {
	switch e.State = ev.To; ev.To {
	case state.StateFailed:
		if e.LastError = ev.Why; e.FailedSince.IsZero() {
			e.FailedSince = ev.At
		}
		e.Attempts++
	case state.StateVanished:
		e.LastError = ev.Why
	case state.StateWaived:
		if ev.From == state.StateVanished {
			e.MissingSince = ev.At // listed again, it is archived
		}
	case state.StateDeleteRequested:
		e.DeleteRequestedAt = ev.At
		e.DeleteAttempts++
	case state.StateListed, state.StateArchived:
		e.LastError, e.FailedSince, e.DeleteRequestedAt = "", time.Time{}, time.Time{}
		if ev.To == state.StateArchived {
			e.LastError = ev.Why
		}
	}
	if len(e.Versions) == 0 && e.State != state.StateFailed && e.State != state.StateVanished && e.State != state.StateWaived {
		e.State = state.StateListed
	}
}
