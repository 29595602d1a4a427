package integration_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// inDatabase moves the ledger of a world into a new database.
func (w *world) inDatabase(s *postgrestest.Server) {
	w.Helper()
	w.config["state"] = map[string]any{"url": s.Database(w)}
}

func (w *world) databaseURL() string { return w.config["state"].(map[string]any)["url"].(string) }

// withDatabase opens the ledger as archiverd does.
func (w *world) withDatabase(f func(*postgres.Ledger)) {
	w.Helper()
	l, err := postgres.Open(w.Context(), w.databaseURL(), postgres.Options{Binding: w.binding(), SealKey: w.sealKey})
	if err != nil {
		w.Fatal(err)
	}
	f(l)
	if err := l.Check(w.Context()); err != nil {
		w.Error(err)
	}
	if err := l.Close(); err != nil {
		w.Error(err)
	}
}

// databaseEntries is what the ledger knows.
func (w *world) databaseEntries() map[string]state.Entry {
	w.Helper()
	all := map[string]state.Entry{}
	w.withDatabase(func(l *postgres.Ledger) {
		err := l.Scan(w.Context(), "", "", func(k state.Key, e *state.Entry) error {
			all[k.Recording] = *e
			return nil
		})
		if err != nil {
			w.Error(err)
		}
	})
	return all
}

// TestDatabaseCommands runs every command on a ledger in PostgreSQL.
func TestDatabaseCommands(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 6)
	w.deleting()
	w.config["delete_originals"].(map[string]any)["max_per_pass"] = 2
	w.inDatabase(postgrestest.Run(t))

	for _, command := range []string{"status", "ls", "inboxes", "verify"} {
		if r := w.expect(2, command); !strings.Contains(r.stderr, "archiverd migrate") {
			t.Errorf("without tables, %s says %s", command, r)
		}
	}
	w.expect(0, "migrate")
	if r := w.expect(0, "migrate"); !strings.Contains(r.stdout, "nothing to do") {
		t.Errorf("a second migrate says %s", r)
	}
	if r := w.expect(2, "status"); !strings.Contains(r.stderr, "there is no ledger") {
		t.Errorf("without a ledger: %s", r)
	}
	for range 3 {
		w.once(0)
	}
	states := map[state.State]int{}
	for _, e := range w.databaseEntries() {
		states[e.State]++
	}
	if diff := cmp.Diff(map[state.State]int{state.StateArchived: 2, state.StateDeleteRequested: 2, state.StateDeleted: 2}, states); diff != "" {
		t.Errorf("the ledger's states: %s", diff)
	}
	for _, command := range []string{"status --all", "ls --json", "ls --state archived", "show r000", "get r000 --output got.wav", "inboxes", "verify --read", "reconcile", "retry"} {
		w.expect(0, strings.Fields(command)...)
	}
	inbox.Add(genesystest.Recording{ID: "lost"})
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "lost", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	w.once(3)
	w.expect(0, "waive", "lost", "--reason", "lost by Genesys", "--yes")
	w.wantTold("waived", []string{"lost"})
	if r := w.expect(0, "ls", "--state", "waived", "--csv", "--sort", "created"); strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("ls says %s", r)
	}
	w.once(0)
	if got, err := os.ReadFile(filepath.Join(w.dir, "got.wav")); err != nil || len(got) == 0 {
		t.Errorf("get fetched %d bytes, %v", len(got), err)
	}
	if r := w.expect(2, "backup", filepath.Join(w.dir, "copy")); !strings.Contains(r.stderr, "pg_dump") {
		t.Errorf("backup says %s", r)
	}
	if _, err := os.Stat(w.ledgerPath()); err == nil {
		t.Error("there is a file too")
	}
}

// TestDatabaseLogin logs a user in and out.
func TestDatabaseLogin(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna")
	w.inDatabase(postgrestest.Run(t))
	w.sealKey = []byte("0123456789abcdef0123456789abcdef")
	key := filepath.Join(w.dir, "seal.key")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(w.sealKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	w.config["state"].(map[string]any)["key_file"] = key
	w.expect(0, "migrate")
	l := w.startLogin()
	w.browse(l.address, users[0], true)
	l.wantEnd(0, "anna")
	w.withDatabase(func(l *postgres.Ledger) {
		if token, err := l.Token(t.Context(), "acme", "anna"); err != nil || token.Refresh == "" || !token.Confirmed {
			t.Errorf("the token: %v, %v", token, err)
		}
	})
	w.once(0)
	w.expect(0, "logout", "--inbox", "anna")
	w.withDatabase(func(l *postgres.Ledger) {
		if i, err := l.Inbox(t.Context(), "acme", "anna"); err != nil || !i.LoggedOut || i.Counts[state.StateArchived] != 2 {
			t.Errorf("after the logout: %+v, %v", i, err)
		}
	})
}

// TestDatabaseLost loses the database of an archive that has lived: rebuild fills an empty
// one.
func TestDatabaseLost(t *testing.T) {
	t.Parallel()
	s := postgrestest.Run(t)
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 4)
	w.inDatabase(s)
	w.expect(0, "migrate")
	w.once(0)
	inbox.Change("r001")
	w.once(0)
	w.once(0)
	want := w.databaseEntries()

	w.inDatabase(s)
	w.expect(0, "migrate")
	if r := w.once(2); !strings.Contains(r.stderr, "archiverd rebuild") {
		t.Errorf("the refusal names no way out: %s", r)
	}
	w.expect(0, "rebuild")
	diff := cmp.Diff(want, w.databaseEntries(), cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Second), cmpopts.IgnoreFields(state.Entry{}, "MissingSince"))
	if diff != "" {
		t.Errorf("-lost +rebuilt\n%s", diff)
	}
	w.expect(2, "rebuild") // it replaces none
	asked := w.transfers()
	w.once(0)
	if n := w.transfers() - asked; n != 0 {
		t.Errorf("the rebuilt ledger's run asked Genesys %d times for media", n)
	}
	w.expect(0, "reconcile")
}

// TestStateCopy moves a ledger that has lived from a file into a database and back.
func TestStateCopy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 5)
	w.once(0)
	inbox.Change("r001")
	inbox.Remove("r002")
	inbox.Add(genesystest.Recording{ID: "late"})
	w.deleting()
	w.config["delete_originals"].(map[string]any)["max_per_pass"] = 1
	w.once(0)
	w.once(0)
	file, err := os.ReadFile(w.ledgerPath())
	if err != nil {
		t.Fatal(err)
	}
	want := w.entries(inbox)

	w.inDatabase(postgrestest.Run(t))
	w.expect(2, "state", "copy", "--from", w.ledgerPath()) // no tables
	w.expect(0, "migrate")
	w.expect(2, "state", "copy")
	if r := w.expect(0, "state", "copy", "--from", w.ledgerPath()); !strings.Contains(r.stdout, "6 recordings copied and compared") {
		t.Errorf("the copy says %s", r)
	}
	if diff := cmp.Diff(want, w.databaseEntries(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-file +database\n%s", diff)
	}
	if after, err := os.ReadFile(w.ledgerPath()); err != nil || !bytes.Equal(file, after) {
		t.Errorf("the source changed: %v", err)
	}
	w.expect(2, "state", "copy", "--from", w.ledgerPath()) // the database is not empty
	asked := w.transfers()
	w.once(0)
	if n := w.transfers() - asked; n != 0 {
		t.Errorf("the run after the copy asked Genesys %d times for media", n)
	}
	w.expect(0, "verify")

	back := filepath.Join(w.dir, "back.db")
	want = w.databaseEntries()
	w.expect(0, "state", "copy", "--to", back)
	w.expect(2, "state", "copy", "--to", back) // it replaces none
	if err := os.Rename(back, w.ledgerPath()); err != nil {
		t.Fatal(err)
	}
	w.config["state"] = map[string]any{"path": w.ledgerPath()}
	if diff := cmp.Diff(want, w.entries(inbox), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-database +file\n%s", diff)
	}
	w.once(0)
}

// TestDatabaseRefused wants a database that is not the configuration's refused with the
// remedy, and one that is away reported as temporary.
func TestDatabaseRefused(t *testing.T) {
	t.Parallel()
	s := postgrestest.Run(t)
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 2)
	w.inDatabase(s)
	w.expect(0, "migrate")
	w.once(0)

	bucket := w.bucket
	w.bucket = w.s3.NewBucket(t, true)
	if r := w.expect(2, "status"); !strings.Contains(r.stderr, bucket) {
		t.Errorf("another bucket: %s", r)
	}
	w.bucket = bucket

	w.withDatabase(func(l *postgres.Ledger) {
		if _, err := l.Pool().Exec(t.Context(), "insert into archiverd_schema (version_id, is_applied) values (99, true)"); err != nil {
			t.Error(err)
		}
	})
	for _, command := range []string{"status", "run --once", "migrate"} {
		if r := w.expect(2, strings.Fields(command)...); !strings.Contains(r.stderr, "newer archiverd") {
			t.Errorf("a newer schema: %s says %s", command, r)
		}
	}

	if err := s.Stop(postgrestest.Fast); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"status", "run --once", "migrate"} {
		w.expect(5, strings.Fields(command)...)
	}
}

// TestDatabasePassword reaches the database with a password, from its own file, from
// systemd's credentials, and from the file that PGPASSFILE names.
func TestDatabasePassword(t *testing.T) {
	t.Parallel()
	s := postgrestest.Run(t)
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 1)
	for _, statement := range []string{"create role keeper login password 'hunter2-kept'", "create database kept owner keeper"} {
		if err := s.Exec(context.Background(), "postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	s.Authenticate(t, "local all keeper scram-sha-256")
	url := strings.Replace(s.URL("kept"), "postgres@", "keeper@", 1)
	w.config["state"] = map[string]any{"url": url}
	if r := w.expect(2, "migrate"); !strings.Contains(r.stderr, "password") {
		t.Errorf("without a password: %s", r)
	}
	write := func(name, text string) string {
		path := filepath.Join(w.dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("db.secret", "hunter2-kept\n")
	w.config["state"] = map[string]any{"url": url, "password_file": "db.secret"}
	results := []result{w.expect(0, "migrate"), w.once(0)}
	write("db.secret", "hunter2-wrong\n")
	results = append(results, w.expect(2, "status"))
	w.env = append(w.env, "CREDENTIALS_DIRECTORY="+filepath.Join(w.dir, "credentials"))
	if err := os.Mkdir(filepath.Join(w.dir, "credentials"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("credentials/db.secret", "hunter2-kept\n")
	results = append(results, w.expect(0, "status"))
	w.config["state"] = map[string]any{"url": url}
	w.env = append(w.env, "PGPASSFILE="+write("pgpass", "*:*:kept:keeper:hunter2-kept\n"))
	results = append(results, w.expect(0, "status"))
	for _, r := range results {
		if strings.Contains(r.stdout+r.stderr, "hunter2") {
			t.Errorf("a password is shown: %s", r)
		}
	}
}

// TestDatabaseCrashes lets the server crash and come back in the middle of runs, after
// downloads and in the middle of deletions. What was interrupted is done by the next run.
func TestDatabaseCrashes(t *testing.T) {
	t.Parallel()
	s := postgrestest.Run(t)
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 40)
	want := all(inbox)
	w.deleting()
	w.inDatabase(s)
	w.expect(0, "migrate")
	crash := make(chan struct{}, 1)
	var seen, at atomic.Int64 // downloads and deletions, and the one at which the server crashes
	count := func() {
		if seen.Add(1) == at.Load() {
			crash <- struct{}{}
		}
	}
	w.cloud.Configure(func(o *genesystest.Options) {
		guard := o.OnDelete
		o.OnDownload = func(*genesystest.Inbox, string) { count() }
		o.OnDelete = func(inbox, id string) error {
			count()
			return guard(inbox, id)
		}
	})
	for _, n := range []int64{3, 17, 45, 60} {
		at.Store(n)
		p := w.start("run", "--once")
		select {
		case <-crash:
			if err := errors.Join(s.Stop(postgrestest.Immediate), s.Again()); err != nil {
				t.Fatal(err)
			}
		case <-p.ended: // it came as far without this download or deletion
		}
		if r := p.wait(); r.code != 0 && r.code != 5 {
			t.Errorf("the run in which the database crashed: %s", r)
		}
		w.withDatabase(func(l *postgres.Ledger) { // the run could not release its claim: its time is over
			if _, err := l.Pool().Exec(t.Context(), "update inboxes set claimed_until = clock_timestamp()"); err != nil {
				t.Error(err)
			}
		})
	}
	w.once(0)
	w.once(0)
	w.wantArchived(want)
	for id, e := range w.databaseEntries() {
		if e.State != state.StateDeleted {
			t.Errorf("%s is %s", id, e.State)
		}
	}
	if n := w.transfers(); n > 2*3*len(want.ids) { // three requests for each
		t.Errorf("%d requests for %d recordings", n, len(want.ids))
	}
}
