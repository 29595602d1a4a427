package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/state/statetest"
)

// server is the PostgreSQL of this package's tests.
var server *postgrestest.Server

// socket is the environment variable that tells a child of a test where the server is.
const socket = "POSTGRES_TEST_SOCKET"

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	if dir := os.Getenv(socket); dir != "" { // a child
		server = &postgrestest.Server{Dir: dir}
		return statetest.Main(m, openForSuite)
	}
	var err error
	if server, err = postgrestest.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	if err := errors.Join(os.Setenv(socket, server.Dir), makeTemplate()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Each step of the model costs many round trips, so fewer walks are made than in a file.
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("20"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return statetest.Main(m, openForSuite)
}

// template is the database that those of most tests are copied from: copying is faster than
// making tables.
const template = "migrated"

func makeTemplate() error {
	ctx := context.Background()
	err := server.Exec(ctx, "postgres", "create database "+template)
	if err == nil {
		_, err = Migrate(ctx, server.URL(template), Options{})
	}
	return err
}

// migrated makes a database with the ledger's tables.
func migrated(t testing.TB) (address string) {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	statetest.Must(t, server.Exec(t.Context(), "postgres", "create database "+name+" template "+template+" strategy file_copy"))
	return server.URL(name)
}

// openForSuite keeps the ledger of a path in a database of its own.
func openForSuite(path string, now func() time.Time, _ bool) (statetest.Ledger, error) {
	ctx := context.Background()
	sum := sha256.Sum256([]byte(path))
	name := "suite_" + hex.EncodeToString(sum[:8])
	err := server.Exec(ctx, "postgres", "create database "+name+" template "+template+" strategy file_copy")
	if there, ok := errors.AsType[*pgconn.PgError](err); err != nil && !(ok && there.Code == "42P04") {
		return nil, err
	}
	l, err := Open(ctx, server.URL(name), Options{Now: now})
	return underTest{l}, err
}

type underTest struct{ *Ledger }

// RunOut implements statetest.Ledger.
func (l underTest) RunOut(org, inbox string) error {
	return l.exec(context.Background(), "update inboxes set claimed_until = clock_timestamp() where org = $1 and id = $2", org, []byte(inbox))
}

// Check implements statetest.Ledger.
func (l underTest) Check() error { return l.Ledger.Check(context.Background()) }

func TestContract(t *testing.T) { statetest.Run(t, openForSuite) }
