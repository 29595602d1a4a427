package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// unanswered reports whether err leaves open whether the commit that met it was made. Only
// an ordinary error of the server says that it was not: a fatal one may come after the
// commit, for instance if the server is told to stop while it waits for a standby.
func unanswered(err error) bool {
	server, replied := errors.AsType[*pgconn.PgError](err)
	return err != nil && !(replied && server.SeverityUnlocalized == "ERROR")
}

// lookUp asks the database what became of a transaction whose commit met the error cause.
// It returns nil if the transaction was committed. It asks again while the database cannot
// be reached, or is still at the transaction.
func (l *Ledger) lookUp(ctx context.Context, xid string, cause error) error {
	ctx, cancel := limited(context.WithoutCancel(ctx))
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		var status string
		// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SNAPSHOT
		err := l.pool.QueryRow(ctx, "select coalesce(pg_xact_status($1::text::xid8), 'forgotten')", xid).Scan(&status)
		switch {
		case err == nil && status == "committed":
			return nil
		case err == nil && status == "aborted":
			return unavailable(fmt.Errorf("nothing was changed: %w", cause))
		case err == nil && status != "in progress":
			return unavailable(fmt.Errorf("it is not known whether the change was made: %w", cause))
		}
		select {
		case <-ctx.Done():
			return unavailable(fmt.Errorf("it is not known whether the change was made: %w", errors.Join(cause, err)))
		case <-time.After(pause):
		}
	}
}
