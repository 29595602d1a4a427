package workers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
	"github.com/robfig/cron/v3"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
	"github.com/archiverd/archiverd/twins"
	"github.com/archiverd/archiverd/uploads"
)

// server is the PostgreSQL of this package's tests.
var server *postgrestest.Server

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if server, err = postgrestest.Start("max_connections=300"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Close()
	ctx := context.Background()
	if err = server.Exec(ctx, "postgres", "create database "+template); err == nil {
		err = migrateAll(ctx, server.URL(template))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// template is the database that those of most tests are copied from.
const template = "migrated"

func migrateAll(ctx context.Context, address string) error {
	if _, err := postgres.Migrate(ctx, address, postgres.Options{}); err != nil {
		return err
	}
	pool, err := postgres.Connect(ctx, address, postgres.Options{})
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = Migrate(ctx, pool)
	return err
}

// claimLife is short, so that a pass outlasts it soon.
const claimLife = 4 * time.Second

// testTimeout ends a test that hangs. No test waits for it to pass.
const testTimeout = time.Minute

// rig is an organization whose users have logged in, a bucket, and a database.
type rig struct {
	*testing.T
	cloud   *genesystest.Cloud
	bucket  *storage.Bucket
	address string
	ledger  *postgres.Ledger
	inboxes []*genesystest.Inbox
}

// newRig has so many inboxes with two recordings each.
func newRig(t *testing.T, inboxes int) *rig {
	t.Helper()
	t.Parallel()
	cloud, err := genesystest.New(genesystest.Options{})
	must(t, err)
	t.Cleanup(cloud.Close)
	s3 := storagetest.Fake(t)
	bucket, err := storage.Open(t.Context(), s3.Options(s3.NewBucket(t, false)))
	must(t, err)
	name := "test_" + strings.ToLower(rand.Text())
	must(t, server.Exec(t.Context(), "postgres", "create database "+name+" template "+template+" strategy file_copy"))
	r := &rig{T: t, cloud: cloud, bucket: bucket, address: server.URL(name)}
	r.ledger = r.open()
	for i := range inboxes {
		in := cloud.AddUser(fmt.Sprintf("user-%02d", i), "User", "user@example.com")
		for n := range 2 {
			in.Add(genesystest.Recording{ID: fmt.Sprintf("%s-%d", in.ID, n)})
		}
		token := state.Token{Access: in.IssueAccessToken(time.Hour), Refresh: in.IssueRefreshToken(), Expiry: time.Now().Add(time.Hour)}
		must(t, r.ledger.Login(t.Context(), "acme", in.ID, token, func(*state.Inbox) {}))
		r.inboxes = append(r.inboxes, in)
	}
	return r
}

// open opens the ledger, as each process does for itself.
func (r *rig) open() *postgres.Ledger {
	r.Helper()
	l, err := postgres.Open(r.Context(), r.address, postgres.Options{Claim: claimLife})
	must(r, err)
	r.Cleanup(func() {
		if err := l.Close(); err != nil {
			r.Error(err)
		}
	})
	return l
}

// worker is a process that has not begun to work. It begins no runs by itself.
func (r *rig) worker(edit ...func(*Options)) *Worker {
	r.Helper()
	l, log := r.open(), slog.New(slog.NewTextHandler(r.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	c := &config.Config{Organizations: []config.Organization{{
		Name: "acme", APIURL: r.cloud.APIURL(), LoginURL: r.cloud.LoginURL(), ClientID: "client", ClientSecret: config.NewSecret("secret"),
		Grant: genesys.GrantAuthorizationCode, DownloadAPI: "transcoding", Format: "WAV", PageSize: 100, RequestsPerMinute: 3000,
	}}}
	c.State.URL = "postgres://"
	f := fleet.New(fleet.Options{
		Config: c, Ledger: l, Log: log,
		Archiver: r.archiver(l, log),
		Hosts: func(o config.Organization) (*fleet.Hosts, error) {
			return fleet.NewHosts(c, o, "archiverd/test", nil, nil)
		},
	})
	o := Options{
		Ledger: l, Name: l.Holder(), Claim: claimLife, Passes: 4, Log: log,
		Fleet:    func(context.Context) (*fleet.Fleet, error) { return f, nil },
		ExitCode: func(*fleet.Result, error) int { return 0 },
	}
	for _, e := range edit {
		e(&o)
	}
	w, err := New(r.Context(), o)
	must(r, err)
	return w
}

func (r *rig) archiver(l *postgres.Ledger, log *slog.Logger) *archiver.Archiver {
	const prefix = "genesys"
	retention := proof.Retention{Until: func(from time.Time) time.Time { return from.AddDate(7, 0, 0) }}
	prover := &proof.Prover{Bucket: r.bucket, Prefix: prefix, Ledger: l.ID(), Log: log}
	return archiver.New(archiver.Options{
		Bucket: r.bucket, Ledger: l, Prover: prover, Prefix: prefix, Workers: 2, Memory: 64 << 20, Retention: retention, Log: log,
		Journal: &journal.Writer{Bucket: r.bucket, Ledger: l, Prover: prover, Prefix: prefix, Retention: retention, Log: log},
		Uploads: &uploads.Uploader{Bucket: r.bucket, Ledger: l, Prefix: prefix, Log: log},
		Twins:   twins.Finder{Ledger: l},
	})
}

// work lets a worker work until the end of the test.
func (r *rig) work(w *Worker) {
	stop, leave := context.WithCancel(context.Background())
	left := make(chan error, 1)
	go func() { left <- w.Work(context.WithoutCancel(stop), stop) }()
	r.Cleanup(func() {
		leave()
		if err := <-left; err != nil {
			r.Error(err)
		}
	})
}

// join begins a run over all inboxes, or joins the one under way.
func (r *rig) join(w *Worker) int64 {
	r.Helper()
	id, err := w.Join(r.Context(), fleet.Selection{}, false, false)
	must(r, err)
	return id
}

// ends waits for the end of a run.
func (r *rig) ends(w *Worker, run int64) *archiver.Report {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	report, _, err := w.Wait(ctx, run)
	must(r, err)
	return report
}

// await waits until Genesys was asked for something n times.
func (r *rig) await(op string, n int) {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	must(r, r.cloud.Await(ctx, op, n))
}

// execute executes statements.
func (r *rig) execute(sql string) {
	r.Helper()
	_, err := r.ledger.Pool().Exec(r.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	must(r, err)
}

// number reads a number.
func (r *rig) number(sql string, args ...any) (n int64) {
	r.Helper()
	must(r, r.ledger.Pool().QueryRow(r.Context(), sql, args...).Scan(&n))
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func every(spec string) func() cron.Schedule {
	s, err := cron.ParseStandard(spec)
	return func() cron.Schedule {
		if err != nil {
			panic(err)
		}
		return s
	}
}

// isSnooze reports whether a job goes on later.
func isSnooze(err error) bool {
	_, ok := errors.AsType[*rivertype.JobSnoozeError](err)
	return ok
}

// listen returns a function that waits until the database has told n times of a channel.
func (r *rig) listen(channel string) (await func(n int)) {
	r.Helper()
	c, err := pgx.Connect(r.Context(), r.address)
	must(r, err)
	r.Cleanup(func() { _ = c.Close(context.Background()) })
	_, err = c.Exec(r.Context(), "listen "+channel)
	must(r, err)
	return func(n int) {
		r.Helper()
		ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
		defer cancel()
		for range n {
			_, err := c.WaitForNotification(ctx)
			must(r, err)
		}
	}
}
