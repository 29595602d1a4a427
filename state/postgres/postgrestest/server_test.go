package postgrestest

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestServer wants a committed row to survive a crash of the server, and nothing left
// behind.
func TestServer(t *testing.T) {
	s, err := Start("max_connections=10")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	url := s.Database(t)
	read := func(query string) (value string) {
		t.Helper()
		c, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		if err := c.QueryRow(t.Context(), query).Scan(&value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	write(t, url, "create table kept as select 'a' as v")
	if err := s.Stop(Immediate); err != nil {
		t.Fatal(err)
	}
	if err := s.Again(); err != nil {
		t.Fatal(err)
	}
	if got := read("select v from kept"); got != "a" {
		t.Errorf("after the crash: %q", got)
	}
	if got := read("show max_connections"); got != "10" {
		t.Errorf("max_connections is %s", got)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

func write(t *testing.T, url, statement string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	if _, err := c.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
