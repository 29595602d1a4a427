package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// thisInbox is the number of the inbox that a statement's first two arguments name.
const thisInbox = "(select inbox from inboxes where org = $1 and id = $2)"

// query runs a statement that reads, and calls f with its rows.
func (l *Ledger) query(ctx context.Context, f func(pgx.Rows) error, sql string, args ...any) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	rows, err := l.pool.Query(ctx, sql, args...)
	if err == nil {
		err = f(rows)
	}
	return Classify(err)
}

// eachEntry calls f with the entries of one inbox: rows of recording, entry and raw.
func (l *Ledger) eachEntry(rows pgx.Rows, f func(recording string, e *state.Entry) error, org, inbox string) error {
	var recording, data, raw []byte
	_, err := pgx.ForEachRow(rows, []any{&recording, &data, &raw}, func() error {
		e, err := l.entries.Decode(data)
		if err != nil {
			return damaged(fmt.Errorf("entry %s: %w", state.Key{Org: org, Inbox: inbox, Recording: string(recording)}, err))
		}
		e.Raw = raw
		return f(string(recording), e)
	})
	return err
}

// Entry implements state.Recordings.
func (l *Ledger) Entry(ctx context.Context, k state.Key) (state.Entry, error) {
	found, err := l.Entries(ctx, k.Org, k.Inbox, []string{k.Recording})
	if err != nil {
		return state.Entry{}, err
	}
	e, ok := found[k.Recording]
	if !ok {
		return state.Entry{}, fmt.Errorf("read entry %s: %w", k, state.ErrNotFound)
	}
	return e, nil
}

// Entries implements state.Recordings.
func (l *Ledger) Entries(ctx context.Context, org, inbox string, recordings []string) (map[string]state.Entry, error) {
	found := map[string]state.Entry{}
	err := l.query(ctx, func(rows pgx.Rows) error {
		return l.eachEntry(rows, func(recording string, e *state.Entry) error { found[recording] = *e; return nil }, org, inbox)
	}, "select recording, entry, raw from entries where inbox = "+thisInbox+" and recording = any($3)", org, []byte(inbox), manyIDs(recordings))
	if err != nil {
		return nil, fmt.Errorf("read entries of %s/%s: %w", org, inbox, err)
	}
	return found, nil
}

// Archived implements state.Recordings.
func (l *Ledger) Archived(ctx context.Context, org, inbox string, recordings []string) ([]string, error) {
	at := make(map[string]int, len(recordings))
	for i, r := range recordings {
		at[r] = i
	}
	dates := make([]string, len(recordings))
	// The first byte of an entry is the length of Settled, which follows.
	const sql = "select recording, substring(entry from 1 for get_byte(entry, 0) + 2) from entries where inbox = " + thisInbox + " and recording = any($3) and stage = 1"
	err := l.query(ctx, func(rows pgx.Rows) error {
		var recording, data []byte
		_, err := pgx.ForEachRow(rows, []any{&recording, &data}, func() error {
			date, _, err := codec.Settled(data)
			if err != nil {
				return damaged(fmt.Errorf("entry %q: %w", recording, err))
			}
			dates[at[string(recording)]] = string(date)
			return nil
		})
		return err
	}, sql, org, []byte(inbox), manyIDs(recordings))
	if err != nil {
		return nil, fmt.Errorf("look entries of %s/%s up: %w", org, inbox, err)
	}
	for i, r := range recordings { // a recording may be asked for twice
		dates[i] = dates[at[r]]
	}
	return dates, nil
}

// manyIDs returns ids as the database has them.
func manyIDs(recordings []string) [][]byte {
	ids := make([][]byte, len(recordings))
	for i, r := range recordings {
		ids[i] = []byte(r)
	}
	return ids
}

// idChunk is how many ids Live reads at once to leave out those that are skipped.
const idChunk = 10_000

// Live implements state.Recordings.
func (l *Ledger) Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) (out []state.KeyedEntry, err error) {
	if skip == nil {
		return l.chunk(ctx, place{org, inbox}, "and stage < 2", after, limit)
	}
	for len(out) < limit {
		ids, last, err := l.unskipped(ctx, place{org, inbox}, after, skip)
		if err != nil {
			return nil, fmt.Errorf("read entries of %s/%s: %w", org, inbox, err)
		}
		for at := 0; at < len(ids) && len(out) < limit; {
			some := ids[at:min(len(ids), at+limit-len(out))]
			at += len(some)
			entries, err := l.read(ctx, place{org, inbox}, "and stage < 2 and recording = any($3) order by recording", some)
			if err != nil {
				return nil, fmt.Errorf("read entries of %s/%s: %w", org, inbox, err)
			}
			out = append(out, entries...)
		}
		if after = last; after == "" {
			break
		}
	}
	return out, nil
}

// unskipped returns the ids of live entries that are not skipped, among the next idChunk.
// last is the last id that it looked at; "": there are no more.
func (l *Ledger) unskipped(ctx context.Context, at place, after string, skip func(recording string) bool) (ids [][]byte, last string, err error) {
	const sql = "select recording from entries where inbox = " + thisInbox + " and stage < 2 and recording > $3 order by recording limit $4"
	n := 0
	err = l.query(ctx, func(rows pgx.Rows) error {
		var recording []byte
		_, err := pgx.ForEachRow(rows, []any{&recording}, func() error {
			n, last = n+1, string(recording)
			if !skip(last) {
				ids = append(ids, []byte(last))
			}
			return nil
		})
		return err
	}, sql, at.org, []byte(at.inbox), []byte(after), idChunk)
	if n < idChunk {
		last = ""
	}
	return ids, last, err
}

// Waiting implements state.Recordings.
func (l *Ledger) Waiting(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error) {
	return l.chunk(ctx, place{org, inbox}, "and stage = 0", after, limit)
}

// chunk returns entries of an inbox in the order of their ids.
func (l *Ledger) chunk(ctx context.Context, at place, where, after string, limit int) ([]state.KeyedEntry, error) {
	out, err := l.read(ctx, at, where+" and recording > $3 order by recording limit $4", []byte(after), limit)
	if err != nil {
		return nil, fmt.Errorf("read entries of %s/%s: %w", at.org, at.inbox, err)
	}
	return out, nil
}

// read returns entries of an inbox. args begin with $3.
func (l *Ledger) read(ctx context.Context, at place, where string, args ...any) (out []state.KeyedEntry, err error) {
	err = l.query(ctx, func(rows pgx.Rows) error {
		return l.eachEntry(rows, func(recording string, e *state.Entry) error {
			out = append(out, state.KeyedEntry{Key: state.Key{Org: at.org, Inbox: at.inbox, Recording: recording}, Entry: *e})
			return nil
		}, at.org, at.inbox)
	}, "select recording, entry, raw from entries where inbox = "+thisInbox+" "+where, append([]any{at.org, []byte(at.inbox)}, args...)...)
	return out, err
}

// scanChunk is the number of entries that Scan reads at once.
const scanChunk = 1000

// Scan implements state.Recordings.
func (l *Ledger) Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error {
	return l.scan(ctx, org, inbox, "", func(state.State) bool { return true }, f)
}

// ScanWaiting implements state.Recordings.
func (l *Ledger) ScanWaiting(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error {
	return l.scan(ctx, org, inbox, "and stage = 0", func(s state.State) bool { return stageOf(s) == waiting }, f)
}

// scan skips inboxes that count no entry in a wanted state.
func (l *Ledger) scan(ctx context.Context, org, inbox, where string, wanted func(state.State) bool, f func(state.Key, *state.Entry) error) error {
	inboxes, err := l.Inboxes(ctx, org)
	if err != nil {
		return fmt.Errorf("scan ledger: %w", err)
	}
	for _, in := range inboxes {
		has := false
		for s, n := range in.Counts {
			has = has || n > 0 && wanted(s)
		}
		if !has || inbox != "" && inbox != in.ID {
			continue
		}
		for after, more := "", true; more; {
			chunk, err := l.chunk(ctx, place{in.Org, in.ID}, where, after, scanChunk)
			if err != nil {
				return fmt.Errorf("scan ledger: %w", err)
			}
			for i := range chunk {
				if err := f(chunk[i].Key, &chunk[i].Entry); err != nil {
					return err
				}
				after = chunk[i].Key.Recording
			}
			more = len(chunk) == scanChunk
		}
	}
	return nil
}
