package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// Events implements state.Journals.
func (l *Ledger) Events(ctx context.Context, org, inbox string, limit int) (all []state.Event, err error) {
	const sql = "select number, recording, event from events where inbox = " + thisInbox + " order by number limit $3"
	err = l.query(ctx, func(rows pgx.Rows) error {
		var number uint64
		var recording, data []byte
		_, err := pgx.ForEachRow(rows, []any{&number, &recording, &data}, func() error {
			ev := state.Event{Number: number, Recording: string(recording)}
			if err := codec.Unmarshal(data, &ev); err != nil {
				return damaged(fmt.Errorf("event %d: %w", number, err))
			}
			all = append(all, ev)
			return nil
		})
		return err
	}, sql, org, []byte(inbox), limit)
	if err != nil {
		return nil, fmt.Errorf("read events of %s/%s: %w", org, inbox, err)
	}
	return all, nil
}

// MoveJournal implements state.Journals.
func (l *Ledger) MoveJournal(ctx context.Context, org, inbox string, from, to state.JournalHead, has []state.Event) error {
	return l.moveJournal(ctx, nil, place{org, inbox}, from, to, has)
}

func (l *Ledger) moveJournal(ctx context.Context, under *claim, at place, from, to state.JournalHead, has []state.Event) error {
	err := l.change(ctx, change{place: at, claim: under, f: func(p *page) error {
		if p.inbox.Journal.Key != from.Key || p.inbox.Journal.SHA256 != from.SHA256 {
			return fmt.Errorf("%w: it is %q, expected %q", state.ErrJournalMoved, p.inbox.Journal.Key, from.Key)
		}
		p.inbox.Journal = to
		numbers := make([]int64, len(has))
		for i, ev := range has {
			numbers[i] = int64(ev.Number)
		}
		if len(numbers) > 0 {
			p.add("delete from events where inbox = $1 and number = any($2)", p.row, numbers)
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("move the journal of %s/%s: %w", at.org, at.inbox, err)
	}
	return nil
}

// AcceptFaults implements state.Journals.
func (l *Ledger) AcceptFaults(ctx context.Context, org, inbox string, faults []state.AcceptedFault) error {
	err := l.change(ctx, change{place: place{org, inbox}, f: func(p *page) error {
		for _, f := range faults {
			p.inbox.AcceptedFaults = append(p.inbox.AcceptedFaults, f)
			p.addEvent(state.Event{At: p.l.now().UTC(), Accepted: &f})
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("accept faults of the journal of %s/%s: %w", org, inbox, err)
	}
	return nil
}
