package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// An inbox's journal is a chain of objects in the archive, each naming the one
// before with its SHA-256. A pass that changed anything adds to it, and the first
// pass of a day does so even if it changed nothing. It has one order:
//
//	ledger   a change of state or of bad keys and its event are one transaction
//	1 list   the objects after the head: another ledger's, or ours from a pass that
//	         ended between 2 and 3. Each gets the lock that it may lack, and becomes the
//	         head; the ledger drops the events that the object holds
//	2 put    one object with the oldest events: create-only, proved like a manifest, locked
//	3 ledger the head moves to the object, and its events are dropped: one transaction
//
// A crash before 2 leaves the events to the next pass. A crash between 2 and 3 leaves an
// object that the next pass finds in 1. Its events are the oldest that the ledger still
// has, so no event is lost, and none is written twice. A ledger that was restored from an
// old backup finds in 1 what has happened since, and continues that chain instead of
// beginning a second one; but if persons acted since, the pass ends: see errBehind. Nothing
// else of a pass waits for the journal.

// keepJournal writes the events that the ledger has into the journal.
func (p *pass) keepJournal(ctx context.Context) error {
	for taken, written := 0, false; ; {
		waits, err := p.journalWaits(ctx, written)
		if err != nil || !waits {
			return err
		}
		head, at, err := p.followJournal(ctx)
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		err = p.writeJournal(ctx, head, at)
		if errors.Is(err, storage.ErrExists) && taken < failure.Tries {
			taken++ // by us, if the reply was lost, or by another: followJournal finds out
			continue
		}
		if err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
		written = true
	}
}

// Journal writes the events that the ledger has of an inbox into its journal, after a
// person's command. If a pass has the inbox, Journal leaves that to this pass or the next.
func (a *Archiver) Journal(ctx context.Context, org, inbox string) error {
	p := a.newPass(ctx, Inbox{Org: org, ID: inbox})
	defer p.halt(nil)
	err := p.underClaim(ctx, p.keepJournal)
	if errors.Is(err, state.ErrClaimed) {
		p.log.Info("a run works on the inbox, and will write the journal", "error", err)
		return nil
	}
	return err
}

// keepUp writes the journal during a pass that has begun n transfers, so that the ledger
// does not fill up with events. If it cannot, the events wait for the end of the pass.
func (p *pass) keepUp(ctx context.Context, n int) error {
	if n%p.batch != 0 {
		return nil
	}
	err := p.keepJournal(ctx)
	if err == nil || failure.KindOf(err) == failure.KindLedger {
		return err
	}
	p.log.Warn("the journal could not be written now; the end of the pass tries again", "error", err)
	return nil
}

// soFar returns the pass's record as it is now.
func (p *pass) soFar() state.Pass {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.record
	if r.End.IsZero() {
		r.End = time.Now().UTC()
	}
	return r
}

// journalWaits reports whether there is anything to write.
func (p *pass) journalWaits(ctx context.Context, written bool) (bool, error) {
	events, err := p.Ledger.Events(ctx, p.in.Org, p.in.ID, 1)
	if err != nil {
		return false, failure.OfLedger(err)
	}
	if len(events) > 0 || written || !p.ownerKnown {
		return len(events) > 0, nil
	}
	in, err := p.Ledger.Inbox(ctx, p.in.Org, p.in.ID)
	if err != nil {
		return false, failure.OfLedger(err)
	}
	last, _ := record.JournalStart(in.Journal.Key)
	return last.Format(time.DateOnly) != p.record.Start.Format(time.DateOnly), nil
}

// followJournal moves the head to the newest object in the bucket. It returns the head,
// and the earliest time under which the next object can be stored.
func (p *pass) followJournal(ctx context.Context) (head state.JournalHead, at time.Time, err error) {
	in, err := p.Ledger.Inbox(ctx, p.in.Org, p.in.ID)
	if err != nil {
		return head, at, failure.OfLedger(err)
	}
	head, at = in.Journal, p.record.Start
	pass := func(key string) {
		if t, ok := record.JournalStart(key); ok && !t.Before(at) {
			at = t.Add(time.Nanosecond)
		}
	}
	journal := record.Chain{Bucket: p.Bucket, Keys: p.keys}
	faults, err := journal.After(ctx, head, journal.Read, func(next state.JournalHead, j *record.Journal) error {
		if err := p.knowsActs(ctx, j); err != nil {
			return err
		}
		has, err := p.Ledger.Events(ctx, p.in.Org, p.in.ID, max(1, len(j.Events)))
		if err != nil {
			return failure.OfLedger(err)
		}
		if j.Ledger != p.Ledger.ID() || !j.Tells(has) {
			has = nil
		}
		if next, err = p.lockJournal(ctx, next); err != nil {
			return err
		}
		if err := p.claim.MoveJournal(context.WithoutCancel(ctx), head, next, has); err != nil {
			return p.written(err)
		}
		head = next
		return nil
	})
	pass(head.Key)
	for _, f := range faults {
		if pass(f.Key); !f.Accepted(in) {
			p.reportJournal(f)
		}
	}
	return head, at, err
}

// lockJournal gives a journal object that was found without any lock the lock that is
// configured now.
func (p *pass) lockJournal(ctx context.Context, at state.JournalHead) (state.JournalHead, error) {
	obj, err := p.Bucket.Head(ctx, at.Key, at.VersionID) // the reply to the GET need not show the lock
	if err == nil && obj.Retention.Mode == "" {
		start, _ := record.JournalStart(at.Key)
		obj, err = p.prover.Lock(ctx, obj, p.Retention.Lock(start.Format(time.RFC3339Nano), time.Now()))
	}
	return record.HeadOf(obj, at.SHA256), err
}

// writeJournal writes the oldest events into one object after head.
func (p *pass) writeJournal(ctx context.Context, head state.JournalHead, at time.Time) error {
	events, err := p.Ledger.Events(ctx, p.in.Org, p.in.ID, p.batch)
	if err != nil {
		return failure.OfLedger(err)
	}
	text, n, err := p.encodeJournal(ctx, head, events)
	if err != nil {
		return err
	}
	o := storage.New{
		Key:         p.keys.JournalAt(at),
		ContentType: "application/json",
		Retention:   p.Retention.Lock("", time.Now()),
	}
	obj, sum, err := p.prover.Put(ctx, o, text)
	if err != nil {
		return lockRefused(err, o.Retention)
	}
	return p.written(p.claim.MoveJournal(context.WithoutCancel(ctx), head, record.HeadOf(obj, sum), events[:n]))
}

// encodeJournal returns the object's bytes, and how many of the events it holds.
func (p *pass) encodeJournal(ctx context.Context, head state.JournalHead, events []state.Event) ([]byte, int, error) {
	j := &record.Journal{
		SchemaVersion: 1, Organization: p.in.Org, Inbox: p.in.ID,
		Pass: record.JournalPass{Pass: p.soFar(), Summary: p.walk.Summary, Total: p.walk.Total}, Events: []record.JournalEvent{},
		Configuration: p.Configuration, Ledger: p.Ledger.ID(), Archiverd: p.Version,
	}
	j.Pass.Error = record.Clip(j.Pass.Error)
	if head.Key != "" {
		j.Previous = &record.JournalLink{Key: head.Key, SHA256: head.SHA256, Retention: record.JournalRetention(record.LockOf(head))}
	}
	for size := 0; len(j.Events) < len(events) && size < record.MaxEventBytes; {
		e, err := p.eventOf(ctx, events[len(j.Events)])
		if err != nil {
			return nil, 0, err
		}
		j.Add(e)
		text, err := json.Marshal(e)
		if err != nil {
			return nil, 0, fmt.Errorf("encode an event: %w", err)
		}
		size += len(text)
	}
	text, err := j.Encode()
	return text, len(j.Events), err
}

// eventOf returns the ledger's event in a form that can be read without the ledger.
func (p *pass) eventOf(ctx context.Context, ev state.Event) (record.JournalEvent, error) {
	if ev.Accepted != nil {
		return record.JournalEvent{At: ev.At, Accepted: ev.Accepted}, nil
	}
	out := record.JournalEvent{At: ev.At, Recording: ev.Recording, From: ev.From, To: ev.To, Why: record.Clip(ev.Why), BadKeys: ev.BadKeys, Act: ev.Act}
	e, err := p.Ledger.Entry(ctx, p.keyOf(ev.Recording))
	if err != nil {
		return out, failure.OfLedger(err)
	}
	if ev.Version > 0 {
		v := e.Versions[ev.Version-1]
		out.Stored = &record.JournalStored{
			MediaKey: v.MediaKey, Size: v.Size, SHA256: v.SHA256, ManifestKey: v.ManifestKey, ManifestSHA256: v.ManifestSHA256,
			Suspect: record.Clip(v.Suspect), Unproved: record.Clip(v.Unproved),
		}
	}
	disposal := ev.Act != nil && ev.Act.Kind.Disposes()
	if disposal {
		out.Versions = e.Versions
	}
	if disposal || ev.To == state.StateFailed || ev.To == state.StateVanished || ev.To == state.StateWaived || len(ev.BadKeys) > 0 {
		out.Listed = &record.JournalRecording{Name: record.Clip(e.Name), Conversation: record.Clip(e.ConversationID), Created: record.Clip(e.DateCreated), Modified: record.Clip(e.DateModified), First: e.ListedAt}
	}
	if disposal { // the journal can't be erased
		out.Listed.Name, out.Listed.Conversation = "", ""
	}
	return out, nil
}

// reportJournal notes what is wrong with the journal's newest objects.
func (p *pass) reportJournal(f record.JournalFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f.Kind == record.FaultForeign {
		p.foreign = append(p.foreign, f.Key)
	} else {
		p.corrupt = append(p.corrupt, f.Key)
	}
	p.log.Error("the inbox's journal is not as it was written", "fault", f.Kind, "object", f.Key, "detail", f.Detail)
}
