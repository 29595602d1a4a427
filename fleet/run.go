package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/tally"
)

// Request says which run to make.
type Request struct {
	Only      Selection
	AskAnyway bool // send requests although a Retry-After has not passed
	// Follow shows the progress until the function that it returns is called.
	Follow func(*tally.Tally) (finish func())
	// ExitCode judges a run by its result, or by why none could be made.
	ExitCode func(*Result, error) int
}

// Result is what came of a run.
type Result struct {
	*archiver.Report
	Failures []Failures // of each inbox of the report
	ExitCode int
}

// Failures counts an inbox's failed recordings, by the ledger. NeedPerson are those that
// have been reported for a week, Recent are the others.
type Failures struct{ Recent, NeedPerson int64 }

// Run makes one pass over every selected inbox. A run over all inboxes is recorded in the
// ledger when it starts and when it ends: the schedule continues from the recorded start.
// The end of stop ends the run within the grace; ctx must outlive it. Call Wait before
// the process ends.
func (f *Fleet) Run(ctx, stop context.Context, r Request) (result *Result, err error) {
	if r.Only == (Selection{}) {
		kept := state.Run{ID: rand.Text(), Start: time.Now().UTC()}
		if err := f.Ledger.AddRun(ctx, kept); err != nil {
			return nil, err
		}
		defer func() {
			kept.End = time.Now().UTC()
			err = errors.Join(err, f.keepRun(ctx, kept, result, r.ExitCode, err))
		}()
	}
	defer Recovered(os.Stderr, &err)
	return f.run(ctx, stop, r)
}

func (f *Fleet) run(ctx, stop context.Context, r Request) (*Result, error) {
	if r.AskAnyway {
		if err := f.endWaits(ctx, r.Only); err != nil {
			return nil, err
		}
	}
	inboxes, err := f.Inboxes(ctx, r.Only)
	if err != nil {
		return nil, err
	}
	before, recordings := map[inboxKey]state.Inbox{}, int64(0)
	for _, in := range inboxes {
		known, err := f.Ledger.Inbox(ctx, in.Org, in.ID)
		if err != nil {
			return nil, err
		}
		before[inboxKey{in.Org, in.ID}] = known
		recordings += known.Counts[state.StateListed] + known.Counts[state.StateFailed] + known.Counts[state.StateArchived]
	}
	abandon, cancel := withGrace(stop, f.Config.ShutdownGrace)
	defer cancel()
	defer collectRarely(f.Config.Transfer.Memory + recordings*listedRoom + heapRoom)()
	finish := r.Follow(&f.Archiver.Tally)
	result := &Result{Report: f.Archiver.Run(abandon, stop, inboxes)}
	finish()
	return result, f.judge(ctx, stop, result, r.ExitCode, before)
}

// judge completes the result of a run whose report is there, and sends the heartbeat. before
// holds the inboxes as they were when the run began.
func (f *Fleet) judge(ctx, stop context.Context, r *Result, exitCode func(*Result, error) int, before map[inboxKey]state.Inbox) (err error) {
	if r.Failures, err = f.failures(ctx, r.Report); err != nil {
		return err
	}
	r.ExitCode = exitCode(r, nil)
	f.Log.Info("run done", "inboxes", len(r.Inboxes), "exit_code", r.ExitCode, "took", r.End.Sub(r.Start).Round(time.Millisecond).String())
	f.heartbeat(stop, r, before)
	return nil
}

// keepRun records a run that has ended: what it did, or why it could not be made.
func (f *Fleet) keepRun(ctx context.Context, kept state.Run, r *Result, exitCode func(*Result, error) int, cause error) error {
	if cause != nil {
		kept.ExitCode, kept.Error = exitCode(nil, cause), cause.Error()
		return f.Ledger.AddRun(ctx, kept)
	}
	kept.ExitCode = r.ExitCode
	for _, in := range r.Inboxes {
		p := in.Pass
		kept.Inboxes++
		kept.Archived += p.Archived
		kept.Failed += p.Failed
		kept.DeleteRequested += p.DeleteRequested
		kept.Bytes += p.Bytes
	}
	return f.Ledger.AddRun(ctx, kept)
}

// failures returns the failed recordings of each inbox of the report, by the ledger, and
// logs what went wrong.
func (f *Fleet) failures(ctx context.Context, report *archiver.Report) ([]Failures, error) {
	failing := make([]Failures, len(report.Inboxes))
	for i, in := range report.Inboxes {
		known, err := f.Ledger.Inbox(ctx, in.Org, in.Inbox)
		if err != nil {
			return nil, err
		}
		failing[i] = Failures{known.Counts[state.StateFailed] - known.NeedsPerson, known.NeedsPerson}
		log := f.Log.With("org", in.Org, "inbox", in.Inbox)
		if in.Err != nil {
			log.Error("the pass ended early", failure.Attr(in.Err))
		}
		if in.Short != "" {
			log.Error("the inbox is short", "reason", in.Short)
		}
		if n := known.NeedsPerson; n > 0 {
			log.Warn("recordings have failed for a week and need a person: archiverd ls --state failed shows why", "count", n)
		}
	}
	return failing, nil
}

// withGrace returns a context that ends when stop has ended for as long as grace.
func withGrace(stop context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	release := context.AfterFunc(stop, func() {
		select {
		case <-time.After(grace):
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() { release(); cancel() }
}

// collectRarely lets the garbage collector run less often until restore is called: each
// recording leaves only little garbage, but there are many recordings. Above memory
// bytes the collector runs as often as needed. GOGC or GOMEMLIMIT in the environment
// take precedence.
func collectRarely(memory int64) (restore func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(400), debug.SetMemoryLimit(memory)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// The memory of a run besides its buffers, in bytes.
const (
	heapRoom   = 32 << 20
	listedRoom = 64 // for each recording in the ledger that the run remembers
)

// ErrPanic marks the error that Recovered makes.
var ErrPanic = errors.New("panic")

// Recovered turns a panic into an error; call it with defer. Go's own exit code for a
// panic is 2, which here means a faulty configuration.
func Recovered(stderr io.Writer, err *error) {
	if r := recover(); r != nil {
		fmt.Fprintf(stderr, "%s\n", debug.Stack())
		*err = fmt.Errorf("%w: %v: this is a fault of archiverd: please report it with the lines above", ErrPanic, r)
	}
}
