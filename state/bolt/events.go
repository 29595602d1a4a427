package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

func (p *page) addEvent(ev state.Event) error {
	b, err := nested(p.tx, "events", p.key)
	if err != nil {
		return err
	}
	n, err := b.NextSequence()
	if err != nil {
		return err
	}
	b.FillPercent = 1 // events are added and removed in order
	data, err := codec.Marshal(ev)
	if err != nil {
		return err
	}
	return b.Put(eventKey(n), append(append(data, '\n'), ev.Recording...))
}

func eventKey(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func decodeEvent(k, v []byte) (ev state.Event, err error) {
	if len(k) != 8 {
		return ev, damaged(fmt.Errorf("event %x: no number", k))
	}
	ev.Number = binary.BigEndian.Uint64(k)
	data, recording, _ := bytes.Cut(v, []byte{'\n'})
	ev.Recording = string(recording)
	if err := codec.Unmarshal(data, &ev); err != nil {
		return ev, damaged(fmt.Errorf("event %d: %w", ev.Number, err))
	}
	return ev, nil
}

// Events implements state.Journals.
func (l *Ledger) Events(ctx context.Context, org, inbox string, limit int) ([]state.Event, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	var out []state.Event
	err = l.view(ctx, func(tx *bbolt.Tx) error {
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

// MoveJournal implements state.Journals.
func (l *Ledger) MoveJournal(ctx context.Context, org, inbox string, from, to state.JournalHead, has []state.Event) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		if p.inbox.Journal.Key != from.Key || p.inbox.Journal.SHA256 != from.SHA256 {
			return fmt.Errorf("%w: it is %q, expected %q", state.ErrJournalMoved, p.inbox.Journal.Key, from.Key)
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

// AcceptFaults implements state.Journals.
func (l *Ledger) AcceptFaults(ctx context.Context, org, inbox string, faults []state.AcceptedFault) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		for _, f := range faults {
			p.inbox.AcceptedFaults = append(p.inbox.AcceptedFaults, f)
			if err := p.addEvent(state.Event{At: p.l.now().UTC(), Accepted: &f}); err != nil {
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
