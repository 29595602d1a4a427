package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// page is a transaction on one inbox. What calls change is collected in memory, and written
// by commit.
type page struct {
	ctx     context.Context
	l       *Ledger
	conn    *pgxpool.Conn
	org     string
	inboxID string
	row     int64 // the inbox's number in the database; 0: not read yet
	number  int64 // random, left by this transaction in the inbox's row
	before  int64 // that of the transaction before; 0: there was none
	claim   int64 // number of the claim that lives; -1: none does
	broken  error // the database failed; nothing can be made any more
	resumed bool  // nothing was read: commit compares what the claim's holder knows; see goOn

	was []byte                  // the inbox as it was read
	is  []byte                  // the inbox as it was written
	old map[string]*state.Entry // entries as they were read; nil: there is none

	pending
}

// pending is what commit will write.
type pending struct {
	inbox   *state.Inbox
	event   uint64 // number of the last event
	entries map[string]written
	events  []state.Event
	saved   *state.Token // the token that a call stored; nil: none did
	more    []statement
	made    bool // a call succeeded
}

// written is an entry and its stored form.
type written struct {
	*state.Entry
	data []byte
}

// statement is written in addition to entries, events and the inbox.
type statement struct {
	sql  string
	args []any
}

func newPage(ctx context.Context, l *Ledger, conn *pgxpool.Conn, at place) *page {
	return &page{ctx: ctx, l: l, conn: conn, org: at.org, inboxID: at.inbox, number: rand.Int64(), old: map[string]*state.Entry{}, pending: pending{entries: map[string]written{}}}
}

// mark returns what reset needs to undo later changes.
func (p *page) mark() pending {
	m := p.pending
	m.inbox, m.entries = p.inbox.Clone(), maps.Clone(p.entries)
	return m
}

func (p *page) reset(m pending) { p.pending = m }

func (p *page) key(recording string) state.Key {
	return state.Key{Org: p.org, Inbox: p.inboxID, Recording: recording}
}

func (p *page) scanInbox(rows pgx.Rows) error {
	var live bool
	_, err := pgx.ForEachRow(rows, []any{&p.row, &p.was, &p.event, &p.before, &p.claim, &live}, func() (err error) {
		if !live {
			p.claim = -1
		}
		p.inbox, err = decodeInbox(p.org, p.inboxID, p.was)
		if err == nil && p.inbox.AddedAt.IsZero() {
			p.inbox.AddedAt = p.l.now()
		}
		return err
	})
	return err
}

func (p *page) scanEntries(rows pgx.Rows) error {
	return p.l.eachEntry(rows, func(recording string, e *state.Entry) error {
		p.old[recording] = e
		return nil
	}, p.org, p.inboxID)
}

// decodeInbox undoes encodeInbox.
func decodeInbox(org, id string, data []byte) (*state.Inbox, error) {
	var in state.Inbox
	if err := codec.Unmarshal(data, &in); err != nil {
		return nil, damaged(fmt.Errorf("inbox %s/%s: %w", org, id, err))
	}
	in.Org, in.ID = org, id
	return &in, nil
}

func encodeInbox(in *state.Inbox) ([]byte, error) {
	c := *in
	c.Org, c.ID = "", ""
	return codec.Marshal(&c)
}

// entry returns the present entry of a recording as the calls before left it; nil if there
// is none. The caller must not change it.
func (p *page) entry(recording string) (*state.Entry, error) {
	if e, ok := p.entries[recording]; ok {
		return e.Entry, nil
	}
	if e, ok := p.old[recording]; ok {
		return e, nil
	}
	err := p.read(manyIDs([]string{recording}))
	if err != nil {
		p.broken = err
	}
	return p.old[recording], err
}

// read reads entries as they are in the database.
func (p *page) read(recordings [][]byte) error {
	p.absent(recordings)
	rows, err := p.conn.Query(p.ctx, readEntries, p.row, recordings)
	if err == nil {
		err = p.scanEntries(rows)
	}
	return err
}

// absent notes that there are no entries of recordings, unless scanEntries finds them.
func (p *page) absent(recordings [][]byte) {
	for _, r := range recordings {
		p.old[string(r)] = nil
	}
}

// apply makes one change of an entry, and updates the counters.
func (p *page) apply(c state.Change) (*state.Entry, error) {
	if err := state.CheckRecording(c.Recording); err != nil {
		return nil, err
	}
	old, err := p.entry(c.Recording)
	if err != nil {
		return nil, err
	}
	e, ev, err := c.Apply(p.key(c.Recording), old, p.l.now())
	if err != nil {
		return nil, err
	}
	if ev != nil {
		p.addEvent(*ev)
	}
	return e, p.put(c.Recording, old, e)
}

// put replaces an entry, which may be nil, by another.
func (p *page) put(recording string, old, e *state.Entry) error {
	data, err := p.l.entries.Encode(e)
	if err != nil {
		return err
	}
	p.entries[recording] = written{e, data}
	p.inbox.Account(old, e)
	return nil
}

func (p *page) addEvent(ev state.Event) {
	p.event++
	ev.Number = p.event
	p.events = append(p.events, ev)
}

func (p *page) add(sql string, args ...any) { p.more = append(p.more, statement{sql, args}) }

// changed reports whether there is anything to commit.
func (p *page) changed() bool {
	if !p.made {
		return false
	}
	data, err := encodeInbox(p.inbox)
	return err != nil || string(data) != string(p.was) || len(p.entries)+len(p.events)+len(p.more) > 0
}

const updateInbox = "update inboxes set info = $2, event = $3, change = $4 where inbox = $1"

// commit writes everything and commits, in one round trip.
func (p *page) commit() error {
	b := &pgx.Batch{}
	if p.resumed {
		b.Queue("begin")
		b.Queue(forceGeneric)
	}
	if err := p.queueInbox(b); err != nil { // first, because that locks the inbox
		return err
	}
	p.queueEntries(b)
	p.queueSearch(b)
	if err := p.queueEvents(b); err != nil {
		return err
	}
	for _, s := range p.more {
		b.Queue(s.sql, s.args...)
	}
	committed := ""
	b.Queue("commit").Exec(func(tag pgconn.CommandTag) error {
		committed = tag.String()
		return nil
	})
	err := p.conn.SendBatch(p.ctx, b).Close()
	if err == nil && committed != "COMMIT" {
		err = fmt.Errorf("the commit ended with %s", committed)
	}
	return err
}

const insertEntries = `insert into entries (inbox, recording, stage, entry, raw)
	select $1, * from unnest($2::bytea[], $3::smallint[], $4::bytea[], $5::bytea[])`

const updateEntries = `update entries e set stage = u.stage, entry = u.entry, raw = case when u.keep then e.raw else u.raw end
	from unnest($2::bytea[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bool[]) u(recording, stage, entry, raw, keep)
	where e.inbox = $1 and e.recording = u.recording`

// columns are rows of entries, column by column.
type columns struct {
	recordings, entries, raws [][]byte
	stages                    []int16
	keep                      []bool // the Raw that is there
}

func (p *page) queueEntries(b *pgx.Batch) {
	var added, edited columns
	for id, e := range p.entries {
		old, c := p.old[id], &edited
		if old == nil {
			old, c = &state.Entry{}, &added
		}
		c.recordings, c.entries, c.stages = append(c.recordings, []byte(id)), append(c.entries, e.data), append(c.stages, stageOf(e.State))
		c.keep = append(c.keep, string(old.Raw) == string(e.Raw))
		c.raws = append(c.raws, rawOf(e.Entry))
	}
	if len(added.stages) > 0 {
		b.Queue(insertEntries, p.row, added.recordings, added.stages, added.entries, added.raws)
	}
	if len(edited.stages) > 0 {
		b.Queue(updateEntries, p.row, edited.recordings, edited.stages, edited.entries, edited.raws, edited.keep)
	}
}

func rawOf(e *state.Entry) []byte {
	if len(e.Raw) == 0 {
		return nil
	}
	return e.Raw
}

// The values of the column stage.
const (
	waiting int16 = iota
	archived
	past
)

func stageOf(s state.State) int16 {
	switch {
	case s.Past():
		return past
	case s == state.StateListed, s == state.StateFailed:
		return waiting
	}
	return archived
}

func (p *page) queueEvents(b *pgx.Batch) error {
	var numbers []int64
	var recordings [][]byte
	var events []json.RawMessage
	for _, ev := range p.events {
		data, err := codec.Marshal(ev)
		if err != nil {
			return err
		}
		numbers, recordings, events = append(numbers, int64(ev.Number)), append(recordings, []byte(ev.Recording)), append(events, data)
	}
	if len(events) > 0 {
		b.Queue("insert into events (inbox, number, recording, event) select $1, * from unnest($2::bigint[], $3::bytea[], $4::json[])", p.row, numbers, recordings, events)
	}
	return nil
}

func (p *page) queueInbox(b *pgx.Batch) (err error) {
	if p.is, err = encodeInbox(p.inbox); err != nil {
		return err
	}
	if p.resumed {
		b.Queue(updateKnown, p.row, p.is, int64(p.event), p.number, p.before, p.claim)
	} else {
		b.Queue(updateInbox, p.row, p.is, int64(p.event), p.number)
	}
	return nil
}
