package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/tally"
)

type runFlags struct {
	once, dryRun, strict bool
	askAnyway            bool // although a Retry-After has not passed
	anew                 bool // join no run that has begun
	only                 *fleet.Selection
}

func newRun(a *app) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run",
		Short: "Archive on the schedule, or once",
		Long: `Runs as a service and archives on the configured schedule; with --once, archives
once and exits. SIGTERM or SIGINT stops it: nothing new begins, and transfers under
way have shutdown_grace to finish; a second signal ends it at once. The next run
continues whatever was interrupted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.run(cmd.Context(), f) },
	}
	c.Flags().BoolVar(&f.once, "once", false, "make one run, then exit")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "with --once: print what would be archived and deleted, and change nothing")
	c.Flags().BoolVar(&f.strict, "strict", false, "end with exit code 3 also if an inbox needs a login, or recordings have failed for a week")
	f.only = addInbox(c)
	a.addJSON(c)
	return c
}

func (a *app) run(ctx context.Context, f runFlags) error {
	if f.dryRun && !f.once {
		return fail(exitUsage, errors.New("--dry-run needs --once"))
	}
	if a.daemon != nil {
		return fail(exitHeld, errors.New("the service holds the ledger and runs on its schedule; to make a run now, use archiverd retry"))
	}
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	m := watch.NewMetrics(version())
	if !f.once {
		return a.serve(ctx, c, m, f)
	}
	b, err := openObservedBucket(a.stop, c, m.StorageRequest, nil)
	if err != nil {
		return err
	}
	l, err := a.openOwnLedger(ctx, c, b)
	if err != nil {
		return err
	}
	m.AddLedger(l)
	if o := (opened{c, b, l}); f.dryRun {
		err = a.dryRun(ctx, o, m, f)
	} else {
		err = a.runOnce(ctx, o, m, f)
	}
	return errors.Join(err, l.Close())
}

// runOnce makes one run, prints its report, and writes and pushes its metrics as
// configured.
func (a *app) runOnce(ctx context.Context, o opened, m *watch.Metrics, f runFlags) error {
	shown := newProgress(a.stderr)
	log := a.logger(o.Log, shown.w)
	fl := o.newFleet(log, hooks{metrics: m})
	run := fl.Run
	if shared, ok := o.ledger.(*postgres.Ledger); ok {
		run = joiner{o.Config, shared, fl, log, f.anew}.run
	}
	result, err := run(ctx, a.stop, f.request(shown, log))
	a.leaveMetrics(o.Config, m, log)
	fl.Wait()
	if err != nil {
		return err
	}
	return a.sayReport(result)
}

// request is the run that the flags ask for, with its progress shown.
func (f runFlags) request(shown *progress, log *slog.Logger) fleet.Request {
	return fleet.Request{
		Only: *f.only, AskAnyway: f.askAnyway,
		Follow:   func(n *tally.Tally) func() { return shown.follow(n, log) },
		ExitCode: f.exitCode,
	}
}

func (f runFlags) exitCode(r *fleet.Result, err error) int {
	if err != nil {
		return codeOf(err)
	}
	return runCode(r.Report, r.Failures, f.strict)
}

func (a *app) sayReport(r *fleet.Result) error {
	if err := a.printReport(r); err != nil {
		return err
	}
	if r.ExitCode != exitOK {
		return &exitError{code: r.ExitCode}
	}
	return nil
}

func (a *app) dryRun(ctx context.Context, o opened, m *watch.Metrics, f runFlags) error {
	log := a.logger(o.Log, a.stderr)
	fl := o.newFleet(log, hooks{metrics: m})
	inboxes, err := fl.Inboxes(ctx, *f.only)
	if err != nil {
		return err
	}
	emit, flush := a.planPrinter()
	report := &archiver.Report{}
	for _, in := range inboxes {
		perr := fl.Archiver.Plan(a.stop, a.stop, in, emit)
		report.Inboxes = append(report.Inboxes, archiver.InboxReport{Org: in.Org, Inbox: in.ID, Err: perr})
		if perr != nil {
			log.Error("the inbox could not be listed", "org", in.Org, "inbox", in.ID, "error", perr)
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if code := runCode(report, make([]fleet.Failures, len(inboxes)), f.strict); code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

// planPrinter prints a line, or a JSON object, for each recording as it is seen.
func (a *app) planPrinter() (emit func(archiver.Planned) error, flush func() error) {
	if a.json {
		return func(p archiver.Planned) error { return a.printJSON(p) }, func() error { return nil }
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tINBOX\tRECORDING\tNAME\tREASON")
	return func(p archiver.Planned) error {
		_, err := fmt.Fprintf(w, "%s\t%s/%s\t%s\t%s\t%s\n", p.Action, p.Org, cell(p.Inbox), cell(p.Recording), cell(p.Name), cell(p.Reason))
		return err
	}, w.Flush
}

// reportJSON is a run as --json prints it.
type reportJSON struct {
	Start    time.Time         `json:"start"`
	End      time.Time         `json:"end"`
	ExitCode int               `json:"exit_code"`
	Inboxes  []inboxReportJSON `json:"inboxes"`
}

type inboxReportJSON struct {
	Org     string     `json:"org"`
	Inbox   string     `json:"inbox"`
	Pass    state.Pass `json:"pass"`
	Error   string     `json:"error,omitempty"`
	Short   string     `json:"short,omitempty"`
	Foreign []string   `json:"foreign,omitempty"`
	Corrupt []string   `json:"corrupt,omitempty"`
}

func (a *app) printReport(r *fleet.Result) error {
	if a.json {
		out := reportJSON{Start: r.Start, End: r.End, ExitCode: r.ExitCode, Inboxes: []inboxReportJSON{}}
		for _, in := range r.Inboxes {
			j := inboxReportJSON{Org: in.Org, Inbox: in.Inbox, Pass: in.Pass, Short: in.Short, Foreign: in.Foreign, Corrupt: in.Corrupt}
			if in.Err != nil {
				j.Error = in.Err.Error()
			}
			out.Inboxes = append(out.Inboxes, j)
		}
		return a.printJSON(out)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INBOX\tLISTED\tARCHIVED\tFAILED\tBYTES\tDELETIONS\tRESULT")
	for i, in := range r.Inboxes {
		p := in.Pass
		fmt.Fprintf(w, "%s/%s\t%d\t%d\t%d\t%s\t%d\t%s\n", in.Org, cell(in.Inbox), p.Listed, p.Archived, p.Failed, size(p.Bytes), p.DeleteRequested, result(in, r.Failures[i]))
	}
	return w.Flush()
}

// result says in one cell how a pass went. failing are the inbox's failed recordings, also
// those that this pass did not try again: they count for the exit code.
func result(in archiver.InboxReport, failing fleet.Failures) string {
	switch {
	case in.Err != nil:
		return cell(in.Err.Error())
	case len(in.Corrupt) > 0:
		return fmt.Sprintf("the archive does not hold what the ledger says: %v", in.Corrupt)
	case len(in.Foreign) > 0:
		return fmt.Sprintf("foreign objects stand in the way: %v", in.Foreign)
	case in.Short != "":
		return cell(in.Short)
	case in.Pass.Failed > 0:
		return fmt.Sprintf("%d failed; archiverd ls --state failed shows why", in.Pass.Failed)
	case failing.Recent > 0:
		return fmt.Sprintf("%d failed before and wait for their next try; archiverd ls --state failed shows why", failing.Recent)
	case in.Pass.Missing > 0:
		return fmt.Sprintf("Genesys counts %d more recordings than it lists; the next run looks again", in.Pass.Missing)
	case !in.Pass.Complete:
		return "the listing kept changing; nothing was deleted"
	case failing.NeedPerson > 0:
		return fmt.Sprintf("%d need a person: archiverd ls --state failed shows why", failing.NeedPerson)
	}
	return "ok"
}
