package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// unanswered reports whether err leaves open whether the commit that met it was made. Only
// an ordinary error of the server says that it was not: a fatal one may come after the
// commit, for instance if the server is told to stop while it waits for a standby.
func unanswered(err error) bool { return err != nil && !refused(err) }

// refused reports whether err is an ordinary error of the server.
func refused(err error) bool {
	server, replied := errors.AsType[*pgconn.PgError](err)
	return replied && server.SeverityUnlocalized == "ERROR"
}

// lookUp finds out what became of a transaction whose commit met the error cause. It
// returns nil if the transaction was committed. It asks again while the database cannot be
// reached.
//
// Each transaction leaves a random number in the inbox's row. The number of a transaction
// in the database, which pg_xact_status takes, does not tell: after a crash the server gives
// the numbers of unfinished transactions to others.
func (l *Ledger) lookUp(p *page, cause error) error {
	ctx, cancel := limited(context.WithoutCancel(p.ctx))
	defer cancel()
	own := rand.Int64()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		number, err := l.lastChange(ctx, place{p.org, p.inboxID})
		switch {
		case err == nil && number == p.number:
			return nil
		case err == nil && (number == own || number == p.before && !p.resumed):
			return unavailable(fmt.Errorf("nothing was changed: %w", cause))
		case err == nil && number == p.before:
			// The transaction began with its commit: it may be on its way to the server and
			// have locked nothing yet. It fails when it finds another number.
			err = l.exec(ctx, overtake, p.org, []byte(p.inboxID), p.before, own)
		case err == nil: // another process has changed the inbox since
			return unavailable(fmt.Errorf("it is not known whether the change was made: %w", cause))
		}
		select {
		case <-ctx.Done():
			return unavailable(fmt.Errorf("it is not known whether the change was made: %w", errors.Join(cause, err)))
		case <-time.After(pause):
		}
	}
}

const overtake = "update inboxes set change = $4 where org = $1 and id = $2 and change = $3"

// lastChange returns the number that the last change of an inbox left; 0: there was none. It
// waits for the server to end a change that is under way: the lock does so for an inbox that
// is there, the insert for one that is being entered.
func (l *Ledger) lastChange(ctx context.Context, at place) (number int64, err error) {
	tx, err := l.pool.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, tx.Rollback(ctx)) }()
	if _, err := tx.Exec(ctx, enterInbox, at.org, []byte(at.inbox)); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, "select change from inboxes where org = $1 and id = $2 for update", at.org, []byte(at.inbox)).Scan(&number)
	return number, err
}
