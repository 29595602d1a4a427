package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/archiverd/archiverd/state"
)

//go:embed migrations
var migrations embed.FS

// schema is the version of the newest migration.
const schema = 2

// versions is the table in which goose notes the migrations that were applied.
const versions = "archiverd_schema"

// Migrate makes the ledger's tables, or brings those of an older archiverd to the present
// schema, each migration in a transaction of its own. Processes that migrate at the same
// time do so one after the other. It returns the versions that it applied. It refuses a
// newer schema: state.ErrNewer.
func Migrate(ctx context.Context, address string, o Options) (applied []int64, err error) {
	c, err := parse(address, o)
	if err != nil {
		return nil, err
	}
	// Building an index of a large table takes its time.
	delete(c.ConnConfig.RuntimeParams, "lock_timeout")
	delete(c.ConnConfig.RuntimeParams, "idle_in_transaction_session_timeout")
	db := stdlib.OpenDB(*c.ConnConfig)
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithTableName(versions), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, err
	}
	if err := suits(ctx, db); err != nil {
		return nil, fmt.Errorf("migrate %s: %w", name(c), Classify(err))
	}
	results, err := p.Up(ctx)
	for _, r := range results {
		applied = append(applied, r.Source.Version)
	}
	if err != nil {
		return applied, fmt.Errorf("migrate %s: %w", name(c), Classify(err))
	}
	version, err := p.GetDBVersion(ctx)
	if err == nil {
		err = fits(version)
	}
	return applied, err
}

// oldest is the oldest server that the tables were tried on: PostgreSQL 15.
const oldest = 150000

// suits returns an error if no ledger can be kept in the database.
func suits(ctx context.Context, db *sql.DB) error {
	var version int
	var encoding string
	err := db.QueryRowContext(ctx, "select current_setting('server_version_num')::int, current_setting('server_encoding')").Scan(&version, &encoding)
	switch {
	case err != nil:
		return err
	case version < oldest:
		return fmt.Errorf("the server is older than PostgreSQL 15 (%d): use a newer one", version)
	case encoding != "UTF8":
		return fmt.Errorf("the encoding of the database is %s: make it with encoding 'UTF8' template template0", encoding)
	}
	return nil
}

// checkSchema compares the database's schema with the one of this archiverd.
func (l *Ledger) checkSchema(ctx context.Context) error {
	version, err := schemaVersion(ctx, l.pool)
	if err != nil {
		return err
	}
	return fits(version)
}

// schemaVersion returns the version of the newest migration that was applied; 0: none.
func schemaVersion(ctx context.Context, q querier) (version int64, err error) {
	var there bool
	if err := q.QueryRow(ctx, "select to_regclass($1) is not null", versions).Scan(&there); err != nil || !there {
		return 0, err
	}
	err = q.QueryRow(ctx, "select coalesce(max(version_id) filter (where is_applied), 0) from "+pgx.Identifier{versions}.Sanitize()).Scan(&version)
	return version, err
}

func fits(version int64) error {
	switch {
	case version == 0:
		return ErrNoSchema
	case version < schema:
		return fmt.Errorf("%w (they have schema %d, this archiverd needs %d)", ErrOlder, version, schema)
	case version > schema:
		return fmt.Errorf("%w: the database has schema %d and this one knows %d: run the newer archiverd", state.ErrNewer, version, schema)
	}
	return nil
}
