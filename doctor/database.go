package doctor

import (
	"errors"
	"strings"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

const (
	oldestServer     = 150000 // PostgreSQL 15
	spareConnections = 20     // of one process, and commands beside it
	longTransaction  = time.Hour
)

// Database checks the database that the ledger is kept in. It takes the results of
// postgres.Examine.
func Database(d postgres.Facts, err error) []Check {
	f := &findings{}
	switch {
	case errors.Is(err, state.ErrUnavailable):
		f.fail("ledger.database", failure.KindTemporary, "see that the server runs and that state.url can be reached from here", "%v", err)
	case err != nil:
		f.fail("ledger.database", failure.KindConfiguration, "correct state.url, state.password_file and the server's pg_hba.conf", "%v", err)
	default:
		f.server(d)
		f.commits(d)
		f.failover(d)
		f.serverClock(d.Ahead)
		f.tables(d)
		f.upkeep(d)
	}
	return f.list
}

func (f *findings) server(d postgres.Facts) {
	const name, tls = "ledger.database", "ledger.tls"
	switch {
	case d.Version < oldestServer:
		f.fail(name, failure.KindConfiguration, "use PostgreSQL 15 or later", "PostgreSQL %s", d.Server)
	case d.Encoding != "UTF8":
		f.fail(name, failure.KindConfiguration, "make the database with encoding 'UTF8' template template0", "its encoding is %s", d.Encoding)
	case d.Standby:
		f.fail(name, failure.KindConfiguration, "name the primary in state.url, or all servers and target_session_attrs=read-write", "the server is a standby, which takes no changes")
	default:
		f.pass(name, "PostgreSQL %s", d.Server)
	}
	switch {
	case d.Encrypted:
		f.pass(tls, "the connection is encrypted")
	case d.Local:
		f.pass(tls, "the server is on this machine")
	default:
		f.warn(tls, "add sslmode=verify-full to state.url, with sslrootcert if the server's certificate is not publicly trusted", "the connection is not encrypted: users' tokens travel over it")
	}
	if left := d.Most - d.Used; left < spareConnections {
		f.warn("ledger.connections", "raise max_connections, or end what else uses the server", "%d of %d connections are left", left, d.Most)
	} else {
		f.pass("ledger.connections", "%d of %d connections are left", left, d.Most)
	}
}

// commits checks that what was committed survives a crash of the server.
func (f *findings) commits(d postgres.Facts) {
	const name = "ledger.commits"
	var off []string
	for _, s := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if d.Settings[s] == "off" {
			off = append(off, s)
		}
	}
	if len(off) > 0 {
		f.fail(name, failure.KindIntegrity, "turn on "+strings.Join(off, ", ")+" for the server, the database and the role: an original may be deleted by what a crash then takes back",
			"off: %s; a crash of the server can lose what was committed, or damage it", strings.Join(off, ", "))
		return
	}
	f.pass(name, "a crash of the server loses nothing that was committed")
}

// failover checks whether a standby that takes over has everything that was committed.
func (f *findings) failover(d postgres.Facts) {
	const name = "ledger.failover"
	const remedy = "set synchronous_standby_names, or only promote a standby by hand and then follow docs/operate.md as for an old copy of the ledger"
	commit, names := d.Settings["synchronous_commit"], d.Settings["synchronous_standby_names"]
	switch {
	case names != "" && commit == "local":
		f.warn(name, "set synchronous_commit to on", "synchronous_commit is local, so commits do not wait for the standbys: a failover can lose commits")
	case names != "" && d.Standbys == 0:
		f.warn(name, "see to the standbys: commits wait for them", "commits wait for standbys (%s), and none is connected", names)
	case names != "":
		f.pass(name, "commits wait for standbys (%s): a failover to one of these loses none", names)
	case d.Standbys > 0:
		f.warn(name, remedy, "standbys: %d, and commits do not wait for them: a failover can lose commits", d.Standbys)
	default:
		f.unchecked(name, "no standby is connected; a provider's storage may be replicated below the server, which can't be seen from here")
	}
}

func (f *findings) serverClock(ahead time.Duration) {
	const name, most = "ledger.clock", 5 * time.Minute
	if ahead.Abs() > most {
		f.warn(name, "set the clock of this machine, or the server's", "the database's clock differs by %v from this machine's", ahead.Round(time.Second))
		return
	}
	f.pass(name, "the database's clock agrees with this machine's")
}

func (f *findings) tables(d postgres.Facts) {
	const name = "ledger.schema"
	switch {
	case d.Schema == 0:
		f.fail(name, failure.KindConfiguration, "run archiverd migrate", "the database has no tables for a ledger")
		return
	case d.Schema < postgres.Schema:
		f.fail(name, failure.KindConfiguration, "run archiverd migrate, once no older archiverd needs the tables", "the tables have version %d, this archiverd needs %d", d.Schema, postgres.Schema)
	case d.Schema > postgres.Schema:
		f.fail(name, failure.KindConfiguration, "use the newer archiverd again", "the tables have version %d, this archiverd knows %d", d.Schema, postgres.Schema)
	default:
		f.pass(name, "the tables have version %d", d.Schema)
	}
	if len(d.Missing) > 0 {
		f.fail("ledger.rights", failure.KindConfiguration, "let the role own the tables, or grant it these rights", "missing: %s", strings.Join(d.Missing, ", "))
	} else {
		f.pass("ledger.rights", "the role can read and change the tables")
	}
}

// upkeep checks what makes the tables grow without end.
func (f *findings) upkeep(d postgres.Facts) {
	if d.Oldest > longTransaction {
		f.warn("ledger.transactions", "end that transaction: until then, no vacuum removes rows that died after it began", "a transaction has been open for %v", d.Oldest.Round(time.Minute))
	} else {
		f.pass("ledger.transactions", "none is open for long")
	}
	var trouble []string
	if d.Settings["autovacuum"] == "off" {
		trouble = append(trouble, "autovacuum is off")
	}
	if trouble = append(trouble, d.Bloated...); len(trouble) > 0 {
		f.warn("ledger.bloat", "turn autovacuum on, and vacuum the tables now", "%s", strings.Join(trouble, "; "))
	} else {
		f.pass("ledger.bloat", "autovacuum keeps up")
	}
}
