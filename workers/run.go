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
	"github.com/riverqueue/river/rivertype"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
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
		return fmt.Errorf("look at the passes of a run: %w", postgres.Classify(err))
	}
	if left > 0 {
		return river.JobSnooze(lookEvery)
	}
	return r.end(ctx, job)
}

// wakeRun makes a run's job due, also by clocks that go by the database's only nearly, if none of
// its passes is open, and tells River's clients so, as River does when it adds a job. It returns
// whether the job looks at its passes at this moment, and may have seen the last one open.
const wakeRun = `with over as (
		select where not exists (select from river_job
			where queue = $2 and state = any($3::text[]::river_job_state[]) and (args->>'run')::bigint = $1)),
	woken as (
		update river_job set scheduled_at = least(scheduled_at, now() - interval '1 second')
		where id = $1 and state = 'available' and exists (select from over)
		returning pg_notify(current_schema() || '.river_insert', json_build_object('queue', queue)::text))
	select exists (select from over) and exists (select from river_job where id = $1 and state = 'running')`

// wake ends a run at once if the pass that has ended was its last. If that fails, the run's job
// looks by itself.
func (w *Worker) wake(ctx context.Context, run int64) {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	for looks := true; looks; {
		if err := w.Ledger.Pool().QueryRow(ctx, wakeRun, run, passQueue, unfinished()).Scan(&looks); err != nil {
			w.Log.Debug("the run could not be told that a pass has ended; it looks by itself", "error", err)
			return
		}
		looks = looks && failure.Pause(ctx, waitEvery)
	}
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
	dues, err := w.dues(ctx, job)
	if err != nil {
		return w.putOff(ctx, job, err)
	}
	var passes []river.InsertManyParams
	for _, d := range dues {
		passes = append(passes, river.InsertManyParams{Args: passArgs{Run: job.ID, Org: d.Org, Inbox: []byte(d.Inbox), Condition: d.Condition, NeedsPerson: d.NeedsPerson}})
	}
	begun := false
	err = pgx.BeginFunc(ctx, w.Ledger.Pool(), func(tx pgx.Tx) error {
		marked, err := tx.Exec(ctx, `update river_job set metadata = metadata || '{"begun": true}'
			where id = $1 and not metadata ? 'begun' and finalized_at is null`, job.ID)
		begun = marked.RowsAffected() > 0
		if err != nil || !begun { // by another process: this one has nothing to say
			return err
		}
		// While this transaction has the job, no process can end the run: a record that is
		// written now takes the place of no later one.
		if job.Args.Only == (fleet.Selection{}) {
			err = w.Ledger.AddRunTx(ctx, tx, record(job))
		}
		if err != nil || len(passes) == 0 {
			return err
		}
		if _, err := tx.Exec(ctx, "delete from served"); err != nil { // it is about the run under way
			return err
		}
		_, err = w.client.InsertManyFastTx(ctx, tx, passes)
		return err
	})
	if err != nil {
		return fmt.Errorf("add the passes of a run: %w", postgres.Classify(err))
	}
	if begun {
		w.Log.Info("run begun", "run", job.ID, "inboxes", len(dues))
	}
	return river.JobSnooze(lookEvery)
}

// putOff writes down why a run could not begin. The run is tried again, unless this process
// knows none of its inboxes.
func (w *Worker) putOff(ctx context.Context, job *river.Job[runArgs], cause error) error {
	if _, usage := errors.AsType[*fleet.UsageError](cause); usage && job.Args.Only != (fleet.Selection{}) {
		text := fmt.Sprintf("worker %s refuses the run: %v: use the same configuration on every machine", w.Name, cause)
		refused := outcome{Error: &failure.Told{Kind: failure.KindConfiguration, Text: text}}
		return w.write(ctx, completeJob+" and not metadata ? 'begun'", job.ID, refused)
	}
	row, err := w.client.JobGet(ctx, job.ID)
	if err == nil && row.FinalizedAt == nil && !hasBegun(row) { // nor did another process begin it meanwhile
		err = w.keep(ctx, job, cause)
	}
	return errors.Join(fmt.Errorf("begin a run: %w", cause), err)
}

func (w *Worker) dues(ctx context.Context, job *river.Job[runArgs]) ([]fleet.Due, error) {
	f, err := w.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	return f.Begin(ctx, job.Args.Only, job.Args.AskAnyway)
}

// keep records why a run can't be made yet.
func (w *Worker) keep(ctx context.Context, job *river.Job[runArgs], cause error) error {
	if job.Args.Only != (fleet.Selection{}) {
		return nil
	}
	r := record(job)
	r.ExitCode, r.Error, r.End = w.ExitCode(nil, cause), cause.Error(), w.clock.Now().UTC()
	return w.Ledger.AddRun(ctx, r)
}

// record returns a run as the ledger records it. The numbers of jobs begin again in another
// database, so the time at which the database made the job tells the runs apart.
func record(job *river.Job[runArgs]) state.Run {
	return state.Run{ID: "job " + strconv.FormatInt(job.ID, 10), Start: job.CreatedAt.UTC()}
}

// outcome is the output of a run's job.
type outcome struct {
	Error    *failure.Told    `json:"error,omitempty"` // why there could be no run
	Start    time.Time        `json:"start"`
	End      time.Time        `json:"end"`
	Inboxes  []report         `json:"inboxes"`
	Failures []fleet.Failures `json:"failures"`
}

func readOutcome(row *rivertype.JobRow) (*archiver.Report, []fleet.Failures, error) {
	if len(row.Output()) == 0 {
		return nil, nil, fmt.Errorf("the run has not ended: its job in the database is %s, which archiverd never does: begin another run", row.State)
	}
	o, err := decode[outcome](row.Output())
	if err == nil {
		err = o.Error.Err()
	}
	if err != nil {
		return nil, nil, err
	}
	r := &archiver.Report{Start: o.Start, End: o.End}
	for _, in := range o.Inboxes {
		r.Inboxes = append(r.Inboxes, in.inbox())
	}
	return r, o.Failures, nil
}

// readPasses reads what the passes of a run did, unless the run has ended.
const readPasses = `select pass.args, coalesce(pass.metadata->'output', 'null'), pass.state = 'completed'
	from river_job run left join river_job pass on pass.kind = 'pass' and (pass.args->>'run')::bigint = run.id
	where run.id = $1 and run.finalized_at is null order by pass.id`

// end ends a run. After a crash before the transaction, end runs again: it writes the same
// record, and sends a second heartbeat. A process that was suspended meanwhile finds the run
// ended, and does nothing.
func (r *runWorker) end(ctx context.Context, job *river.Job[runArgs]) error {
	w := r.w
	f, err := w.Fleet(ctx)
	if err != nil {
		return fmt.Errorf("end a run: %w", err)
	}
	e := fleet.Ended{Run: record(job), Recorded: job.Args.Only == (fleet.Selection{}), ExitCode: w.ExitCode}
	out := outcome{Start: e.Run.Start}
	rows, err := w.Ledger.Pool().Query(ctx, readPasses, job.ID)
	if err != nil {
		return fmt.Errorf("read the passes of a run: %w", postgres.Classify(err))
	}
	var args, output []byte
	var completed *bool
	read, err := pgx.ForEachRow(rows, []any{&args, &output, &completed}, func() error {
		if completed == nil { // a run over no inbox
			return nil
		}
		a, err := decode[passArgs](args)
		if err != nil {
			return err
		}
		told, err := decode[report](output)
		if err != nil {
			return err
		}
		if !*completed {
			told.Error = failure.Tell(errors.New("the pass did not end: its job in the database was ended from outside archiverd"))
		}
		told.Org, told.Inbox = a.Org, a.Inbox
		e.Dues = append(e.Dues, fleet.Due{Org: a.Org, Inbox: string(a.Inbox), Condition: a.Condition, NeedsPerson: a.NeedsPerson})
		e.Reports = append(e.Reports, told.inbox())
		out.Inboxes = append(out.Inboxes, told)
		return nil
	})
	if err != nil || read.RowsAffected() == 0 {
		return err
	}
	result, err := f.End(ctx, w.stop, e)
	if err != nil {
		return err
	}
	f.Wait()
	out.End, out.Failures = result.End, result.Failures
	return w.complete(ctx, job.ID, out)
}

// complete completes a run's job, and deletes the passes' jobs.
func (w *Worker) complete(ctx context.Context, run int64, out outcome) error {
	output, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode what a run did: %w", err)
	}
	err = pgx.BeginFunc(ctx, w.Ledger.Pool(), func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, completeJob, run, output); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "delete from river_job where kind = 'pass' and (args->>'run')::bigint = $1", run)
		return err
	})
	if err != nil {
		return fmt.Errorf("end a run: %w", postgres.Classify(err))
	}
	return w.forget(ctx)
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
