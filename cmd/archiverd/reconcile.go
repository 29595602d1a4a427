package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service/control"
	"github.com/archiverd/archiverd/service/watch"
)

type reconcileFlags struct {
	only     *fleet.Selection
	from, to string
	html     string
}

func newReconcile(a *app) *cobra.Command {
	var f reconcileFlags
	c := &cobra.Command{
		Use:   "reconcile",
		Short: "Compare Genesys, ledger and bucket",
		Long: `Compares Genesys' summary and listing, the ledger and the bucket, inbox by inbox. Each
recording is in exactly one class, and the sums are checked. Nothing is changed in
Genesys or in the archive. In the ledger, a token may be renewed, and deletions from a
rebuilt inbox that is found clean are allowed again.
--html writes the result as a page for auditors. --from and --to select recordings by the
UTC day of their creation; without them, recordings without a date are included.
Faults of a journal that archiverd retry --accept-journal accepted are shown as accepted.
Exit code 6: something is wrong in the archive. 3, 4 or 5: nothing was found wrong, but
not every inbox could be listed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			span, err := f.span()
			if err != nil {
				return fail(exitUsage, err)
			}
			return a.withLedger(toWrite, func(c *config.Config, l ledger) error { return a.reconcile(cmd.Context(), c, l, f, span) })
		},
	}
	f.only = addInbox(c)
	c.Flags().StringVar(&f.from, "from", "", "only recordings created on or after this `day` (2026-11-23)")
	c.Flags().StringVar(&f.to, "to", "", "only recordings created before this `day`")
	c.Flags().StringVar(&f.html, "html", "", "write the result as a page to this `file`")
	a.addJSON(c)
	return c
}

func (f reconcileFlags) span() (audit.Span, error) {
	from, fromErr := day("--from", f.from)
	to, toErr := day("--to", f.to)
	return audit.Span{From: from, To: to}, errors.Join(fromErr, toErr)
}

// day returns the start of a flag's day in UTC, or zero if the flag is not set.
func day(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, fmt.Errorf("%s %s: want a day such as 2026-11-23", flag, text)
	}
	return t, nil
}

func (a *app) reconcile(ctx context.Context, c *config.Config, l ledger, f reconcileFlags, span audit.Span) error {
	b, err := openObservedBucket(a.stop, c, nil, a.pulse())
	if err != nil {
		return err
	}
	shown := newProgress(a.stderr)
	log := a.logger(c.Log, shown.w)
	var page control.File
	if f.html != "" {
		if page, err = a.create(f.html); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
	}
	report := &reconcileReport{app: a, Made: time.Now().UTC(), Version: version(), Ledger: l.ID(), Bucket: c.Storage.Bucket, Prefix: c.Storage.Prefix,
		Org: f.only.Org, Inbox: f.only.Inbox, From: f.from, To: f.to}
	err = a.alone(log, func() error {
		o := opened{c, b, l}
		auditor := o.newAuditor(log)
		targets, err := a.targets(ctx, o, *f.only, log)
		if err != nil {
			return err
		}
		finish := shown.follow(auditor.Tally, log)
		defer finish()
		return report.run(a.stop, auditor, l, targets, span)
	})
	if err != nil {
		if page != nil {
			err = errors.Join(err, page.Drop())
		}
		return err
	}
	return report.finish(page)
}

// alone calls f while no run is under way: a run would move recordings while f looks for
// them.
func (a *app) alone(log *slog.Logger, f func() error) (err error) {
	if a.daemon == nil {
		return f()
	}
	waiting := func() { log.Info("waiting for the run under way to end") }
	run := func() {
		a.caller.Hurry(true)
		defer a.caller.Hurry(false)
		err = f()
	}
	if stopped := a.daemon.service.RunNow(a.stop, waiting, run); stopped != nil {
		return fail(exitTemporary, errors.New("stopped while it waited for a run to end"))
	}
	return err
}

// targets returns the inboxes to reconcile.
func (a *app) targets(ctx context.Context, o opened, only fleet.Selection, log *slog.Logger) ([]fleet.Target, error) {
	fl := o.newFleet(log, hooks{metrics: watch.NewMetrics(version())})
	if a.daemon != nil { // only one fleet may use the tokens and rate budgets
		var err error
		if fl, err = a.daemon.readyFleet(ctx); err != nil {
			return nil, err
		}
	}
	all, err := fl.Targets(a.stop, only)
	return all, fail(storeCode(err), err)
}

// run looks at all inboxes, one after the other.
func (r *reconcileReport) run(ctx context.Context, auditor *audit.Auditor, l ledger, targets []fleet.Target, span audit.Span) error {
	genesys := &archiver.Report{}
	for _, t := range targets {
		if i, err := l.Inbox(ctx, t.Org, t.ID); err == nil {
			for _, n := range i.Counts {
				auditor.Tally.Found.Add(n)
			}
		}
	}
	for _, t := range targets {
		r.begin()
		result, err := auditor.Reconcile(ctx, t.Inbox.Listed(), t.Unreachable, span, r)
		if err != nil {
			return fail(storeCode(err), fmt.Errorf("%s/%s was not looked at in full: %w", t.Org, cell(t.ID), err))
		}
		genesys.Inboxes = append(genesys.Inboxes, archiver.InboxReport{Org: t.Org, Inbox: t.ID, Err: result.Genesys.Err})
		if !result.Sound() {
			r.codes = append(r.codes, exitIntegrity)
		}
		if !result.Clean() {
			r.codes = append(r.codes, exitFailed)
		}
		if result.Clean() && span == (audit.Span{}) {
			if err := fleet.TrustAgain(ctx, l, t.Org, t.ID); err != nil {
				return err
			}
		}
		if err := r.end(result); err != nil {
			return err
		}
	}
	// What Genesys said of itself counts as in a run.
	if code := runCode(genesys, make([]fleet.Failures, len(targets)), true); code != exitOK {
		r.codes = append(r.codes, code)
	}
	r.Code = worst(r.codes)
	return nil
}
