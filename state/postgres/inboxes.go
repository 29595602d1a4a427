package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// Inbox implements state.Inboxes.
func (l *Ledger) Inbox(ctx context.Context, org, id string) (state.Inbox, error) {
	found, err := l.readInboxes(ctx, "org = $1 and id = $2", org, []byte(id))
	if err == nil && len(found) == 0 {
		err = state.ErrNotFound
	}
	if err != nil {
		return state.Inbox{}, fmt.Errorf("read inbox %s/%s: %w", org, id, err)
	}
	return found[0], nil
}

// Inboxes implements state.Inboxes.
func (l *Ledger) Inboxes(ctx context.Context, org string) ([]state.Inbox, error) {
	all, err := l.readInboxes(ctx, "$1 in ('', org)", org)
	if err != nil {
		return nil, fmt.Errorf("read inboxes: %w", err)
	}
	return all, nil
}

func (l *Ledger) readInboxes(ctx context.Context, where string, args ...any) (all []state.Inbox, err error) {
	err = l.query(ctx, func(rows pgx.Rows) error {
		var org string
		var id, info []byte
		_, err := pgx.ForEachRow(rows, []any{&org, &id, &info}, func() error {
			in, err := decodeInbox(org, string(id), info)
			if err == nil {
				all = append(all, *in)
			}
			return err
		})
		return err
	}, "select org, id, info from inboxes where "+where+" order by org || '/', id", args...)
	return all, err
}

// EditInbox implements state.Inboxes.
func (l *Ledger) EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error {
	return l.editInbox(ctx, nil, place{org, id}, edit)
}

func (l *Ledger) editInbox(ctx context.Context, under *claim, at place, edit func(*state.Inbox)) error {
	err := l.change(ctx, change{place: at, claim: under, f: func(p *page) error {
		p.inbox.Edit(edit)
		return nil
	}})
	if err != nil {
		return fmt.Errorf("edit inbox %s/%s: %w", at.org, at.inbox, err)
	}
	return nil
}

// kept is how many passes of an inbox, and how many runs, are kept.
const kept = 100

// startKey is RFC 3339 in UTC with all nine digits, so that it sorts.
func startKey(start time.Time) (string, error) {
	if y := start.UTC().Year(); start.IsZero() || y < 1 || y > 9999 {
		return "", fmt.Errorf("its start %v is not a valid time", start)
	}
	return start.UTC().Format("2006-01-02T15:04:05.000000000Z"), nil
}

// AddPass implements state.Inboxes.
func (l *Ledger) AddPass(ctx context.Context, org, inbox string, pass state.Pass, edit func(*state.Inbox)) error {
	return l.addPass(ctx, nil, place{org, inbox}, pass, edit)
}

func (l *Ledger) addPass(ctx context.Context, under *claim, at place, pass state.Pass, edit func(*state.Inbox), more ...statement) error {
	key, err := startKey(pass.Start)
	if err == nil {
		err = l.change(ctx, change{place: at, claim: under, f: func(p *page) error {
			data, err := codec.Marshal(pass)
			if err != nil {
				return err
			}
			p.add("insert into passes (inbox, start, pass) values ($1, $2, $3) on conflict (inbox, start) do update set pass = excluded.pass", p.row, key, data)
			p.add("delete from passes where inbox = $1 and start <= (select start from passes where inbox = $1 order by start desc offset $2 limit 1)", p.row, kept)
			p.more = append(p.more, more...)
			p.inbox.Totals.Findings += pass.Findings
			if last := p.inbox.LastPass; last == nil || !last.Start.After(pass.Start) {
				p.inbox.LastPass = &pass
			}
			p.inbox.Edit(edit)
			return nil
		}})
	}
	if err != nil {
		return fmt.Errorf("add pass of %s/%s: %w", at.org, at.inbox, err)
	}
	return nil
}

// Passes implements state.Inboxes.
func (l *Ledger) Passes(ctx context.Context, org, inbox string, limit int) ([]state.Pass, error) {
	all, err := readJSON[state.Pass](ctx, l, "select pass from passes where inbox = "+thisInbox+" order by start desc limit $3", org, []byte(inbox), limit)
	if err != nil {
		return nil, fmt.Errorf("read passes of %s/%s: %w", org, inbox, err)
	}
	return all, nil
}

// readJSON reads rows of one column.
func readJSON[T any](ctx context.Context, l *Ledger, sql string, args ...any) (all []T, err error) {
	err = l.query(ctx, func(rows pgx.Rows) error {
		var data []byte
		_, err := pgx.ForEachRow(rows, []any{&data}, func() error {
			var v T
			if err := codec.Unmarshal(data, &v); err != nil {
				return damaged(fmt.Errorf("a record: %w", err))
			}
			all = append(all, v)
			return nil
		})
		return err
	}, sql, args...)
	return all, err
}

// AddRun implements state.Runs.
func (l *Ledger) AddRun(ctx context.Context, r state.Run) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	return addRun(ctx, l.pool, r)
}

// AddRunTx does what AddRun does in a transaction of the ledger's database.
func (l *Ledger) AddRunTx(ctx context.Context, tx pgx.Tx, r state.Run) error {
	return addRun(ctx, tx, r)
}

// batcher is the pool, or a transaction.
type batcher interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func addRun(ctx context.Context, to batcher, r state.Run) error {
	key, err := startKey(r.Start)
	var data []byte
	if err == nil {
		data, err = codec.Marshal(r)
	}
	if err == nil {
		// A record that replaces itself does so with the same content: repeating it is harmless.
		b := &pgx.Batch{}
		b.Queue("insert into runs (start, id, run) values ($1, $2, $3) on conflict (start, id) do update set run = excluded.run", key, r.ID, data)
		b.Queue("delete from runs where (start, id) <= (select start, id from runs order by start desc, id desc offset $1 limit 1)", kept)
		err = to.SendBatch(ctx, b).Close()
	}
	if err != nil {
		return fmt.Errorf("add run: %w", Classify(err))
	}
	return nil
}

// Runs implements state.Runs.
func (l *Ledger) Runs(ctx context.Context, limit int) ([]state.Run, error) {
	all, err := readJSON[state.Run](ctx, l, "select run from runs order by start desc, id desc limit $1", limit)
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return all, nil
}
