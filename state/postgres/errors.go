package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/archiverd/archiverd/state"
)

// Errors of Open that callers branch on, with errors.Is.
var (
	ErrNoSchema = errors.New("the database has no tables for a ledger yet: run archiverd migrate")
	ErrOlder    = errors.New("the database has the tables of an older archiverd: run archiverd migrate, once no older archiverd needs them")
	ErrFilling  = errors.New("the ledger is not whole")
	ErrNotEmpty = errors.New("the database has a ledger already: name an empty database")
)

// damaged returns the error of a database that does not hold what was written to it.
func damaged(err error) error {
	if errors.Is(err, state.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w: restore the database to a moment before, or rebuild the ledger from the archive in an empty database", state.ErrDamaged, err)
}

// Classify tells what an error of the database means for the ledger. It leaves all others,
// and the end of the caller's context, as they are.
func Classify(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, state.ErrUnavailable) {
		return err
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return ofServer(err, server)
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	if connecting || network || pgconn.SafeToRetry(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", state.ErrUnavailable, err) }

// ofServer classifies by SQLSTATE, whose first two characters are its class:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func ofServer(err error, server *pgconn.PgError) error {
	switch class := server.Code[:min(2, len(server.Code))]; {
	case strings.HasPrefix(server.Code, "XX0"), class == "F0": // data corrupted, index corrupted, configuration file
		if server.Code == "XX000" {
			return err
		}
		return damaged(err)
	case server.Code == "25006": // read only: a standby, or a primary that became one
		return unavailable(err)
	case class == "08", class == "40", class == "53", class == "55", class == "57", class == "58":
		return unavailable(err)
	case class == "28", server.Code == "3D000", server.Code == "42501":
		return fmt.Errorf("%w: check user, password, database and rights of state.url; archiverd doctor shows what is missing", err)
	}
	return err
}
