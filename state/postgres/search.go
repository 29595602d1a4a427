package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
)

const putSearch = `insert into search (inbox, recording, created, duration, size, state, conversation, name, participants, cases)
	select $1, * from unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[], $9::bytea[], $10::bytea[])
	on conflict (recording, inbox) do update set created = excluded.created, duration = excluded.duration, size = excluded.size, state = excluded.state,
	conversation = excluded.conversation, name = excluded.name, participants = excluded.participants, cases = excluded.cases`

// queueSearch brings the table search up to date.
func (p *page) queueSearch(b *pgx.Batch) {
	var recordings, conversations, names, people, cases [][]byte
	var created, durations []int64
	var sizes []*int64
	var states []string
	for id, e := range p.entries {
		if old := p.old[id]; old != nil && old.SameSearch(e.Entry) {
			continue
		}
		recordings, created, durations = append(recordings, []byte(id)), append(created, e.Created().UnixMilli()), append(durations, max(0, e.Milliseconds))
		size, stored := e.Size()
		if stored {
			sizes = append(sizes, &size)
		} else {
			sizes = append(sizes, nil)
		}
		states = append(states, string(e.State))
		conversations = append(conversations, []byte(strings.ToValidUTF8(e.ConversationID, "\ufffd")))
		names = append(names, []byte(state.Fold(e.Name)))
		people, cases = append(people, []byte(state.List(e.Entry.People()))), append(cases, []byte(state.List(e.Entry.Cases())))
	}
	if len(states) > 0 {
		b.Queue(putSearch, p.row, recordings, created, durations, sizes, states, conversations, names, people, cases)
	}
}

// conditions are those of a statement on search s and inboxes i.
type conditions struct {
	rows, inboxes []string
	args          []any
}

// add adds a condition on search, in which each ? stands for an argument.
func (c *conditions) add(sql string, args ...any) { c.rows = append(c.rows, c.number(sql, args)) }

func (c *conditions) number(sql string, args []any) string {
	for _, a := range args {
		c.args = append(c.args, a)
		sql = strings.Replace(sql, "?", fmt.Sprint("$", len(c.args)), 1)
	}
	return sql
}

func (c *conditions) String() string {
	return strings.Join(append(slices.Concat(c.rows, c.inboxes), "true"), " and ")
}

// selected are the conditions that state.Selection.Selects checks.
func selected(s *state.Selection) *conditions {
	c := &conditions{}
	text := func(sql, value string) {
		if value != "" {
			c.add(sql, []byte(value))
		}
	}
	if len(s.IDs) > 0 {
		c.add("s.recording = any(?)", manyIDs(s.IDs))
	}
	if s.Org != "" {
		c.inboxes = append(c.inboxes, c.number("i.org = ?", []any{s.Org}))
	}
	if s.Inbox != "" {
		c.inboxes = append(c.inboxes, c.number("i.id = ?", []any{[]byte(s.Inbox)}))
	}
	if s.State != "" {
		c.add("s.state = ?", string(s.State))
	}
	text("s.conversation = ? and s.conversation <> ''", s.Conversation)
	text("position(? in s.name) > 0", state.Fold(s.Name))
	text("position(? in s.participants) > 0", state.Fold(s.Participant))
	if s.Case != "" {
		c.add("position(? in s.cases) > 0 and s.cases <> ''", []byte(state.List([]string{s.Case})))
	}
	measures(c, s)
	return c
}

func measures(c *conditions, s *state.Selection) {
	if !s.From.IsZero() {
		c.add("s.created >= ?", s.From.UnixMilli())
	}
	if !s.To.IsZero() {
		c.add("s.created > ? and s.created < ?", time.Time{}.UnixMilli(), s.To.UnixMilli())
	}
	if least, most := s.MinDuration.Milliseconds(), s.MaxDuration.Milliseconds(); least > 0 || most > 0 {
		c.add("s.duration >= ?", max(1, least))
		if most > 0 {
			c.add("s.duration <= ?", most)
		}
	}
	if s.MinSize != 0 || s.MaxSize != 0 {
		c.add("s.size >= ?", s.MinSize)
		if s.MaxSize != 0 {
			c.add("s.size <= ?", s.MaxSize)
		}
	}
}

// hit is a found entry.
type hit struct {
	key     state.Key
	row     int64 // of the inbox
	created int64
}

const hitColumns = "select i.org, i.id, s.recording, s.inbox, s.created from search s join inboxes i using (inbox)"

// Search implements state.Recordings. In SortInbox it reads on while f works; in another
// order it finds all first.
func (l *Ledger) Search(ctx context.Context, q state.Query, f func(state.Key, *state.Entry) error) error {
	if q.Sort == state.SortInbox {
		return l.stream(ctx, q, f)
	}
	order := map[state.Sort]string{state.SortCreated: "s.created", state.SortName: "s.name", state.SortDuration: "s.duration", state.SortSize: "coalesce(s.size, 0)"}[q.Sort]
	if q.Reverse {
		order += " desc"
	}
	c := selected(&q.Selection)
	sql := fmt.Sprintf("%s where %s order by %s, i.org || '/', i.id, s.created, s.recording offset %d", hitColumns, c, order, q.Skip)
	if q.Limit > 0 {
		sql += fmt.Sprint(" limit ", q.Limit)
	}
	hits, err := l.hits(ctx, sql, c.args)
	if err != nil {
		return fmt.Errorf("search ledger: %w", err)
	}
	for one := range slices.Chunk(hits, 1) { // f may change what comes next
		if _, err := l.give(ctx, &q, one, f); err != nil {
			return err
		}
	}
	return nil
}

func (l *Ledger) hits(ctx context.Context, sql string, args []any) (all []hit, err error) {
	err = l.query(ctx, func(rows pgx.Rows) error {
		var h hit
		var id, recording []byte
		_, err := pgx.ForEachRow(rows, []any{&h.key.Org, &id, &recording, &h.row, &h.created}, func() error {
			h.key.Inbox, h.key.Recording = string(id), string(recording)
			all = append(all, h)
			return nil
		})
		return err
	}, sql, args...)
	return all, err
}

// give calls f with the entries of the hits that are still selected.
func (l *Ledger) give(ctx context.Context, q *state.Query, hits []hit, f func(state.Key, *state.Entry) error) (given int, err error) {
	rows, recordings := make([]int64, len(hits)), make([][]byte, len(hits))
	for i, h := range hits {
		rows[i], recordings[i] = h.row, []byte(h.key.Recording)
	}
	entries := make([]*state.Entry, len(hits))
	const sql = `select u.n, e.entry, e.raw from unnest($1::bigint[], $2::bytea[]) with ordinality u(inbox, recording, n) join entries e using (inbox, recording)`
	err = l.query(ctx, func(rows pgx.Rows) error {
		var n int
		var data, raw []byte
		_, err := pgx.ForEachRow(rows, []any{&n, &data, &raw}, func() (err error) {
			if entries[n-1], err = l.entries.Decode(data); err != nil {
				return damaged(fmt.Errorf("entry %s: %w", hits[n-1].key, err))
			}
			entries[n-1].Raw = raw
			return nil
		})
		return err
	}, sql, rows, recordings)
	if err != nil {
		return 0, fmt.Errorf("search ledger: %w", err)
	}
	for i, h := range hits {
		if entries[i] == nil || !q.Selects(h.key, entries[i]) {
			continue
		}
		if err := f(h.key, entries[i]); err != nil {
			return given, err
		}
		given++
	}
	return given, nil
}

// stream gives f the hits of one inbox after the other as it finds them.
func (l *Ledger) stream(ctx context.Context, q state.Query, f func(state.Key, *state.Entry) error) error {
	c := selected(&q.Selection)
	// Without a condition, one row of each inbox tells. Else the rows are looked through
	// first and once: the planner expects far too many of them to match, and would look
	// through those of each inbox by an index.
	sql := "select i.org, i.id, ''::bytea, i.inbox, 0::bigint from inboxes i where exists (select from search s where s.inbox = i.inbox) and " + c.String()
	if len(c.rows) > 0 {
		sql = "with found as materialized (select distinct inbox from search s join inboxes i using (inbox) where " + c.String() + `)
			select i.org, i.id, ''::bytea, i.inbox, 0::bigint from inboxes i join found using (inbox)`
	}
	inboxes, err := l.hits(ctx, sql+" order by i.org || '/', i.id", c.args)
	if err != nil {
		return fmt.Errorf("search ledger: %w", err)
	}
	for _, in := range inboxes {
		done, err := l.streamInbox(ctx, &q, in.row, f)
		if done || err != nil {
			return err
		}
	}
	return nil
}

// streamInbox gives f the hits of one inbox, and counts them off q.Skip and q.Limit.
func (l *Ledger) streamInbox(ctx context.Context, q *state.Query, inbox int64, f func(state.Key, *state.Entry) error) (done bool, err error) {
	for last, more := (hit{created: time.Time{}.UnixMilli() - 1}), true; more; {
		c := selected(&q.Selection)
		c.add("s.inbox = ? and (s.created, s.recording) > (?, ?)", inbox, last.created, []byte(last.key.Recording))
		most := scanChunk
		if q.Limit > 0 {
			most = min(most, q.Skip+q.Limit)
		}
		hits, err := l.hits(ctx, fmt.Sprintf("%s where %s order by s.created, s.recording limit %d", hitColumns, c, most), c.args)
		if err != nil {
			return false, fmt.Errorf("search ledger: %w", err)
		}
		if more = len(hits) == most; len(hits) > 0 {
			last = hits[len(hits)-1]
		}
		skipped := min(q.Skip, len(hits))
		q.Skip -= skipped
		given, err := l.give(ctx, q, hits[skipped:], f)
		if err != nil {
			return false, err
		}
		if q.Limit > 0 {
			if q.Limit -= given; q.Limit == 0 {
				return true, nil
			}
		}
	}
	return false, nil
}
