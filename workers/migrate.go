package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

// Migrate makes River's tables, or brings them to the version that this archiverd needs. It
// returns the versions that it applied; state.ErrNewer for tables of a newer version. Processes that migrate at the same time may fail
// with an error; then nothing is half done, and migrating again succeeds.
func Migrate(ctx context.Context, pool *pgxpool.Pool) (applied []int, err error) {
	if err := checkSchema(ctx, pool); errors.Is(err, state.ErrNewer) {
		return nil, err
	}
	m, err := migrator(pool)
	if err != nil {
		return nil, err
	}
	done, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return nil, fmt.Errorf("migrate the tables of the shared jobs: %w", postgres.Classify(err))
	}
	for _, v := range done.Versions {
		applied = append(applied, v.Version)
	}
	return applied, nil
}

func migrator(pool *pgxpool.Pool) (*rivermigrate.Migrator[pgx.Tx], error) {
	return rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
}

// ErrSchema says that the tables of the shared jobs have another version.
var ErrSchema = errors.New("the database's tables for shared jobs are not those of this archiverd")

// checkSchema returns an error that Is ErrSchema if River's tables have another version, and
// state.ErrNewer too if it is a newer one.
func checkSchema(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := migrator(pool)
	if err != nil {
		return err
	}
	// River's own reader fails at a version that it does not know.
	last := 0
	err = pool.QueryRow(ctx, "select coalesce(max(version), 0) from river_migration where line = 'main'").Scan(&last)
	if err != nil && !isMissing(err) {
		return fmt.Errorf("read the version of the tables of shared jobs: %w", postgres.Classify(err))
	}
	known := m.AllVersions()
	switch newest := known[len(known)-1].Version; {
	case last > newest:
		return fmt.Errorf("%w: %w: run the newer archiverd", state.ErrNewer, ErrSchema)
	case last < newest:
		return fmt.Errorf("%w: run archiverd migrate", ErrSchema)
	}
	return nil
}

// isMissing reports whether a table or a column does not exist.
func isMissing(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (e.Code == "42P01" || e.Code == "42703")
}
