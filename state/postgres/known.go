package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/archiverd/archiverd/state"
)

// known is an inbox as the last transaction under a claim left it. Whoever changes the inbox
// after that, here or in another process, leaves another number in the inbox's row.
type known struct {
	change  int64 // the number that the transaction left
	inbox   *state.Inbox
	info    []byte // the inbox as it is stored
	event   uint64
	entries map[string]*state.Entry // some of those that wait to be archived
}

// maxKnown bounds the entries that are remembered for a claim.
const maxKnown = 256

// knowledge is what the committed transaction left. before is what was known earlier, which
// is used up; nil: nothing.
func (p *page) knowledge(before *known) *known {
	k := &known{change: p.number, inbox: p.inbox, info: p.is, event: p.event, entries: map[string]*state.Entry{}}
	if before != nil && before.change == p.before {
		k.entries = before.entries
	}
	for id, e := range p.entries {
		delete(k.entries, id)
		if stageOf(e.State) == waiting && len(k.entries) < maxKnown {
			k.entries[id] = e.Entry
		}
	}
	return k
}

// updateKnown fails, by a division by zero, if the inbox was changed since, or is under another
// claim or under none. It looks at the clock once the inbox is locked.
const updateKnown = `with u as (update inboxes set info = $2, event = $3, change = $4
		where inbox = $1 and change = $5 and claim = $6 returning claimed_until)
	select 1 / count(*) from u where claimed_until > clock_timestamp()`

const divisionByZero = "22012"

// goOn makes moves under a claim in one round trip, if its holder knows all that they ask for:
// nothing is read, and what is known is compared, under the lock, when the changes are written.
// done is false if a call asks for more or fails, or if the inbox has been changed: nothing was
// made then, and the calls have to be made with what the database has.
func (l *Ledger) goOn(ctx context.Context, calls []*change) (done bool, err error) {
	c := calls[0].claim
	if c == nil || c.knows == nil {
		return false, nil
	}
	k := c.knows
	for _, call := range calls {
		if call.claim != c || !call.alone || slices.ContainsFunc(call.reads, func(id string) bool { return k.entries[id] == nil }) {
			return false, nil
		}
	}
	p := newPage(ctx, l, nil, c.at)
	p.resumed, p.row, p.claim = true, c.inbox, c.number
	p.before, p.was, p.inbox, p.event, p.old = k.change, k.info, k.inbox.Clone(), k.event, k.entries
	errs, err := p.runAll(calls)
	if err != nil || errors.Join(errs...) != nil || !p.changed() {
		return false, nil
	}
	if p.conn, err = l.pool.Acquire(ctx); err != nil {
		return true, err
	}
	if err = p.commit(); isStale(err) {
		rollback(p.conn)
		c.knows = nil
		return false, nil
	}
	return true, l.finish(p, calls, err)
}

func isStale(err error) bool {
	server, replied := errors.AsType[*pgconn.PgError](err)
	return replied && server.Code == divisionByZero
}
