package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Facts are what Examine finds out about a database, by what its settings and statistics
// show to the user of the address.
type Facts struct {
	Version    int    // such as 150018
	Server     string // such as "15.18"
	Encoding   string // of the database
	Standby    bool   // the server is a standby, which takes no changes
	Encrypted  bool   // the connection is encrypted
	Local      bool   // the connection goes over a Unix socket or loopback
	Settings   map[string]string
	Standbys   int           // standbys that are connected
	Ahead      time.Duration // the server's clock before that of this machine
	Used, Most int           // client connections, and how many there may be
	Schema     int64         // version of the tables; 0: there are none
	Missing    []string      // rights on tables that the user lacks, such as "update on entries"
	Oldest     time.Duration // age of the oldest transaction, also of one that is prepared
	Bloated    []string      // tables of which more than a fifth is dead rows, and why that is much
}

// Schema is the version of the tables that this archiverd needs.
const Schema = schema

// settings are those that the ledger's promises rest on.
var settings = []string{"fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "autovacuum"}

// Examine looks at a database without changing it. It needs no rights beyond those of the
// ledger, and no ledger.
func Examine(ctx context.Context, address string, o Options) (f Facts, err error) {
	o.ReadOnly = true
	c, err := parse(address, o)
	if err != nil {
		return f, err
	}
	ctx, cancel := limited(ctx)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, c.ConnConfig)
	if err != nil {
		return f, fmt.Errorf("reach %s: %w", name(c), Classify(err))
	}
	defer conn.Close(ctx)
	for _, look := range []func(context.Context, *pgx.Conn) error{f.server, f.settings, f.clock, f.tables, f.activity} {
		if err := look(ctx, conn); err != nil {
			return f, fmt.Errorf("look at %s: %w", name(c), Classify(err))
		}
	}
	return f, nil
}

func (f *Facts) server(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('server_version'), current_setting('server_encoding'), pg_is_in_recovery(),
		coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false), coalesce(inet_server_addr() << '127.0.0.0/8' or inet_server_addr() = '::1', true),
		(select count(*) from pg_stat_replication)`).
		Scan(&f.Version, &f.Server, &f.Encoding, &f.Standby, &f.Encrypted, &f.Local, &f.Standbys)
}

func (f *Facts) settings(ctx context.Context, conn *pgx.Conn) error {
	f.Settings = map[string]string{}
	for _, s := range settings {
		var value string
		if err := conn.QueryRow(ctx, "select current_setting($1)", s).Scan(&value); err != nil {
			return err
		}
		f.Settings[s] = value
	}
	return nil
}

// clock compares clocks. The middle of the request is when the server read its own.
func (f *Facts) clock(ctx context.Context, conn *pgx.Conn) error {
	var theirs time.Time
	began := time.Now()
	if err := conn.QueryRow(ctx, "select clock_timestamp()").Scan(&theirs); err != nil {
		return err
	}
	f.Ahead = theirs.Sub(began.Add(time.Since(began) / 2))
	return nil
}

// tables looks at the ledger's tables, if they are there.
func (f *Facts) tables(ctx context.Context, conn *pgx.Conn) (err error) {
	if f.Schema, err = schemaVersion(ctx, conn); err != nil || f.Schema == 0 {
		return err
	}
	rows, err := conn.Query(ctx, `select p || ' on ' || t from unnest(array['ledger', 'inboxes', 'tokens', 'entries', 'search', 'events', 'passes', 'runs', 'uploads', 'workers', 'served']) t,
		unnest(array['select', 'insert', 'update', 'delete']) p where to_regclass(t) is null or not has_table_privilege(to_regclass(t), p)`)
	if err == nil {
		f.Missing, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	if err != nil {
		return err
	}
	// Few dead rows are no bloat, whatever their share is.
	rows, err = conn.Query(ctx, `select format('%s (%s dead rows beside %s, last vacuum %s)', relname, n_dead_tup, n_live_tup, coalesce(greatest(last_vacuum, last_autovacuum)::text, 'never'))
		from pg_stat_user_tables where schemaname = current_schema() and n_dead_tup > greatest(100000, n_live_tup / 5) order by n_dead_tup desc limit 5`)
	if err == nil {
		f.Bloated, err = pgx.CollectRows(rows, pgx.RowTo[string])
	}
	return err
}

func (f *Facts) activity(ctx context.Context, conn *pgx.Conn) error {
	return conn.QueryRow(ctx, `select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		greatest((select max(now() - xact_start) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()),
			(select max(now() - prepared) from pg_prepared_xacts where database = current_database()), interval '0')`).
		Scan(&f.Used, &f.Most, &f.Oldest)
}
