package archiver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// An inbox's journal is a chain of objects in the archive, each naming the one
// before with its SHA-256. A pass that changed anything adds to it, and the first
// pass of a day does so even if it changed nothing. It has one order:
//
//	ledger   a change of state or of bad keys and its event are one transaction
//	1 list   what stands after the head: not ours, or ours from a pass that ended
//	         between 2 and 3. Each gets the lock it may lack, and becomes the head; the
//	         events that it has are dropped
//	2 put    create-only, proved like a manifest, locked: the oldest events
//	3 ledger the head moves to the object, and its events are dropped: one transaction
//
// A crash before 2 leaves the events to the next pass. One between 2 and 3 leaves an
// object that the next pass finds in 1: its events are the oldest that the ledger
// still has, so none is lost and none is told twice. What comes back from an old
// backup finds there what has happened since, and goes on after it instead of
// beginning a second chain. Nothing else of a pass waits for the journal.

// JournalVersion is the version of the form; docs/journal.schema.json describes it.
const JournalVersion = 1

const (
	// journalTime is the name of an object: the start of its pass, or the next
	// nanosecond that is free, so that names sort as the chain goes.
	journalTime = "20060102T150405.000000000Z"
	// journalEvents and journalSize bound one object; what is more goes into the next.
	// A pass that takes long does not wait for its end to write the first.
	journalEvents = 2000
	journalSize   = 4 << 20
	// maxJournal bounds what is read back: one event may come on top of journalSize.
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

// keepJournal brings the journal up to date with the ledger.
func (p *pass) keepJournal(ctx context.Context) error {
	for taken, written := 0, false; ; {
		waits, err := p.journalWaits(written)
		if err != nil || !waits {
			return err
		}
		head, at, err := p.followJournal(ctx)
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		err = p.writeJournal(ctx, head, at)
		if errors.Is(err, storage.ErrExists) && taken < tries {
			taken++ // by ourselves, and the reply was lost, or by another: the walk tells
			continue
		}
		if err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
		written = true
	}
}

// keepUp writes the journal in the middle of a pass that began n transfers, so that the
// events of a long one don't pile up in the ledger. What it can't write now waits.
func (p *pass) keepUp(ctx context.Context, n int) error {
	if n%p.batch != 0 {
		return nil
	}
	err := p.keepJournal(ctx)
	if err == nil || KindOf(err) == KindLedger {
		return err
	}
	p.log.Warn("the journal waits", "error", err)
	return nil
}

// soFar is the pass's record as it stands.
func (p *pass) soFar() state.Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.record
	if r.End.IsZero() {
		r.End = time.Now().UTC()
	}
	return r
}

// journalWaits tells whether there is anything to write.
func (p *pass) journalWaits(written bool) (bool, error) {
	events, err := p.Ledger.Events(p.in.Org, p.in.ID, 1)
	if err != nil {
		return false, &ledgerError{err}
	}
	if len(events) > 0 || written || !p.claimed {
		return len(events) > 0, nil
	}
	in, err := p.Ledger.Inbox(p.in.Org, p.in.ID)
	if err != nil {
		return false, &ledgerError{err}
	}
	last, _ := journalStart(in.Journal.Key)
	return last.Format(time.DateOnly) != p.record.Start.Format(time.DateOnly), nil
}

// followJournal moves the head to the newest object there is, and tells at what time
// the next one can be filed.
func (p *pass) followJournal(ctx context.Context) (head state.JournalHead, at time.Time, err error) {
	in, err := p.Ledger.Inbox(p.in.Org, p.in.ID)
	if err != nil {
		return head, at, &ledgerError{err}
	}
	head, at = in.Journal, p.record.Start
	pass := func(key string) {
		if t, ok := journalStart(key); ok && !t.Before(at) {
			at = t.Add(time.Nanosecond)
		}
	}
	faults, err := p.walkJournal(ctx, p.in.Org, p.in.ID, head, p.readJournal, func(next state.JournalHead, j *Journal) error {
		has, err := p.Ledger.Events(p.in.Org, p.in.ID, max(1, len(j.Events)))
		if err != nil {
			return &ledgerError{err}
		}
		if j.Ledger != p.Ledger.ID() || !j.tells(has) {
			has = nil
		}
		if next, err = p.lockJournal(ctx, next); err != nil {
			return err
		}
		if err := p.Ledger.MoveJournal(p.in.Org, p.in.ID, head, next, has); err != nil {
			return &ledgerError{err}
		}
		head = next
		return nil
	})
	pass(head.Key)
	for _, f := range faults {
		if pass(f.Key); !f.accepted(in) {
			p.reportJournal(f)
		}
	}
	return head, at, err
}

// lockJournal gives a journal object that was found the lock that a configuration of
// today asks for, if it has none at all.
func (p *pass) lockJournal(ctx context.Context, at state.JournalHead) (state.JournalHead, error) {
	obj, err := p.Bucket.Head(ctx, at.Key, at.VersionID) // the GET need not have shown its lock
	if err == nil && obj.Retention.Mode == "" {
		start, _ := journalStart(at.Key)
		obj, err = p.lock(ctx, obj, p.retention(start.Format(time.RFC3339Nano), time.Now()))
	}
	return journalHead(obj, at.SHA256), err
}

// journalHead names a journal object, with the lock that the store shows.
func journalHead(obj storage.Object, sum string) state.JournalHead {
	return state.JournalHead{
		Key: obj.Key, SHA256: sum, VersionID: obj.VersionID,
		RetentionMode: obj.Retention.Mode, RetainUntil: obj.Retention.Until.UTC(),
	}
}

// tells whether the object holds just these events.
func (j *Journal) tells(events []state.Event) bool {
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

// writeJournal writes the oldest events into one object after head.
func (p *pass) writeJournal(ctx context.Context, head state.JournalHead, at time.Time) error {
	events, err := p.Ledger.Events(p.in.Org, p.in.ID, p.batch)
	if err != nil {
		return &ledgerError{err}
	}
	text, n, err := p.encodeJournal(head, events)
	if err != nil {
		return err
	}
	o := storage.New{
		Key:         p.keys.journal() + at.Format(journalTime) + ".json",
		ContentType: "application/json",
		Retention:   p.retention("", time.Now()),
	}
	obj, sum, err := p.putProved(ctx, o, text)
	if err != nil {
		return lockRefused(err, o.Retention)
	}
	if err := p.Ledger.MoveJournal(p.in.Org, p.in.ID, head, journalHead(obj, sum), events[:n]); err != nil {
		return &ledgerError{err}
	}
	return nil
}

// encodeJournal gives the object's bytes and how many of the events it holds.
func (p *pass) encodeJournal(head state.JournalHead, events []state.Event) ([]byte, int, error) {
	j := &Journal{
		SchemaVersion: JournalVersion, Organization: p.in.Org, Inbox: p.in.ID,
		Pass: JournalPass{p.soFar(), p.summarized, p.total}, Events: []JournalEvent{},
		Configuration: p.Configuration, Ledger: p.Ledger.ID(), Archiverd: p.Version,
	}
	j.Pass.Error = clip(j.Pass.Error)
	if head.Key != "" {
		j.Previous = &JournalLink{head.Key, head.SHA256, JournalRetention(lockOf(head))}
	}
	for size := 0; len(j.Events) < len(events) && size < journalSize; {
		e, err := p.tell(events[len(j.Events)])
		if err != nil {
			return nil, 0, err
		}
		j.Events = append(j.Events, e)
		text, err := json.Marshal(e)
		if err != nil {
			return nil, 0, fmt.Errorf("encode an event: %w", err)
		}
		size += len(text)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(j); err != nil {
		return nil, 0, fmt.Errorf("encode journal: %w", err)
	}
	return b.Bytes(), len(j.Events), nil
}

// tell makes of the ledger's event one that can be read without the ledger.
func (p *pass) tell(ev state.Event) (JournalEvent, error) {
	if ev.Accepted != nil {
		return JournalEvent{At: ev.At, Accepted: ev.Accepted}, nil
	}
	out := JournalEvent{At: ev.At, Recording: ev.Recording, From: ev.From, To: ev.To, Why: clip(ev.Why), BadKeys: ev.BadKeys}
	e, err := p.Ledger.Entry(p.key(ev.Recording))
	if err != nil {
		return out, &ledgerError{err}
	}
	if ev.Version > 0 {
		v := e.Versions[ev.Version-1]
		out.Stored = &JournalStored{
			MediaKey: v.MediaKey, Size: v.Size, SHA256: v.SHA256, ManifestKey: v.ManifestKey, ManifestSHA256: v.ManifestSHA256,
			Suspect: clip(v.Suspect), Unproved: clip(v.Unproved),
		}
	}
	if ev.To == state.StateFailed || ev.To == state.StateVanished || len(ev.BadKeys) > 0 {
		out.Listed = &JournalRecording{clip(e.Name), clip(e.ConversationID), clip(e.DateCreated), clip(e.DateModified), e.ListedAt}
	}
	return out, nil
}

// clip bounds a text.
func clip(s string) string {
	if len(s) <= maxWord {
		return s
	}
	return strings.ToValidUTF8(s[:maxWord], "") + "…"
}

// reportJournal notes what is wrong with the journal's newest objects.
func (p *pass) reportJournal(f JournalFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Kind == JournalForeign {
		p.foreign = append(p.foreign, f.Key)
	} else {
		p.corrupt = append(p.corrupt, f.Key)
	}
	p.log.Error("the inbox's journal is not as it was written", "fault", f.Kind, "object", f.Key, "detail", f.Detail)
}
