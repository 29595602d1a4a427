// Package workers shares the runs of one configuration among any number of equal
// processes. They meet in the ledger's PostgreSQL database, in which River keeps the jobs.
//
// A run is a job, and each pass of the run is a job. A job of a third kind, a look, adds a run
// if one is due. What is promised:
//
//   - One run at a time. River's elected leader adds a look when the schedule says so, and each
//     minute. A time of the schedule that comes during a run is skipped; one that was missed
//     while no process worked is made up for once. Times are the database's.
//   - One pass over an inbox at a time. Jobs run at least once, so a job alone proves
//     nothing: a pass works under the inbox's claim, and whoever has the claim decides what
//     becomes of the job.
//   - A pass stops after some minutes of transfers and goes on later, in this process or in
//     another: a huge inbox does not keep the others waiting.
//   - If a process is told to stop, other processes go on with its passes at once. If it dies,
//     they do so once its claims have run out.
//   - A run has ended when its last pass has, wherever that ran. Its passes' jobs are then
//     deleted, so River's tables stay small.
package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
	"github.com/robfig/cron/v3"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

// ledger is what the package asks of a ledger; *postgres.Ledger has it.
type ledger interface {
	Pool() *pgxpool.Pool
	Claim(ctx context.Context, org, inbox string) (state.Claim, error)
	AddRun(ctx context.Context, r state.Run) error
	AddRunTx(ctx context.Context, tx pgx.Tx, r state.Run) error
	Runs(ctx context.Context, limit int) ([]state.Run, error)
}

// Options configure a Worker. All are required, but for Schedule.
type Options struct {
	Ledger ledger
	Name   string        // of this process in the ledger's claims
	Claim  time.Duration // how long the ledger's claims live
	Passes int           // made at a time
	Grace  time.Duration // how long transfers under way may take once the process is told to stop
	// Fleet returns the fleet of the configuration as last read. It is asked before each
	// run and each pass.
	Fleet func(context.Context) (*fleet.Fleet, error)
	// Schedule returns that of the configuration as last read; nil: this process starts
	// no runs by itself.
	Schedule func() cron.Schedule
	// ExitCode judges a run by its result, or by why it could not be made.
	ExitCode func(*fleet.Result, error) int
	Log      *slog.Logger
}

// Worker is one of the processes.
type Worker struct {
	Options
	client *river.Client[pgx.Tx]
	clock  *clock
	beats  beats
	lost   atomic.Int64    // claims
	stop   context.Context // once it ends, passes end soon; set by Work
	abort  context.Context // once it ends, transfers are abandoned; set by Work
}

const (
	runQueue  = "runs"
	passQueue = "passes"
	never     = 10 * 365 * 24 * time.Hour
	// many attempts, because each rescue from a process that died counts as one.
	many = 10_000
)

// New returns a Worker that does not work yet. The database must have River's tables: see
// Migrate.
func New(ctx context.Context, o Options) (*Worker, error) {
	w := &Worker{Options: o, clock: &clock{}}
	if err := checkSchema(ctx, o.Ledger.Pool()); err != nil {
		return nil, err
	}
	if err := w.clock.set(ctx, o.Ledger.Pool()); err != nil {
		return nil, err
	}
	config := &river.Config{
		Queues:                      map[string]river.QueueConfig{runQueue: {MaxWorkers: 1}, passQueue: {MaxWorkers: o.Passes}},
		Workers:                     river.NewWorkers(),
		JobTimeout:                  -1,    // a pass takes as long as it takes; see beats
		RescueStuckJobsAfter:        never, // by the clock of a process; see beats
		CompletedJobRetentionPeriod: -1,    // the end of a run reads its passes' jobs and deletes them
		FetchCooldown:               fetchCooldown,
		MaxAttempts:                 many,
		ErrorHandler:                failures{o.Log},
		RetryPolicy:                 retry{w.clock},
		Logger:                      slog.New(quieter{o.Log.Handler()}),
		Test:                        river.TestConfig{Time: w.clock},
	}
	if o.Schedule != nil {
		config.PeriodicJobs = []*river.PeriodicJob{river.NewPeriodicJob(
			atLeastEachMinute{o.Schedule},
			func() (river.JobArgs, *river.InsertOpts) { return lookArgs{}, nil },
			&river.PeriodicJobOpts{RunOnStart: true},
		)}
	}
	river.AddWorker(config.Workers, &lookWorker{w: w})
	river.AddWorker(config.Workers, &runWorker{w: w})
	river.AddWorker(config.Workers, &passWorker{w: w})
	var err error
	w.client, err = river.NewClient(riverpgxv5.New(o.Ledger.Pool()), config)
	if err != nil {
		return nil, fmt.Errorf("prepare the shared jobs: %w", err)
	}
	return w, nil
}

// Work takes part in runs until stop ends. Then it leaves its passes to the other
// processes, within the grace. ctx must outlive stop. A Worker that can't begin to work
// returns an error at once.
func (w *Worker) Work(ctx, stop context.Context) error {
	working, cancel := context.WithCancel(ctx)
	defer cancel()
	w.stop, w.abort = stop, working
	if err := w.client.Start(ctx); err != nil {
		return fmt.Errorf("start to share the jobs: %w", postgres.Classify(err))
	}
	var parts sync.WaitGroup
	parts.Go(func() { w.beat(working) })
	select {
	case <-stop.Done():
	case <-w.client.Stopped():
	}
	// Stop waits until the jobs under way have ended, and River has written what became of
	// them. After the grace, cancel makes passes abandon their transfers.
	grace := time.AfterFunc(w.Grace, cancel)
	defer grace.Stop()
	bounded, end := context.WithTimeout(ctx, w.Grace+stopTimeout)
	defer end()
	err := w.client.Stop(bounded)
	cancel()
	parts.Wait()
	w.leave(ctx)
	if err != nil {
		return fmt.Errorf("leave the shared jobs: %w: the other processes take them over when the claims have run out", err)
	}
	return nil
}

// stopTimeout is for writing down what became of the jobs.
const stopTimeout = 15 * time.Second

// Follow waits until no run is under way, or stop ends. It calls idle while no pass is under
// way here.
func (w *Worker) Follow(stop context.Context, idle func()) error {
	for under := true; under; {
		if !w.beats.any() {
			idle()
		}
		select {
		case <-stop.Done():
			return nil
		case <-time.After(followEvery): // at first, so that the leader has begun the run that is due
		}
		err := w.Ledger.Pool().QueryRow(stop, "select exists (select from river_job where kind = 'run' and finalized_at is null)").Scan(&under)
		if err != nil && stop.Err() == nil {
			return fmt.Errorf("look whether a run is under way: %w", postgres.Classify(err))
		}
	}
	return nil
}

const followEvery = 3 * time.Second

// Doing describes what this process does, for people.
func (w *Worker) Doing() string { return w.beats.text() }

// ErrOther says that the run under way can't be joined: it is over other inboxes, it waits as
// Genesys asked (without askAnyway), or it has begun although anew was asked for.
var ErrOther = errors.New("another run is under way")

// Join returns the number of a run over the selected inboxes: a new run, or the run under way
// if it is over the same inboxes. anew refuses a run that has begun to pass over inboxes. With
// ErrOther, Join returns the number of the run under way.
func (w *Worker) Join(ctx context.Context, only fleet.Selection, askAnyway, anew bool) (int64, error) {
	added, err := w.client.Insert(ctx, runArgs{Only: only, AskAnyway: askAnyway}, nil)
	if err != nil {
		return 0, fmt.Errorf("begin a run: %w", postgres.Classify(err))
	}
	if !added.UniqueSkippedAsDuplicate {
		return added.Job.ID, nil
	}
	id := added.Job.ID
	args, err := decode[runArgs](added.Job.EncodedArgs)
	if err != nil {
		return 0, err
	}
	if args.Only != only || askAnyway && !args.AskAnyway || anew && hasBegun(added.Job) {
		return id, ErrOther
	}
	return id, nil
}

// Wait waits for the end of a run, which this or other processes make, also while the
// database can't be reached. It returns an error if the run could not begin.
func (w *Worker) Wait(ctx context.Context, run int64) (*archiver.Report, []fleet.Failures, error) {
	for {
		pause := waitEvery
		row, err := w.client.JobGet(ctx, run)
		switch {
		case errors.Is(err, rivertype.ErrNotFound):
			return nil, nil, errors.New("the run has ended so long ago that its report is gone: see archiverd status")
		case err != nil:
			w.Log.Warn("the database does not tell whether the run has ended; asked again", "error", err)
			pause = lookEvery
		case row.FinalizedAt != nil:
			return readOutcome(row)
		case row.State == rivertype.JobStateRetryable && !hasBegun(row):
			return nil, nil, fmt.Errorf("%w: the run can't begin yet; the next archiverd run tries again: %s", state.ErrUnavailable, row.Errors[len(row.Errors)-1].Error)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// fetchCooldown is the shortest time between two looks for jobs, which a new or an ended job
// causes: with River's default, a place for a pass stays free that much longer.
const fetchCooldown = 20 * time.Millisecond

// waitEvery is how often a command looks whether the run has ended for which it waits.
const waitEvery = 100 * time.Millisecond

// lookEvery is how often a run looks whether its passes have ended, in case that the last one
// could not wake it.
const lookEvery = time.Second
