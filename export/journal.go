package export

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// journalLine is an event of a recording, with the journal object that tells it.
type journalLine struct {
	Object string `json:"journal_object"`
	SHA256 string `json:"journal_sha256"`
	record.JournalEvent
}

// readJournal gives the recordings, which are of one inbox, their events. What is wrong
// with the journal goes into the statement.
func (x *export) readJournal(ctx context.Context, all []*selected) error {
	of := make(map[string]*selected, len(all))
	for _, s := range all {
		of[s.key.Recording] = s
	}
	org, inbox := all[0].key.Org, all[0].key.Inbox
	chain := record.Chain{Bucket: x.Bucket, Keys: record.Keys{Prefix: x.Prefix, Org: org, Inbox: inbox}}
	faults, err := chain.Walk(ctx, state.JournalHead{}, func(at state.JournalHead, j *record.Journal) error {
		for _, e := range j.Events {
			if s := of[e.Recording]; s != nil {
				s.events = append(s.events, journalLine{at.Key, at.SHA256, e})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return x.index.journalFaults(org, inbox, faults, &x.result)
}

// writeJournal writes a recording's events, if it has any.
func (x *export) writeJournal(s *selected, name string) error {
	if len(s.events) == 0 {
		return nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, l := range s.events {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	ref, err := x.write(name, text.Bytes())
	s.row.Journal = ref
	return err
}
