package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archiverd/archiverd/state"
)

// change is a call that changes one inbox.
type change struct {
	place
	claim *claim              // that the change is made under; nil: none
	reads []string            // recordings whose entries f will ask for
	alone bool                // f reads nothing else from the database
	late  bool                // may wait for others; see Options.Gather
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
	hurry   chan struct{} // has room for one: a call came that may not wait for others
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
	if !c.late {
		select {
		case q.hurry <- struct{}{}:
		default:
		}
	}
	q.turn.Lock()
	defer q.turn.Unlock()
	select {
	case err := <-c.done: // whoever had the turn before made it
		return err
	default:
	}
	if c.late {
		c.claim.gather(q)
	}
	l.mu.Lock()
	calls := q.waiting
	q.waiting = nil
	l.mu.Unlock()
	l.together(context.WithoutCancel(ctx), calls)
	if c.claim != nil {
		c.claim.last = time.Now()
	}
	return <-c.done
}

// gather lets others come whose calls may be made in the same transaction.
func (c *claim) gather(q *line) {
	select {
	case <-q.hurry:
	case <-time.After(time.Until(c.last.Add(c.l.gather))):
	}
}

func (l *Ledger) enter(c *change) *line {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := l.lines[c.place]
	if q == nil {
		q = &line{hurry: make(chan struct{}, 1)}
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
	if done, err := l.goOn(ctx, calls); done {
		return make([]error, len(calls)), err
	}
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
	return errs, l.finish(p, calls, p.commit())
}

// finish gives the connection back after a commit that met the error err.
func (l *Ledger) finish(p *page, calls []*change, err error) error {
	if err == nil {
		p.conn.Release()
	} else {
		rollback(p.conn)
	}
	if unanswered(err) {
		err = l.lookUp(p, err)
	}
	if err != nil {
		return err
	}
	for _, call := range calls {
		if c := call.claim; c != nil && c.number == p.claim {
			c.knows = p.knowledge(c.knows)
			break
		}
	}
	return nil
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
		if err == nil && c.claim != nil && c.claim.number != p.claim {
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

// lockInbox locks an inbox, and reads what the lock protects: the query around the locking one
// looks at the clock after the lock was granted.
const lockInbox = `select inbox, info, event, change, claim, claimed_until > clock_timestamp()
	from (select * from inboxes where org = $1 and id = $2 for update) i`

// forceGeneric has the transaction's statements planned once for each connection. The plans do
// not depend on the values, and making a plan takes longer than to follow it.
const forceGeneric = "set local plan_cache_mode = force_generic_plan"

const readEntries = "select recording, entry, raw from entries where inbox = $1 and recording = any($2)"

// begin begins a transaction, locks the inbox and reads what the calls will need. It enters an
// inbox that is new. Calls under a claim, which knows the inbox's number, take one round trip.
func (l *Ledger) begin(ctx context.Context, conn *pgxpool.Conn, calls []*change) (*page, error) {
	at := calls[0].place
	p := newPage(ctx, l, conn, at)
	var reads [][]byte
	var number int64
	for _, c := range calls {
		reads = append(reads, manyIDs(c.reads)...)
		if c.claim != nil {
			number = c.claim.inbox
		}
	}
	b := &pgx.Batch{}
	b.Queue("begin")
	b.Queue(forceGeneric)
	// The lock comes first, so that what is read is what the lock protects.
	b.Queue(lockInbox, at.org, []byte(at.inbox)).Query(p.scanInbox)
	if number != 0 && len(reads) > 0 {
		p.absent(reads)
		b.Queue(readEntries, number, reads).Query(p.scanEntries)
	}
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return p, err
	}
	if p.row == 0 {
		b = &pgx.Batch{}
		b.Queue(enterInbox, at.org, []byte(at.inbox))
		b.Queue(lockInbox, at.org, []byte(at.inbox)).Query(p.scanInbox)
		if err := conn.SendBatch(ctx, b).Close(); err != nil {
			return p, err
		}
	}
	if p.row == number || len(reads) == 0 {
		return p, nil
	}
	// If the database was restored since the claim was made, the inbox may have another
	// number: what was read are not its entries.
	clear(p.old)
	return p, p.read(reads)
}
