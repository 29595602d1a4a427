package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage/storagetest"
	jobs "github.com/archiverd/archiverd/workers"
)

// workersResults are what make bench-workers sees.
type workersResults struct {
	Machine    machine
	PostgreSQL string
	Load       string // of the machine, before and after
	Teams      *teamResults
	Databases  []databaseCost
	Known      usage // a pass that finds knownRecordings known ones, the ledger in PostgreSQL
	KnownFile  usage // and in a file
	Small      usage // a first run over the small recordings into versitygw, the ledger in PostgreSQL: medians
	SmallFile  usage // and in a file
}

// databaseCost is what a ledger of so many archived recordings costs in PostgreSQL.
type databaseCost struct {
	Entries    int
	PerEntry   float64 // bytes on disk, indexes included, after a vacuum
	PerTable   map[string]float64
	Filled     float64 // entries a second, in pages of pageOf, by four connections
	Alone      rate    // one inbox, eight workers
	Together   rate    // twenty inboxes with eight workers each
	Status     usage   // archiverd status --json, with databaseInboxes inboxes
	StatusRead time.Duration
}

// rate is what transitions of single recordings cost.
type rate struct {
	Second float64 // transitions
	WAL    float64 // bytes a transition
	HOT    float64 // share of the updates of entries that touched no index
}

const (
	databaseInboxes = 1000
	rateTime        = 10 * time.Second
)

func (b *bench) measureWorkers(ctx context.Context, entries string, r *workersResults) (err error) {
	if r.Machine, err = b.machine(); err != nil {
		return err
	}
	s, err := postgrestest.Start("fsync=on", "shared_buffers=1GB", "max_wal_size=4GB", "max_connections=300")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := os.Setenv("TMPDIR", b.tmpfs); err != nil { // of the S3 servers
		return err
	}
	if r.PostgreSQL, err = versionOf(ctx, s); err != nil {
		return err
	}
	before := loadNow()
	r.Teams = &teamResults{}
	if err := b.measureTeams(ctx, s, r.Teams); err != nil {
		return err
	}
	for n, text := range strings.Split(entries, ",") {
		count, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		c, err := b.database(ctx, s, fmt.Sprint("ledger", n), count)
		if err != nil {
			return err
		}
		r.Databases = append(r.Databases, c)
	}
	if r.Known, err = b.knownInDatabase(ctx, s); err != nil {
		return err
	}
	if r.KnownFile, err = b.known(knownRecordings); err != nil {
		return err
	}
	if err := b.smallLedgers(ctx, s, r); err != nil {
		return err
	}
	r.Load = before + ", then " + loadNow()
	return nil
}

func versionOf(ctx context.Context, s *postgrestest.Server) (string, error) {
	f, err := postgres.Examine(ctx, s.URL("postgres"), postgres.Options{})
	return "PostgreSQL " + f.Server, err
}

// newDatabase makes a database with the tables of ledger and jobs and returns its URL.
func newDatabase(ctx context.Context, s *postgrestest.Server, name string) (string, error) {
	if err := s.Exec(ctx, "postgres", "create database "+name); err != nil {
		return "", err
	}
	if _, err := postgres.Migrate(ctx, s.URL(name), postgres.Options{}); err != nil {
		return "", err
	}
	pool, err := pgxpool.New(ctx, s.URL(name))
	if err != nil {
		return "", err
	}
	defer pool.Close()
	_, err = jobs.Migrate(ctx, pool)
	return s.URL(name), err
}

func (b *bench) database(ctx context.Context, s *postgrestest.Server, name string, n int) (c databaseCost, err error) {
	say("a ledger of %d in PostgreSQL", n)
	address, err := newDatabase(ctx, s, name)
	if err != nil {
		return c, err
	}
	config, err := b.configure(settings{inboxes: databaseInboxes, workers: workers, memory: memory, database: address}, b.sink.store(), name)
	if err != nil {
		return c, err
	}
	l, err := postgres.Open(ctx, address, postgres.Options{Binding: b.binding(b.sink.store(), name)})
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	c.Entries = n
	if c.Filled, err = fillDatabase(ctx, l, n); err != nil {
		return c, err
	}
	if err := c.measureSize(ctx, l); err != nil {
		return c, err
	}
	say("transitions")
	c.Alone, err = transitions(ctx, l, 1, n/databaseInboxes)
	if err == nil {
		c.Together, err = transitions(ctx, l, 20, n/databaseInboxes)
	}
	if err != nil {
		return c, err
	}
	began := time.Now()
	if _, err := l.Inboxes(ctx, ""); err != nil {
		return c, err
	}
	c.StatusRead = time.Since(began)
	c.Status, _, err = measure(b.command(config, "status"))
	return c, err
}

func fillDatabase(ctx context.Context, l *postgres.Ledger, n int) (perSecond float64, err error) {
	began := time.Now()
	var g errgroup.Group
	g.SetLimit(4)
	for i := range databaseInboxes {
		g.Go(func() error { return errors.Join(ctx.Err(), preload(l, userID(i), n/databaseInboxes)) })
	}
	err = g.Wait()
	return float64(n) / time.Since(began).Seconds(), err
}

func (c *databaseCost) measureSize(ctx context.Context, l *postgres.Ledger) error {
	if _, err := l.Pool().Exec(ctx, "vacuum analyze"); err != nil {
		return err
	}
	c.PerTable = map[string]float64{}
	rows, err := l.Pool().Query(ctx, `select coalesce(p.inhparent::regclass::text, c.relname),
		sum(pg_relation_size(c.oid) + case when c.reltoastrelid <> 0 then pg_total_relation_size(c.reltoastrelid) else 0 end)
		from pg_class c left join pg_inherits p on p.inhrelid = c.oid
		where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'i') group by 1`)
	if err != nil {
		return err
	}
	for rows.Next() {
		var name string
		var size float64
		if err := rows.Scan(&name, &size); err != nil {
			return err
		}
		if size /= float64(c.Entries); size >= 1 {
			c.PerTable[name] = size
		}
		c.PerEntry += size
	}
	return rows.Err()
}

// transitions makes single moves of random recordings for a while: the originals of
// archived recordings are to be deleted, and then it turns out that they are still there.
func transitions(ctx context.Context, l *postgres.Ledger, inboxes, recordings int) (r rate, err error) {
	before, err := statsOf(ctx, l)
	if err != nil {
		return r, err
	}
	var made atomic.Int64
	began := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i := range inboxes {
		claim, failed := l.Claim(ctx, orgName, userID(i))
		if failed != nil {
			return r, failed
		}
		defer func() { err = errors.Join(err, claim.Release(context.WithoutCancel(ctx))) }()
		for worker := range workers {
			g.Go(func() error {
				random := rand.New(rand.NewPCG(uint64(i), uint64(worker)))
				for time.Since(began) < rateTime {
					n := random.IntN(recordings/workers)*workers + worker
					id := recordingID(userID(i), n)
					for _, e := range [][2]state.State{{state.StateArchived, state.StateDeleteRequested}, {state.StateDeleteRequested, state.StateArchived}} {
						if _, err := claim.Move(ctx, id, e[0], e[1], func(e *state.Entry) { e.DeleteAttempts++ }); err != nil {
							return err
						}
						made.Add(1)
					}
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return r, err
	}
	took, n := time.Since(began), float64(made.Load())
	after, err := statsOf(context.WithoutCancel(ctx), l)
	if updates := after.updates - before.updates; updates > 0 {
		r.HOT = (after.hot - before.hot) / updates
	}
	r.Second, r.WAL = n/took.Seconds(), (after.wal-before.wal)/n
	return r, err
}

type stats struct{ wal, updates, hot float64 }

func statsOf(ctx context.Context, l *postgres.Ledger) (s stats, err error) {
	time.Sleep(2 * time.Second) // sessions report what they did once a second
	err = l.Pool().QueryRow(ctx, `select pg_current_wal_lsn() - '0/0', sum(n_tup_upd), sum(n_tup_hot_upd) from pg_stat_user_tables where relname like 'entries%'`).Scan(&s.wal, &s.updates, &s.hot)
	return s, err
}

// knownInDatabase is known with the ledger in PostgreSQL.
func (b *bench) knownInDatabase(ctx context.Context, s *postgrestest.Server) (u usage, err error) {
	say("a pass over %d known recordings, the ledger in PostgreSQL", knownRecordings)
	address, err := newDatabase(ctx, s, "known")
	if err != nil {
		return u, err
	}
	config, err := b.configureKnown(settings{database: address}, knownRecordings)
	if err != nil {
		return u, err
	}
	if err := s.Exec(ctx, "known", "vacuum analyze"); err != nil {
		return u, err
	}
	u, _, err = measure(b.command(config, "run", "--once"))
	return u, err
}

// smallLedgers archives the small recordings with the ledger in PostgreSQL and in a file, in
// turn.
func (b *bench) smallLedgers(ctx context.Context, s *postgrestest.Server, r *workersResults) error {
	var inDatabase, inFile []usage
	for round := range b.rounds {
		say("small recordings, round %d of %d", round+1, b.rounds)
		address, err := newDatabase(ctx, s, fmt.Sprint("small", round))
		if err != nil {
			return err
		}
		s3, err := storagetest.StartVersitygw()
		if err != nil {
			return err
		}
		b.fill(small())
		runs := []func() error{
			func() error {
				u, err := b.archive(small(), s3, "database", address)
				inDatabase = append(inDatabase, u)
				return err
			},
			func() error { u, err := b.archive(small(), s3, "file", ""); inFile = append(inFile, u); return err },
		}
		err = errors.Join(s3.CreateBucket(ctx, "database", false), s3.CreateBucket(ctx, "file", false))
		if err == nil {
			err = errors.Join(runs[round%2](), runs[1-round%2]())
		}
		if err = errors.Join(err, s3.Close()); err != nil {
			return err
		}
	}
	r.Small, r.SmallFile = medians(inDatabase), medians(inFile)
	return nil
}

// loadNow is the load of the machine.
func loadNow() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	load, _, _ := strings.Cut(string(text), " ")
	return load
}
