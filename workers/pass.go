package workers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/claims"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

// passArgs are those of a pass's job. Ids of inboxes are any bytes.
type passArgs struct {
	Run         int64  `json:"run"`
	Org         string `json:"org" river:"unique"`
	Inbox       []byte `json:"inbox" river:"unique"`
	Condition   string `json:"condition,omitempty"` // of the inbox when the run began, with NeedsPerson
	NeedsPerson int64  `json:"needs_person,omitempty"`
}

func (passArgs) Kind() string { return "pass" }

func (passArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: passQueue, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: unfinished()}}
}

// report is the output of a pass's job: what the pass has done so far.
type report struct {
	Org     string        `json:"org,omitempty"`
	Inbox   []byte        `json:"inbox,omitempty"`
	Pass    state.Pass    `json:"pass"`
	Error   *failure.Told `json:"error,omitempty"`
	Short   string        `json:"short,omitempty"`
	Foreign []string      `json:"foreign,omitempty"`
	Corrupt []string      `json:"corrupt,omitempty"`
}

func reportOf(r archiver.InboxReport) report {
	return report{r.Org, []byte(r.Inbox), r.Pass, failure.Tell(r.Err), r.Short, r.Foreign, r.Corrupt}
}

func (r report) inbox() archiver.InboxReport {
	return archiver.InboxReport{Org: r.Org, Inbox: string(r.Inbox), Pass: r.Pass, Err: r.Error.Err(), Short: r.Short, Foreign: r.Foreign, Corrupt: r.Corrupt}
}

const (
	// slice is how long a pass transfers before it yields its place. Each part lists the
	// inbox anew, so it is long against a listing.
	slice = 2 * time.Minute
	// claimedPause is how long a job waits whose inbox another process has, perhaps one that
	// died.
	claimedPause = 3 * time.Second
)

// passWorker works a pass's job under the inbox's claim. River may give one job to two
// processes, for instance after one was suspended, and the one without the claim may still
// change the job's state; at worst the job is worked once more. So the holder of the claim
// first reads whether the job is open, and completes it, whatever its state, before it
// releases the claim.
type passWorker struct {
	river.WorkerDefaults[passArgs]
	w *Worker
}

func (p *passWorker) Work(ctx context.Context, job *river.Job[passArgs]) error {
	err := p.work(ctx, job)
	if err == nil {
		p.w.wake(ctx, job.Args.Run)
	}
	if _, later := errors.AsType[*rivertype.JobSnoozeError](err); err != nil && !later {
		// What fails here may succeed elsewhere: the others shall get the next jobs first.
		select {
		case <-time.After(claimedPause):
		case <-p.w.stop.Done():
		}
	}
	return err
}

func (p *passWorker) work(ctx context.Context, job *river.Job[passArgs]) error {
	w := p.w
	f, err := w.Fleet(ctx)
	switch {
	case w.stop.Err() != nil:
		return river.JobSnooze(0)
	case err != nil:
		return fmt.Errorf("prepare a pass: %w", err)
	}
	claim, err := w.Ledger.Claim(ctx, job.Args.Org, string(job.Args.Inbox))
	switch {
	case errors.Is(err, state.ErrClaimed):
		w.Log.Debug("another process has the inbox", "org", job.Args.Org, "inbox", string(job.Args.Inbox), "error", err)
		return river.JobSnooze(claimedPause)
	case errors.Is(err, state.ErrNotFound):
		return w.write(ctx, completeJob, job.ID, report{Error: failure.Tell(err)})
	case err != nil:
		return err
	}
	log := w.Log.With("org", job.Args.Org, "inbox", string(job.Args.Inbox), "claim", claim.Number())
	if claims.Over(claim) {
		log.Warn("this process was stopped for so long that its new claim on the inbox has run out")
		return river.JobSnooze(claimedPause)
	}
	log.Debug("works on the inbox")
	defer func() {
		log.Debug("leaves the inbox")
		claims.Release(ctx, claim, log)
	}()
	row, err := w.client.JobGet(ctx, job.ID)
	switch {
	case err != nil:
		return fmt.Errorf("read what a pass did: %w", postgres.Classify(err))
	case row.FinalizedAt != nil:
		return nil
	}
	part := archiver.Part{Claim: claim, Side: w.Passes, Slice: slice, AddPass: completing(job.JobRow, claim)}
	if output := row.Output(); len(output) > 0 {
		told, err := decode[report](output)
		if err != nil {
			return err
		}
		earlier := told.inbox()
		part.Earlier = &earlier
	}
	defer w.beats.add(job.ID, job.Args.Org+"/"+string(job.Args.Inbox))()
	got := f.Pass(w.abort, w.stop, job.Args.Org, string(job.Args.Inbox), part)
	return w.settle(ctx, job, claim, got)
}

// settle writes down what came of a pass or a part of one, also after the database was away
// for a moment. A pass that could write itself into the ledger has completed its job there: see
// completing.
func (w *Worker) settle(ctx context.Context, job *river.Job[passArgs], claim state.Claim, got archiver.InboxReport) error {
	for {
		err := w.settleNow(ctx, job, claim, got)
		if !errors.Is(err, state.ErrUnavailable) || claims.Over(claim) {
			return err
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return err
		}
	}
}

func (w *Worker) settleNow(ctx context.Context, job *river.Job[passArgs], claim state.Claim, got archiver.InboxReport) error {
	lost := got.Err
	if !errors.Is(lost, state.ErrClaimLost) {
		lost = claim.Keep(ctx) // then the claim lives long enough for what follows
	}
	switch {
	case errors.Is(lost, state.ErrClaimLost):
		w.lost.Add(1)
		w.Log.Warn("the claim on the inbox was lost: another process goes on", "org", got.Org, "inbox", got.Inbox, "error", lost)
		return river.JobSnooze(claimedPause)
	case lost != nil:
		return lost
	}
	cause := got.Err
	away := errors.Is(cause, state.ErrUnavailable)
	if !errors.Is(cause, archiver.ErrYielded) && !away && !mayPassElsewhere(job.JobRow, cause) {
		return w.write(ctx, completeJob, job.ID, reportOf(got))
	}
	got.Err = nil
	if err := w.write(ctx, keepPart, job.ID, reportOf(got)); err != nil {
		return err
	}
	switch {
	case away:
		w.Log.Warn("the database could not be reached; the pass goes on later", "org", got.Org, "inbox", got.Inbox, "error", cause)
		return river.JobSnooze(claimedPause)
	case errors.Is(cause, archiver.ErrYielded):
		return river.JobSnooze(0)
	}
	return cause
}

// mayPassElsewhere reports whether a pass failed by what may be wrong with this process alone,
// while its configuration is changed on one machine after the other. After some tries the
// failure counts.
func mayPassElsewhere(job *rivertype.JobRow, cause error) bool {
	_, usage := errors.AsType[*fleet.UsageError](cause)
	return (usage || failure.KindOf(cause) == failure.KindClientRefused) && len(job.Errors) < triesElsewhere
}

const triesElsewhere = 8

// passAdder is implemented by the claims of a ledger in PostgreSQL.
type passAdder interface {
	AddPassAnd(ctx context.Context, p state.Pass, edit func(*state.Inbox), sql string, args ...any) error
}

// completing writes a pass into the ledger and completes its job, in one transaction: a worker
// that dies leaves both or none. The job of a pass that may succeed elsewhere goes on.
func completing(job *rivertype.JobRow, claim state.Claim) func(context.Context, archiver.InboxReport, func(*state.Inbox)) error {
	return func(ctx context.Context, r archiver.InboxReport, edit func(*state.Inbox)) error {
		if mayPassElsewhere(job, r.Err) {
			return claim.AddPass(ctx, r.Pass, edit)
		}
		output, err := json.Marshal(reportOf(r))
		if err != nil {
			return fmt.Errorf("encode what a pass did: %w", err)
		}
		return claim.(passAdder).AddPassAnd(ctx, r.Pass, edit, completeJob, job.ID, output)
	}
}

const keepPart = "update river_job set metadata = metadata || jsonb_build_object('output', $2::jsonb) where id = $1 and finalized_at is null"

// completeJob takes the place of River's JobCompleteTx. That changes a job only while its state
// is running, which a process that lost its claim may have changed; and it wants a pgx.Tx of its
// own, while the ledger's changes of an inbox share theirs.
const completeJob = `update river_job set metadata = metadata || jsonb_build_object('output', $2::jsonb),
	state = 'completed', finalized_at = now() where id = $1 and finalized_at is null`

// write writes the output of a job.
func (w *Worker) write(ctx context.Context, sql string, job int64, output any) error {
	data, err := json.Marshal(output)
	if err != nil {
		return fmt.Errorf("encode what a job did: %w", err)
	}
	if _, err := w.Ledger.Pool().Exec(ctx, sql, job, data); err != nil {
		return fmt.Errorf("write what a job did: %w", postgres.Classify(err))
	}
	return nil
}
