package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/state"
)

// unfinished returns the states in which a job bars an equal one from being added. River's
// default has completed jobs among them, too.
func unfinished() []rivertype.JobState {
	return []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}
}

// runArgs are those of a run's job. There is one such job at a time.
type runArgs struct {
	Scheduled bool            `json:"scheduled,omitempty"` // only if the schedule's time has come
	Only      fleet.Selection `json:"only,omitzero"`
	AskAnyway bool            `json:"ask_anyway,omitempty"`
}

func (runArgs) Kind() string { return "run" }

func (runArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: runQueue, UniqueOpts: river.UniqueOpts{ByState: unfinished()}}
}

// runWorker works a run's job many times, briefly. The first call adds the passes' jobs and
// marks the run as begun, in one transaction. Later calls snooze while passes are open. The
// last call ends the run. After a crash the same call is repeated.
type runWorker struct {
	river.WorkerDefaults[runArgs]
	w *Worker
}

func (r *runWorker) Work(ctx context.Context, job *river.Job[runArgs]) error {
	defer r.w.beats.add(job.ID, "all inboxes, to begin or end a run")()
	if !hasBegun(job.JobRow) {
		return r.begin(ctx, job)
	}
	var left int
	err := r.w.Ledger.Pool().QueryRow(ctx, `select count(*) from river_job
		where kind = 'pass' and (args->>'run')::bigint = $1 and finalized_at is null`, job.ID).Scan(&left)
	if err != nil {
		return fmt.Errorf("look at the passes of a run: %w", err)
	}
	if left > 0 {
		return river.JobSnooze(lookEvery)
	}
	return r.end(ctx, job)
}

// hasBegun reports whether the passes' jobs of a run were added.
func hasBegun(run *rivertype.JobRow) bool {
	m, err := decode[struct {
		Begun bool `json:"begun"`
	}](run.Metadata)
	return err == nil && m.Begun
}

func (r *runWorker) begin(ctx context.Context, job *river.Job[runArgs]) error {
	w := r.w
	if job.Args.Scheduled {
		due, err := w.due(ctx, job.CreatedAt)
		if err != nil || !due {
			return errors.Join(err, w.forget(ctx))
		}
	}
	dues, err := w.dues(ctx, job)
	if err != nil {
		w.Log.Error("the run could not begin; it is tried again", failure.Attr(err))
		return errors.Join(err, w.keep(ctx, job, err))
	}
	if err := w.keep(ctx, job, nil); err != nil {
		return err
	}
	var passes []river.InsertManyParams
	for _, d := range dues {
		passes = append(passes, river.InsertManyParams{Args: passArgs{Run: job.ID, Org: d.Org, Inbox: []byte(d.Inbox), Condition: d.Condition, NeedsPerson: d.NeedsPerson}})
	}
	err = pgx.BeginFunc(ctx, w.Ledger.Pool(), func(tx pgx.Tx) error {
		marked, err := tx.Exec(ctx, `update river_job set metadata = metadata || '{"begun": true}' where id = $1 and not metadata ? 'begun'`, job.ID)
		if err != nil || marked.RowsAffected() == 0 || len(passes) == 0 { // marked by another before: a stale process has nothing to add
			return err
		}
		if _, err := tx.Exec(ctx, "delete from served"); err != nil { // it is about the run under way
			return err
		}
		_, err = w.client.InsertManyFastTx(ctx, tx, passes)
		return err
	})
	if err != nil {
		return fmt.Errorf("add the passes of a run: %w", err)
	}
	w.Log.Info("run begun", "run", job.ID, "inboxes", len(dues))
	return river.JobSnooze(lookEvery)
}

func (w *Worker) dues(ctx context.Context, job *river.Job[runArgs]) ([]fleet.Due, error) {
	f, err := w.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	return f.Begin(ctx, job.Args.Only, job.Args.AskAnyway)
}

// keep records that a run is under way, or why it can't be made yet.
func (w *Worker) keep(ctx context.Context, job *river.Job[runArgs], cause error) error {
	if job.Args.Only != (fleet.Selection{}) {
		return nil
	}
	r := record(job)
	if cause != nil {
		r.ExitCode, r.Error, r.End = w.ExitCode(nil, cause), cause.Error(), w.clock.Now().UTC()
	}
	return w.Ledger.AddRun(ctx, r)
}

// record returns a run as the ledger records it. The numbers of jobs begin again in another
// database, so the time at which the database made the job tells the runs apart.
func record(job *river.Job[runArgs]) state.Run {
	return state.Run{ID: "job " + strconv.FormatInt(job.ID, 10), Start: job.CreatedAt.UTC()}
}

// due tells whether the schedule's time has come since the last run began. at is when the
// job was made, which will be when its run began: so a time of the schedule can't come once
// more after it, and a run whose begin was interrupted does not keep itself from beginning.
func (w *Worker) due(ctx context.Context, at time.Time) (bool, error) {
	runs, err := w.Ledger.Runs(ctx, 1000)
	if err != nil || w.Schedule == nil {
		return false, err
	}
	for _, r := range runs {
		if r.Start.Before(at) && r.Error == "" { // a wrong clock may have dated one in the future
			return !w.Schedule().Next(r.Start).After(at), nil
		}
	}
	return true, nil // there never was one
}

// forget deletes jobs of runs that ended long ago, or were not due.
func (w *Worker) forget(ctx context.Context) error {
	_, err := w.Ledger.Pool().Exec(ctx, "delete from river_job where kind = 'run' and finalized_at < now() - interval '1 hour'")
	if err != nil {
		return fmt.Errorf("delete jobs of earlier runs: %w", err)
	}
	return nil
}

// outcome is the output of a run's job.
type outcome struct {
	Start    time.Time        `json:"start"`
	End      time.Time        `json:"end"`
	Inboxes  []report         `json:"inboxes"`
	Failures []fleet.Failures `json:"failures"`
}

func readOutcome(row *rivertype.JobRow) (*archiver.Report, []fleet.Failures, error) {
	o, err := decode[outcome](row.Output())
	if err != nil {
		return nil, nil, err
	}
	r := &archiver.Report{Start: o.Start, End: o.End}
	for _, in := range o.Inboxes {
		r.Inboxes = append(r.Inboxes, in.inbox())
	}
	return r, o.Failures, nil
}

// end ends a run. A crash before the transaction repeats it: the record in the ledger is
// the same, and the heartbeat is sent twice.
func (r *runWorker) end(ctx context.Context, job *river.Job[runArgs]) error {
	w := r.w
	f, err := w.Fleet(ctx)
	if err != nil {
		return err
	}
	e := fleet.Ended{Run: record(job), Recorded: job.Args.Only == (fleet.Selection{}), ExitCode: w.ExitCode}
	out := outcome{Start: e.Run.Start}
	rows, err := w.Ledger.Pool().Query(ctx, `select args, coalesce(metadata->'output', 'null') from river_job
		where kind = 'pass' and (args->>'run')::bigint = $1 order by id`, job.ID)
	if err != nil {
		return fmt.Errorf("read the passes of a run: %w", err)
	}
	var args, output []byte
	_, err = pgx.ForEachRow(rows, []any{&args, &output}, func() error {
		a, err := decode[passArgs](args)
		if err != nil {
			return err
		}
		told, err := decode[report](output)
		if err != nil {
			return err
		}
		told.Org, told.Inbox = a.Org, a.Inbox
		e.Dues = append(e.Dues, fleet.Due{Org: a.Org, Inbox: string(a.Inbox), Condition: a.Condition, NeedsPerson: a.NeedsPerson})
		e.Reports = append(e.Reports, told.inbox())
		out.Inboxes = append(out.Inboxes, told)
		return nil
	})
	if err != nil {
		return fmt.Errorf("read the passes of a run: %w", err)
	}
	result, err := f.End(ctx, w.stop, e)
	if err != nil {
		return err
	}
	f.Wait()
	out.End, out.Failures = result.End, result.Failures
	return pgx.BeginFunc(ctx, w.Ledger.Pool(), func(tx pgx.Tx) error {
		if _, err := w.client.JobUpdateTx(ctx, tx, job.ID, &river.JobUpdateParams{Output: out}); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from river_job where kind = 'pass' and (args->>'run')::bigint = $1", job.ID); err != nil {
			return err
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

func decode[T any](data []byte) (v T, err error) {
	if len(data) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, fmt.Errorf("read a job: %w", err)
	}
	return v, nil
}
