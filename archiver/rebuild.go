package archiver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// A lost ledger is made again from what the archive tells, in an order in which each
// step knows more than the one before:
//
//	manifests  what is archived: versions, keys, sizes, hashes
//	journal    what became of it since: deleted, gone; and of what has no manifest:
//	           failed, vanished, found corrupt. Later events win.
//	entries    versions that no journal tells of come after what it tells; manifests
//	           that the journal tells of and that are not there are written again
//	           where nothing else can: their originals are gone
//	media      what no manifest names waits, as a listed recording, for the pass that
//	           adopts it
//
// Whatever can't be read, or contradicts, is a finding, and never stops the rest.

// RebuildOrg is an organization whose ledger was lost.
type RebuildOrg struct {
	Name   string
	Format genesys.Format // of recordings that were never archived
	Login  bool           // its inboxes need one
}

// Rebuilt is what a rebuild found.
type Rebuilt struct {
	Ledger     string                `json:"ledger"`
	Inboxes    int                   `json:"inboxes"`
	Recordings map[state.State]int64 `json:"recordings"` // now in the ledger, by their state
	Manifests  int64                 `json:"manifests"`
	Journal    int64                 `json:"journal"`                  // objects
	Unfinished int64                 `json:"unfinished"`               // media without a manifest: the next passes finish them
	Foreign    []string              `json:"foreign_owners,omitempty"` // inboxes that another ledger owns
	Findings   int64                 `json:"findings"`
}

// restorer is the new ledger, beyond what a pass needs of it.
type restorer interface {
	Restore(org, inbox string, all []state.Restored) error
	Inboxes(org string) ([]state.Inbox, error)
}

// Owners reads which ledgers own the inboxes of an organization, by the inboxes'
// escaped ids. What is no owner object has "".
func Owners(ctx context.Context, b objects, prefix, org string) (map[string]string, error) {
	dir, owners := prefix+"/owners/org="+org+"/inbox=", map[string]string{}
	for o, err := range b.ListAfter(ctx, dir, "") {
		if err != nil {
			return nil, err
		}
		text, _, err := readSmall(ctx, b, o.Key, maxOwner)
		if err != nil {
			return nil, err
		}
		var claim owner
		if json.Unmarshal(text, &claim) != nil {
			claim.Ledger = ""
		}
		owners[strings.TrimSuffix(strings.TrimPrefix(o.Key, dir), ".json")] = claim.Ledger
	}
	return owners, nil
}

// HoldsRecordings tells whether the archive holds media or manifests of an organization.
func HoldsRecordings(ctx context.Context, b objects, prefix, org string) (bool, error) {
	for _, kind := range []string{"media", "manifests"} {
		for _, err := range b.ListAfter(ctx, prefix+"/"+kind+"/org="+org+"/", "") {
			return err == nil, err
		}
	}
	return false, nil
}

// rebuild makes one organization's part of a ledger.
type rebuild struct {
	*Archiver
	into   restorer
	org    RebuildOrg
	owners map[string]string
	ids    map[string]string       // the inboxes, by their escaped ids
	users  map[string]ManifestUser // by inbox: the last manifest's
	long   map[string]bool         // media keys that manifests name and that hold a hashed id
	bad    map[string]bool         // media keys that the journal tells to be bad
	emit   func(Finding) error
	totals *Rebuilt

	versions int64 // in the entries
}

// Rebuild fills the Archiver's ledger, which must be new, from the archive alone, and
// gives emit what is not as it should be. Its error says why it could not be done.
func (a *Archiver) Rebuild(ctx context.Context, into restorer, orgs []RebuildOrg, emit func(Finding) error) (*Rebuilt, error) {
	totals := &Rebuilt{Ledger: a.Ledger.ID(), Recordings: map[state.State]int64{}}
	for _, org := range orgs {
		owners, err := Owners(ctx, a.Bucket, a.Prefix, org.Name)
		if err != nil {
			return totals, err
		}
		r := &rebuild{
			Archiver: a, into: into, org: org, owners: owners, emit: emit, totals: totals,
			ids: map[string]string{}, users: map[string]ManifestUser{}, long: map[string]bool{}, bad: map[string]bool{},
		}
		for _, step := range []func(context.Context) error{r.manifests, r.journals, r.entries, r.media, r.inboxes} {
			if err := step(ctx); err != nil {
				return totals, fmt.Errorf("rebuild organization %s: %w", org.Name, err)
			}
		}
	}
	return totals, nil
}

func (r *rebuild) find(f Fault, inbox, recording, key, format string, args ...any) error {
	r.totals.Findings++
	return r.emit(Finding{f, r.org.Name, inbox, recording, key, "", fmt.Sprintf(format, args...)})
}

// restore writes what was gathered, inbox by inbox.
func (r *rebuild) restore(gathered map[string][]state.Restored) error {
	for inbox, all := range gathered {
		if err := r.into.Restore(r.org.Name, inbox, all); err != nil {
			return &ledgerError{err}
		}
	}
	return nil
}

// journals plays what the journal of each inbox tells onto its entries.
func (r *rebuild) journals(ctx context.Context) error {
	ids, err := r.inboxIDs(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		head := state.JournalHead{}
		faults, err := r.WalkJournal(ctx, r.org.Name, id, head, func(at state.JournalHead, j *Journal) error {
			r.totals.Journal++
			var all []state.Restored
			for _, ev := range j.Events {
				for _, key := range ev.BadKeys {
					r.bad[key] = true
				}
				all = append(all, state.Restored{Recording: ev.Recording, Edit: func(e *state.Entry) { r.replay(id, ev, e) }})
			}
			if err := r.into.Restore(r.org.Name, id, all); err != nil {
				return &ledgerError{err}
			}
			if err := r.Ledger.MoveJournal(r.org.Name, id, head, at, nil); err != nil {
				return &ledgerError{err}
			}
			if j.Pass.Error == "" {
				err = r.Ledger.EditInbox(r.org.Name, id, func(i *state.Inbox) { i.LastSuccess = j.Pass.End })
			}
			head = at
			return err
		})
		if err == nil {
			err = r.noteLock(ctx, id, head)
		}
		if err != nil {
			return err
		}
		for _, f := range faults {
			if err := r.find(FaultJournal, id, "", f.Key, "%s: %s", f.Kind, f.Detail); err != nil {
				return err
			}
		}
	}
	return nil
}

// noteLock enters the lock of the newest journal object, which a GET need not have shown.
func (r *rebuild) noteLock(ctx context.Context, inbox string, head state.JournalHead) error {
	if head.Key == "" {
		return nil
	}
	obj, err := r.Bucket.Head(ctx, head.Key, head.VersionID)
	if err != nil {
		return err
	}
	if err := r.Ledger.MoveJournal(r.org.Name, inbox, head, journalHead(obj, head.SHA256), nil); err != nil {
		return &ledgerError{err}
	}
	return nil
}

// replay makes of an entry what a journal's event made of the lost one. What contradicts
// itself, because an object of the journal is missing, leaves an entry that waits.
func (r *rebuild) replay(inbox string, ev JournalEvent, e *state.Entry) {
	if e.State == state.StateDeleted && ev.To == state.StateGone {
		return // told by a ledger restored from before the deletion
	}
	if ev.Stored != nil {
		i := slices.IndexFunc(e.Versions, func(v state.Version) bool { return v.ManifestKey == ev.Stored.ManifestKey })
		if i < 0 { // entries finds that the manifest is missing
			i = len(e.Versions)
			e.Versions = append(e.Versions, state.Version{
				MediaKey: ev.Stored.MediaKey, ManifestKey: ev.Stored.ManifestKey, Size: ev.Stored.Size, SHA256: ev.Stored.SHA256,
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
		// A manifest that describes them is what a crash left: the ledger never took it.
		e.Versions = slices.DeleteFunc(e.Versions, func(v state.Version) bool { return v.MediaKey == key && v.ArchivedAt.IsZero() })
	}
	if l := ev.Listed; l != nil && len(e.Versions) == 0 {
		e.Name, e.ConversationID, e.DateCreated, e.DateModified, e.ListedAt = l.Name, l.Conversation, l.Created, l.Modified, l.First
	}
	switch {
	case e.MediaKey != "":
	case len(e.Versions) > 0:
		e.MediaKey = r.firstKey(e.Versions[0].MediaKey)
	case len(e.BadKeys) > 0:
		e.MediaKey = r.firstKey(e.BadKeys[0])
	default:
		e.MediaKey = keyspace{r.Prefix, r.org.Name, inbox}.media(ev.Recording, e.DateCreated, r.org.Format)
	}
	switch e.State = ev.To; ev.To {
	case state.StateFailed:
		if e.LastError = ev.Why; e.FailedSince.IsZero() {
			e.FailedSince = ev.At
		}
		e.Attempts++
	case state.StateVanished:
		e.LastError = ev.Why
	case state.StateDeleteRequested:
		e.DeleteRequestedAt = ev.At
		e.DeleteAttempts++
	case state.StateListed, state.StateArchived:
		e.LastError, e.FailedSince, e.DeleteRequestedAt = "", time.Time{}, time.Time{}
		if ev.To == state.StateArchived {
			e.LastError = ev.Why
		}
	}
	if len(e.Versions) == 0 && e.State != state.StateFailed && e.State != state.StateVanished {
		e.State = state.StateListed
	}
}
