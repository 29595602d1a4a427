// Package postgrestest starts a real PostgreSQL for tests.
//
// A Server has a cluster of its own in a temporary folder, and listens on a Unix socket
// in that folder. Its processes belong to an ordinary user, because PostgreSQL refuses
// root. One server serves all tests of a package: each test has a database of its own.
package postgrestest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds the wait for a server that starts.
const startTimeout = time.Minute

// Mode is how a server is told to stop.
type Mode syscall.Signal

// The modes of "pg_ctl stop".
const (
	Fast      = Mode(syscall.SIGINT)  // ends the sessions, and writes a checkpoint
	Immediate = Mode(syscall.SIGQUIT) // ends like a crash: the next start recovers
)

// Server is a PostgreSQL. URL and Database are safe for concurrent use.
type Server struct {
	Dir string // holds the cluster and the socket

	bin      string
	settings []string
	as       *syscall.Credential // nil: the user of the test
	process  *exec.Cmd           // nil: stopped
	ended    chan struct{}
	output   bytes.Buffer // read only after the process has ended
}

// Start makes a cluster and starts it. Each setting is "name=value", as in
// postgresql.conf. The default settings do not wait for the disk: the cluster survives
// Immediate, but not a power failure.
func Start(settings ...string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := ordinaryUser()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "archiverd-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, bin: bin, settings: settings, as: as}
	if err := s.create(); err != nil {
		return nil, fmt.Errorf("make a cluster of PostgreSQL: %w", errors.Join(err, os.RemoveAll(dir)))
	}
	if err := s.Again(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Run starts a server for a test and stops it at the test's end.
func Run(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := Start(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// programs returns the folder of initdb and postgres. Debian keeps them out of PATH.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(strings.Split(path, "/")[4])
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	if len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return "", fmt.Errorf("PostgreSQL's server is missing: run .ci/install pg_createcluster (%w)", err)
		}
		found = []string{path}
	}
	return filepath.Dir(found[0]), nil
}

// ordinaryUser returns the user that the server runs as if the test runs as root.
func ordinaryUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (s *Server) create() error {
	if s.as != nil {
		if err := os.Chown(s.Dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return err
		}
	}
	c := s.command("initdb", "--pgdata", s.data(), "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

func (s *Server) command(program string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, program), args...)
	c.Dir = s.Dir
	// A test that is killed must not leave a server behind.
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT}
	return c
}

// Give writes a file that only the server can read, and returns its path.
func (s *Server) Give(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(s.Dir, name)
	err := os.WriteFile(path, content, 0o600)
	if err == nil && s.as != nil {
		err = os.Chown(path, int(s.as.Uid), int(s.as.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Again starts a server that was stopped, with its data and these settings in addition.
func (s *Server) Again(settings ...string) error {
	s.settings = append(s.settings, settings...)
	args := []string{"-D", s.data(), "-k", s.Dir}
	for _, set := range append([]string{"listen_addresses=", "fsync=off", "timezone=UTC"}, s.settings...) {
		args = append(args, "-c", set)
	}
	s.output.Reset()
	p := s.command("postgres", args...)
	p.Stdout, p.Stderr = &s.output, &s.output
	if err := p.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = p.Wait() // Stop decides what its end means
		close(ended)
	}()
	s.process, s.ended = p, ended
	return s.ready()
}

// ready waits until the server takes connections.
func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-s.ended:
			return fmt.Errorf("start PostgreSQL: it ended\n%s", &s.output)
		case <-ctx.Done():
			return fmt.Errorf("start PostgreSQL: not ready within %v: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

// Stop stops the server and waits for its end. A stopped server stays stopped.
func (s *Server) Stop(m Mode) error {
	if s.process == nil {
		return nil
	}
	if err := s.process.Process.Signal(syscall.Signal(m)); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	<-s.ended
	s.process = nil
	return nil
}

// Keep copies the data of a stopped server aside. Restore puts that copy in their place.
func (s *Server) Keep() error {
	if out, err := exec.Command("cp", "--archive", s.data(), s.data()+".kept").CombinedOutput(); err != nil {
		return fmt.Errorf("copy the data of PostgreSQL: %w\n%s", err, out)
	}
	return nil
}

// Restore puts what Keep copied in the place of the data of a stopped server, which are lost.
func (s *Server) Restore() error {
	if err := os.RemoveAll(s.data()); err != nil {
		return err
	}
	return os.Rename(s.data()+".kept", s.data())
}

// Close stops the server and removes its data.
func (s *Server) Close() error {
	return errors.Join(s.Stop(Immediate), os.RemoveAll(s.Dir))
}

// URL returns the address of a database, for its superuser postgres.
func (s *Server) URL(database string) string {
	port := "5432"
	for _, set := range s.settings {
		if p, ok := strings.CutPrefix(set, "port="); ok {
			port = p // which also names the socket
		}
	}
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(s.Dir) + "&port=" + port
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	if err := s.Exec(context.Background(), "postgres", "create database "+name); err != nil {
		t.Fatal(err)
	}
	return s.URL(name)
}

// Authenticate puts a line of pg_hba.conf before all others. The other lines trust every
// user.
func (s *Server) Authenticate(t testing.TB, line string) {
	t.Helper()
	path := filepath.Join(s.data(), "pg_hba.conf")
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, append([]byte(line+"\n"), old...), 0o600)
	}
	if err == nil {
		err = s.Exec(context.Background(), "postgres", "select pg_reload_conf()")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Exec runs a statement in a database, as its superuser, on a connection of its own.
func (s *Server) Exec(ctx context.Context, database, statement string, args ...any) error {
	c, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement, args...)
	return errors.Join(err, c.Close(ctx))
}
