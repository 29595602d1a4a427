// Package postgres keeps a ledger in a PostgreSQL database, by the contract of package
// state, so that any number of processes can share it.
//
// In addition to that contract it promises:
//
//   - Whoever changes an inbox first locks the inbox's row. So all changes of an inbox
//     happen one after the other, whichever process makes them, and a claim that was
//     compared in a transaction still lives when that transaction commits.
//   - A change whose commit was sent and not answered is looked up in the database, by a
//     random number that it leaves in the inbox's row. The method then returns what really
//     happened. It cannot know only if another process changed the inbox meanwhile.
//   - If the database cannot be reached, or refuses work for a temporary reason, methods
//     return state.ErrUnavailable.
//   - Open refuses, and does not change, a database that has another schema, is bound to
//     another archive, or whose tokens are sealed with another key.
//
// Concurrent calls for one inbox share a transaction and its commit, as in the file; if
// one fails, the others succeed. The tables are drawn in migrations/.
package postgres

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// Options say how to open a ledger.
type Options struct {
	Binding  state.Binding    // compared with the ledger's; a new ledger gets it
	ID       string           // of a new ledger that replaces a lost one; empty: a random id
	Filling  string           // what makes a new ledger, such as "archiverd rebuild"; until Filled is called, nobody else can open it. Empty: open any
	Password string           // used if the address has none; empty: see PGPASSFILE
	SealKey  []byte           // 32 bytes; nil: tokens are kept in the clear
	ReadOnly bool             // changes nothing, and makes no ledger
	Claim    time.Duration    // how long a claim lives without Keep; 0: 60 s
	Gather   time.Duration    // the least time between two transactions that only note recordings of one inbox as archived under a claim; those that come meanwhile share the next
	Now      func() time.Time // the clock of entries, passes and events; nil: time.Now
}

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	pool     *pgxpool.Pool
	name     string // of the database, for messages
	id       string
	holder   string // names this Ledger in the claims that it makes
	claim    time.Duration
	gather   time.Duration
	readOnly bool
	seal     *codec.Sealer // nil: tokens are kept in the clear
	now      func() time.Time
	entries  codec.Entries

	mu    sync.Mutex
	lines map[place]*line // calls that wait for their inbox
}

// place names an inbox.
type place struct{ org, inbox string }

// ID implements state.Ledger.
func (l *Ledger) ID() string { return l.id }

// Pool returns the connections of the ledger, for what shares its database. They end with
// Close.
func (l *Ledger) Pool() *pgxpool.Pool { return l.pool }

// Holder returns the name of this process in the claims that it makes.
func (l *Ledger) Holder() string { return l.holder }

// Close ends the connections. It waits for methods under way; those called later fail.
func (l *Ledger) Close() error {
	l.pool.Close()
	return nil
}

// holderName tells a person where a claim is held. It is not the same for two processes of
// one machine.
func holderName(random string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unknown host"
	}
	return fmt.Sprintf("%s, process %d, %s", host, os.Getpid(), random)
}

// timeout bounds each call of the database, and so how long a network that lost a
// connection without a trace holds up a caller.
const timeout = time.Minute

// limited returns a context for calls of the database.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, timeout)
}

// Disk returns the size of the ledger's database in bytes. The free space of its server is
// not known: -1.
func (l *Ledger) Disk() (size, free int64, err error) {
	err = l.row(context.Background(), &size, "select pg_database_size(current_database())")
	if err != nil {
		return 0, 0, fmt.Errorf("look at the database of the ledger: %w", err)
	}
	return size, -1, nil
}
