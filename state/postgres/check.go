package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// checkLimit is the largest number of faults that Check returns.
const checkLimit = 20

// Check reads the whole ledger and checks that it keeps the promises of package state:
// every entry is readable, valid, in the stage of its state, and found by Search; the counters of every
// inbox equal a recount; events are numbered up to the last number given; passes, runs,
// uploads and tokens are readable. It returns up to 20 faults, joined. It works on a
// snapshot and holds nobody up.
func (l *Ledger) Check(ctx context.Context) error {
	c := checker{l: l}
	err := pgx.BeginTxFunc(ctx, l.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return errors.Join(c.orphans(ctx, tx), c.inboxes(ctx, tx), c.records(ctx, tx))
	})
	if err != nil {
		return fmt.Errorf("check ledger: %w", Classify(err))
	}
	if len(c.faults) > 0 {
		return fmt.Errorf("check ledger: %w", damaged(errors.Join(c.faults...)))
	}
	return nil
}

type checker struct {
	l      *Ledger
	faults []error
}

func (c *checker) faultf(format string, args ...any) {
	if len(c.faults) < checkLimit {
		c.faults = append(c.faults, fmt.Errorf(format, args...))
	}
}

// orphans finds rows that belong to no inbox.
func (c *checker) orphans(ctx context.Context, tx pgx.Tx) error {
	for _, table := range []string{"tokens", "entries", "search", "events", "passes"} {
		var n int64
		sql := "select count(*) from (select distinct inbox from " + table + ") t where not exists (select from inboxes i where i.inbox = t.inbox)"
		if err := tx.QueryRow(ctx, sql).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			c.faultf("%s: rows of %d inboxes that are not there", table, n)
		}
	}
	return nil
}

// checkedInbox is a row of the table inboxes.
type checkedInbox struct {
	row   int64
	at    place
	info  []byte
	event int64
}

func (c *checker) inboxes(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "select inbox, org, id, info, event from inboxes order by org, id")
	if err != nil {
		return err
	}
	var all []checkedInbox
	var in checkedInbox
	var id []byte
	_, err = pgx.ForEachRow(rows, []any{&in.row, &in.at.org, &id, &in.info, &in.event}, func() error {
		in.at.inbox = string(id)
		all = append(all, in)
		in.info = nil
		return nil
	})
	for _, in := range all {
		if err == nil {
			err = c.inbox(ctx, tx, in)
		}
	}
	return err
}

func (c *checker) inbox(ctx context.Context, tx pgx.Tx, row checkedInbox) error {
	in, err := decodeInbox(row.at.org, row.at.inbox, row.info)
	if err != nil {
		c.faultf("%w", err)
		return nil
	}
	if err := state.CheckInbox(in.Org, in.ID); err != nil {
		c.faultf("inbox %d: %w", row.row, err)
	}
	var count state.Inbox
	if err := c.entries(ctx, tx, row, &count); err != nil {
		return err
	}
	if !maps.Equal(in.Counts, count.Counts) || in.Bytes != count.Bytes || in.Totals.Archived != count.Totals.Archived || in.NeedsPerson != count.NeedsPerson ||
		in.Suspect != count.Suspect || in.Unproved != count.Unproved {
		c.faultf("inbox %s/%s counts %v, %d bytes, %d versions, %d for a person, %d suspect, %d unproved, but has %v, %d, %d, %d, %d, %d", in.Org, in.ID,
			in.Counts, in.Bytes, in.Totals.Archived, in.NeedsPerson, in.Suspect, in.Unproved,
			count.Counts, count.Bytes, count.Totals.Archived, count.NeedsPerson, count.Suspect, count.Unproved)
	}
	var first, n, last int64
	if err := tx.QueryRow(ctx, "select count(*), coalesce(min(number), 0), coalesce(max(number), 0) from events where inbox = $1", row.row).Scan(&n, &first, &last); err != nil {
		return err
	}
	if n > 0 && (last != row.event || first+n-1 != last) {
		c.faultf("inbox %s/%s: %d events from number %d to %d, and the last number given is %d", in.Org, in.ID, n, first, last, row.event)
	}
	if _, err := c.l.token(ctx, tx, row.at); errors.Is(err, state.ErrDamaged) || errors.Is(err, state.ErrSealKey) {
		c.faultf("token of %s/%s: %w", in.Org, in.ID, err)
	} else if err != nil {
		return err
	}
	return nil
}

// entries checks the entries of an inbox, and adds them to count.
func (c *checker) entries(ctx context.Context, tx pgx.Tx, in checkedInbox, count *state.Inbox) error {
	rows, err := tx.Query(ctx, `select recording, e.stage, e.entry, e.raw is not null, coalesce(s.state, ''), coalesce(s.created, 0)
		from entries e left join search s using (inbox, recording) where inbox = $1`, in.row)
	if err != nil {
		return err
	}
	var recording, data []byte
	var stage int16
	var raw bool
	var indexed state.State
	var created int64
	_, err = pgx.ForEachRow(rows, []any{&recording, &stage, &data, &raw, &indexed, &created}, func() error {
		e, err := c.l.entries.Decode(data)
		switch {
		case err != nil:
			c.faultf("entry %s/%s/%s: %w", in.at.org, in.at.inbox, recording, err)
			return nil
		case stageOf(e.State) != stage:
			c.faultf("entry %s/%s/%s is %s, but in stage %d", in.at.org, in.at.inbox, recording, e.State, stage)
		case indexed != e.State || created != e.Created().UnixMilli():
			c.faultf("entry %s/%s/%s is %s, created at %v, but Search finds it as %q of %d", in.at.org, in.at.inbox, recording, e.State, e.Created(), indexed, created)
		case raw && (e.State.Stored() || e.State.Disposed()):
			c.faultf("entry %s/%s/%s is %s, and still has the recording as listed", in.at.org, in.at.inbox, recording, e.State)
		}
		count.Account(nil, e)
		return nil
	})
	return err
}

// records reads everything that is kept as JSON beside the inboxes.
func (c *checker) records(ctx context.Context, tx pgx.Tx) error {
	for sql, v := range map[string]func() any{
		"select event from events":   func() any { return &state.Event{} },
		"select pass from passes":    func() any { return &state.Pass{} },
		"select run from runs":       func() any { return &state.Run{} },
		"select upload from uploads": func() any { return &state.UploadRef{} },
	} {
		rows, err := tx.Query(ctx, sql)
		if err != nil {
			return err
		}
		var data []byte
		_, err = pgx.ForEachRow(rows, []any{&data}, func() error {
			if err := codec.Unmarshal(data, v()); err != nil {
				c.faultf("%s: %w", sql, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Recount returns state.ErrDamaged if an inbox has more or fewer entries than it counts.
func (l *Ledger) Recount(ctx context.Context) error {
	const sql = `select i.org, i.id, coalesce(e.n, 0), c.n from inboxes i
		left join (select inbox, count(*) n from entries group by inbox) e using (inbox)
		cross join lateral (select coalesce(sum(value::bigint), 0)::bigint n from json_each_text(coalesce(i.info->'counts', '{}'))) c
		where coalesce(e.n, 0) <> c.n`
	var faults []error
	rows, err := l.pool.Query(ctx, sql) // may take longer than limited allows
	if err == nil {
		var org string
		var id []byte
		var has, counts int64
		_, err = pgx.ForEachRow(rows, []any{&org, &id, &has, &counts}, func() error {
			faults = append(faults, fmt.Errorf("inbox %s/%s counts %d recordings and has %d", org, id, counts, has))
			return nil
		})
	}
	if err == nil && len(faults) > 0 {
		err = damaged(errors.Join(faults[:min(len(faults), checkLimit)]...))
	}
	if err != nil {
		return fmt.Errorf("recount ledger: %w", Classify(err))
	}
	return nil
}
