package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// encode returns an object's bytes, and how many of the events it holds. It extends the lock
// that the object will have where a person had a recording that it tells of kept for longer.
func (b *book) encode(ctx context.Context, head state.JournalHead, events []state.Event, lock *storage.Retention) ([]byte, int, error) {
	j := &record.Journal{
		SchemaVersion: 1, Organization: b.pass.Org, Inbox: b.pass.Inbox,
		Pass: b.pass.JournalPass, Events: []record.JournalEvent{},
		Configuration: b.Configuration, Ledger: b.Ledger.ID(), Archiverd: b.Version,
	}
	j.Pass.Error = record.Clip(j.Pass.Error)
	if head.Key != "" {
		j.Previous = &record.JournalLink{Key: head.Key, SHA256: head.SHA256, Retention: record.JournalRetention(record.LockOf(head))}
	}
	for size := 0; len(j.Events) < len(events) && size < record.MaxEventBytes; {
		e, kept, err := b.eventOf(ctx, events[len(j.Events)])
		if err != nil {
			return nil, 0, err
		}
		*lock = proof.Longer(*lock, kept, time.Now())
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

// eventOf returns the ledger's event in a form that can be read without the ledger, and the
// lock that a person ordered for what tells of the recording.
func (b *book) eventOf(ctx context.Context, ev state.Event) (record.JournalEvent, storage.Retention, error) {
	if ev.Accepted != nil {
		return record.JournalEvent{At: ev.At, Accepted: ev.Accepted}, storage.Retention{}, nil
	}
	out := record.JournalEvent{At: ev.At, Recording: ev.Recording, From: ev.From, To: ev.To, Why: record.Clip(ev.Why), BadKeys: ev.BadKeys, Act: ev.Act}
	e, err := b.Ledger.Entry(ctx, b.keyOf(ev.Recording))
	if err != nil {
		return out, storage.Retention{}, failure.OfLedger(err)
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
	switch lost := ev.To == state.StateVanished || ev.To == state.StateWaived; {
	case disposal: // the journal can't be erased
		out.Listed.Name, out.Listed.Conversation = "", ""
	case out.Listed != nil && (!lost || len(e.Versions) > 0): // what is archived may be erased one day
		out.Listed.Name = ""
	}
	return out, record.Retained(&e), nil
}

func (b *book) keyOf(recording string) state.Key {
	return state.Key{Org: b.pass.Org, Inbox: b.pass.Inbox, Recording: recording}
}
