package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archiverd/archiverd/state"
)

// change is a call that changes one inbox.
type change struct {
	place
	claim int64               // the number of the claim that the change is made under; 0: under none
	reads []string            // recordings whose entries f will ask for
	f     func(p *page) error // may run more than once
	done  chan error          // has room for one
	ended func() error        // the error of the caller's context
}

// line is the calls of this process that wait for one inbox. Whoever has the turn makes all
// calls that wait, in one transaction.
type line struct {
	turn    sync.Mutex
	users   int // guarded by Ledger.mu, as is waiting
	waiting []*change
}

// change makes a change together with others of the same inbox. A context that ends before
// the transaction begins ends the call; later it does not.
func (l *Ledger) change(ctx context.Context, c change) error {
	if err := state.CheckInbox(c.org, c.inbox); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.done, c.ended = make(chan error, 1), ctx.Err
	q := l.enter(&c)
	defer l.leave(c.place, q)
	q.turn.Lock()
	defer q.turn.Unlock()
	select {
	case err := <-c.done: // whoever had the turn before made it
		return err
	default:
	}
	l.mu.Lock()
	calls := q.waiting
	q.waiting = nil
	l.mu.Unlock()
	l.together(context.WithoutCancel(ctx), calls)
	return <-c.done
}

func (l *Ledger) enter(c *change) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[c.place]
	if q == nil {
		q = &line{}
		l.lines[c.place] = q
	}
	q.users++
	q.waiting = append(q.waiting, c)
	return q
}

func (l *Ledger) leave(at place, q *line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if q.users--; q.users == 0 {
		delete(l.lines, at)
	}
}

// together makes the calls, which are all for one inbox, in one transaction. If the server
// refuses what one of them stores, each is made alone.
func (l *Ledger) together(ctx context.Context, calls []*change) {
	errs, err := l.attempt(ctx, calls)
	if len(calls) > 1 && refused(err) {
		for i := range calls {
			l.together(ctx, calls[i:i+1])
		}
		return
	}
	for i, c := range calls {
		if err == nil {
			c.done <- errs[i]
		} else {
			c.done <- Classify(err)
		}
	}
}

// attempt returns an error for each call. If it returns an error of its own, no call was
// made.
func (l *Ledger) attempt(ctx context.Context, calls []*change) (errs []error, err error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	p, err := l.begin(ctx, conn, calls)
	if err == nil {
		errs, err = p.runAll(calls)
	}
	if err != nil || !p.changed() {
		rollback(conn)
		return errs, err
	}
	err = p.commit()
	if unanswered(err) {
		err = l.lookUp(p, err)
	}
	return errs, err
}

// rollback ends a transaction that is not committed, and gives the connection back. If that
// fails, the connection is closed, which ends the transaction too.
func rollback(conn *pgxpool.Conn) {
	ctx, cancel := limited(context.Background())
	defer cancel()
	if _, err := conn.Exec(ctx, "rollback"); err != nil {
		_ = conn.Conn().Close(ctx)
	}
	conn.Release()
}

// runAll runs the calls on the page, one after the other. A call that fails leaves no trace
// on the page.
func (p *page) runAll(calls []*change) (errs []error, err error) {
	for _, c := range calls {
		before := p.mark()
		err := c.ended()
		if err == nil && c.claim != 0 && c.claim != p.claim {
			err = fmt.Errorf("%w: %s/%s", state.ErrClaimLost, p.org, p.inboxID)
		}
		if err == nil {
			err = c.f(p)
		}
		if err == nil {
			_, err = encodeInbox(p.inbox) // what can't be stored must not fail the other calls
		}
		if p.broken != nil {
			return nil, p.broken
		}
		switch {
		case errors.Is(err, errUnchanged):
			err = nil
			p.reset(before)
			p.made = true // even then the inbox is entered
		case err != nil:
			p.reset(before)
		default:
			p.made = true
		}
		errs = append(errs, err)
	}
	return errs, nil
}

// errUnchanged is what a change returns that changes nothing.
var errUnchanged = errors.New("nothing to change")

const enterInbox = "insert into inboxes (org, id, info) values ($1, $2, '{}') on conflict do nothing"

const readInbox = "select inbox, info, event, change, claim, claimed_until > clock_timestamp() from inboxes where org = $1 and id = $2"

const lockInbox = "select from inboxes where org = $1 and id = $2 for update"

const readEntries = `select recording, entry, raw from entries
	where inbox = (select inbox from inboxes where org = $1 and id = $2) and recording = any($3)`

// begin begins a transaction, locks the inbox and reads what the calls will need, in one
// round trip. It enters an inbox that is new.
func (l *Ledger) begin(ctx context.Context, conn *pgxpool.Conn, calls []*change) (*page, error) {
	at := calls[0].place
	p := newPage(ctx, l, conn, at)
	for _, c := range calls {
		for _, id := range c.reads {
			p.old[id] = nil
		}
	}
	b := &pgx.Batch{}
	b.Queue("begin")
	p.queueReads(b)
	if err := conn.SendBatch(ctx, b).Close(); err != nil || p.row != 0 {
		return p, err
	}
	b = &pgx.Batch{}
	b.Queue(enterInbox, at.org, []byte(at.inbox))
	p.queueReads(b)
	return p, conn.SendBatch(ctx, b).Close()
}

// queueReads queues the lock before everything else, so that what is read is what the lock
// protects, and the clock is read after the lock was granted.
func (p *page) queueReads(b *pgx.Batch) {
	id := []byte(p.inboxID)
	b.Queue(lockInbox, p.org, id)
	b.Queue(readInbox, p.org, id).Query(p.scanInbox)
	var recordings [][]byte
	for r := range p.old {
		recordings = append(recordings, []byte(r))
	}
	if len(recordings) > 0 {
		b.Queue(readEntries, p.org, id, recordings).Query(p.scanEntries)
	}
}
