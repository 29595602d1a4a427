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
	var entries map[string]state.Entry // of the next events
	for size := 0; len(j.Events) < len(events) && size < record.MaxEventBytes; {
		n := len(j.Events)
		if n%entriesChunk == 0 {
			var err error
			if entries, err = b.entriesOf(ctx, events[n:min(n+entriesChunk, len(events))]); err != nil {
				return nil, 0, err
			}
		}
		e, kept := eventOf(events[n], entries[events[n].Recording])
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

// entriesChunk is the number of events whose entries are read at once.
const entriesChunk = 500

// entriesOf returns the entries that events tell of.
func (b *book) entriesOf(ctx context.Context, events []state.Event) (map[string]state.Entry, error) {
	var ids []string
	for _, ev := range events {
		if ev.Accepted == nil {
			ids = append(ids, ev.Recording)
		}
	}
	entries, err := b.Ledger.Entries(ctx, b.pass.Org, b.pass.Inbox, ids)
	for _, id := range ids {
		if _, ok := entries[id]; err == nil && !ok {
			err = fmt.Errorf("the ledger has an event of recording %q, and no entry: %w", id, state.ErrNotFound)
		}
	}
	return entries, failure.OfLedger(err)
}

// eventOf returns the ledger's event in a form that can be read without the ledger, and the
// lock that a person ordered for what tells of the recording. e is the event's entry.
func eventOf(ev state.Event, e state.Entry) (record.JournalEvent, storage.Retention) {
	if ev.Accepted != nil {
		return record.JournalEvent{At: ev.At, Accepted: ev.Accepted}, storage.Retention{}
	}
	out := record.JournalEvent{At: ev.At, Recording: ev.Recording, From: ev.From, To: ev.To, Why: record.Clip(ev.Why), BadKeys: ev.BadKeys, Act: ev.Act}
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
	return out, record.Retained(&e)
}
