package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/bbolt"
)

// Event is one change of an entry's state, or of its bad keys, or a fault of the
// journal that a person accepted. It is recorded by the transaction that makes the
// change, so that no crash comes between, and kept until the journal in the archive
// has it. That a recording was listed for the first time is none: its archiving,
// failing or vanishing will be.
type Event struct {
	Number    uint64    `json:"-"` // events of one inbox count up
	Recording string    `json:"-"`
	At        time.Time `json:"at"`
	From      State     `json:"from,omitempty"`
	To        State     `json:"to,omitempty"`
	Version   int       `json:"version,omitempty"`  // which of the entry's versions, from 1, the change added; 0: none
	BadKeys   []string  `json:"bad_keys,omitempty"` // that the change added; it may have been all
	Why       string    `json:"why,omitempty"`      // the edit's Entry.Why, or the entry's error
	// Accepted is there where a person accepted it, and no entry changed.
	Accepted *AcceptedFault `json:"accepted,omitempty"`
}

// AcceptedFault is an object of an inbox's journal that is not what was written, which
// a person has accepted as it stands.
type AcceptedFault struct {
	Key    string `json:"key"`
	SHA256 string `json:"sha256,omitempty"` // of what stands there; "": nothing does
	Fault  string `json:"fault"`            // for people
}

// JournalHead names the newest object of an inbox's journal. The zero value
// stands for none.
type JournalHead struct {
	Key       string `json:"key"`
	SHA256    string `json:"sha256"`
	VersionID string `json:"version,omitempty"`
	// The lock that the store showed when the head moved here.
	RetentionMode string    `json:"retention_mode,omitempty"`
	RetainUntil   time.Time `json:"retain_until,omitzero"`
}

// ErrJournalMoved says that the journal's head is not the one that its caller
// believed in.
var ErrJournalMoved = errors.New("the journal's head has moved")

// record keeps the change from old to e as an event.
func (p *page) record(recording string, old, e *Entry, why string) error {
	if old == nil || old.State == e.State && len(e.BadKeys) == len(old.BadKeys) {
		return nil
	}
	ev := Event{
		Recording: recording, At: p.l.now().UTC(), From: old.State, To: e.State,
		BadKeys: e.BadKeys[len(old.BadKeys):], Why: why,
	}
	if len(e.Versions) > len(old.Versions) {
		ev.Version = len(e.Versions)
	}
	if why == "" && ev.From != ev.To && (e.State == StateFailed || e.State == StateVanished || e.State == StateArchived) {
		ev.Why = e.LastError
	}
	return p.addEvent(ev)
}

func (p *page) addEvent(ev Event) error {
	b, err := nested(p.tx, "events", p.key)
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	b.FillPercent = 1 // they come in order, and go in order
	data, err := marshal(ev)
	if err != nil {
		return err
	}
	return b.Put(eventKey(n), append(append(data, '\n'), ev.Recording...))
}

func eventKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeEvent(k, v []byte) (ev Event, err error) {
	if len(k) != 8 {
		return ev, damaged(fmt.Errorf("event %x: no number", k))
	}
	ev.Number = binary.BigEndian.Uint64(k)
	data, recording, _ := bytes.Cut(v, []byte{'\n'})
	ev.Recording = string(recording)
	if err := unmarshal(data, &ev); err != nil {
		return ev, damaged(fmt.Errorf("event %d: %w", ev.Number, err))
	}
	return ev, nil
}

// Events gives the oldest events of an inbox, limit at most.
func (l *Ledger) Events(org, inbox string, limit int) ([]Event, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	var out []Event
	err = l.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("events")).Bucket([]byte(key))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.First(); k != nil && len(out) < limit; k, v = c.Next() {
			ev, err := decodeEvent(k, v)
			if err != nil {
				return err
			}
			out = append(out, ev)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", key, err)
	}
	return out, nil
}

// MoveJournal moves the head of an inbox's journal and drops the events that
// the journal has then, in one transaction. ErrJournalMoved where the head is
// not from.
func (l *Ledger) MoveJournal(org, inbox string, from, to JournalHead, has []Event) error {
	err := l.changeInbox(l.update, org, inbox, func(p *page) error {
		if p.inbox.Journal.Key != from.Key || p.inbox.Journal.SHA256 != from.SHA256 {
			return fmt.Errorf("%w: it is %q, expected %q", ErrJournalMoved, p.inbox.Journal.Key, from.Key)
		}
		p.inbox.Journal = to
		if len(has) == 0 {
			return nil
		}
		b, err := nested(p.tx, "events", p.key)
		if err != nil {
			return err
		}
		for _, ev := range has {
			if err := b.Delete(eventKey(ev.Number)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("move the journal of %s/%s: %w", org, inbox, err)
	}
	return nil
}

// AcceptFaults keeps faults of an inbox's journal as accepted, beside those that were
// before, and makes an event of each.
func (l *Ledger) AcceptFaults(org, inbox string, faults []AcceptedFault) error {
	err := l.changeInbox(l.update, org, inbox, func(p *page) error {
		for _, f := range faults {
			p.inbox.AcceptedFaults = append(p.inbox.AcceptedFaults, f)
			if err := p.addEvent(Event{At: p.l.now().UTC(), Accepted: &f}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("accept faults of the journal of %s/%s: %w", org, inbox, err)
	}
	return nil
}

// Copy writes a copy of the whole file as it is now, while others go on to read
// and write the ledger. Opened, the copy is this ledger: the same id, binding
// and seal. A write that needs a larger file waits until the copy is done.
func (l *Ledger) Copy(w io.Writer) error {
	err := l.view(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("copy ledger: %w", err)
	}
	return nil
}
