package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service/watch"
)

func newRetry(a *app) *cobra.Command {
	f := runFlags{once: true, anew: true}
	var accept fleet.Acceptance
	c := &cobra.Command{
		Use:   "retry",
		Short: "Try failed recordings again now",
		Long: `Makes one run that tries every failed recording again. If many recordings disappear
from an inbox at once, archiverd waits for a person: --accept-gone confirms that they are
gone. --accept-journal accepts for good the faults that an inbox's journal has now, as
archiverd reconcile shows them: reconcile then lists them as accepted and counts the
journal as sound, and the journal records what was accepted and when. Any other fault of
the journal still counts. A lock that is too short can't be accepted: lock the object
again in the store.

If Genesys, or a gateway in front of it, asks to wait, no request is sent until then, for
at most an hour. --ask-anyway sends requests at once, for a wait that must be a mistake.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if accept != (fleet.Acceptance{}) && f.only.Inbox == "" {
				return fail(exitUsage, errors.New("--accept-gone and --accept-journal are for one inbox: name it with --inbox"))
			}
			return a.retry(cmd.Context(), f, accept)
		},
	}
	f.only = addInbox(c)
	c.Flags().BoolVar(&f.askAnyway, "ask-anyway", false, "send requests at once, although Genesys asked to wait")
	c.Flags().BoolVar(&accept.Gone, "accept-gone", false, "confirm that the many recordings that disappeared are gone (with --inbox)")
	c.Flags().BoolVar(&accept.Journal, "accept-journal", false, "accept what is wrong with the inbox's journal now (with --inbox)")
	a.addJSON(c)
	return c
}

func (a *app) retry(ctx context.Context, f runFlags, accept fleet.Acceptance) error {
	return a.withLedger(toWrite, func(c *config.Config, l ledger) error {
		if a.daemon != nil {
			return a.retryInService(ctx, f, func(arch *archiver.Archiver) error { return a.prepare(c, l, arch, *f.only, accept) })
		}
		m := watch.NewMetrics(version())
		b, err := openObservedBucket(a.stop, c, m.StorageRequest, nil)
		if err != nil {
			return err
		}
		if err := fleet.MayBegin(a.stop, c, b, l); err != nil {
			return err
		}
		m.AddLedger(l)
		o := opened{c, b, l}
		if err := a.prepare(c, l, o.newArchiver(a.logger(c.Log, a.stderr), hooks{metrics: m}), *f.only, accept); err != nil {
			return err
		}
		return a.runOnce(ctx, o, m, f)
	})
}

// prepare makes failed recordings due, and enters what is accepted, before the run. It
// logs the faults of a journal that are accepted.
func (a *app) prepare(c *config.Config, l ledger, arch *archiver.Archiver, only fleet.Selection, accept fleet.Acceptance) error {
	faults, err := fleet.Prepare(a.stop, l, arch, only, accept)
	if err != nil {
		return fail(storeCode(err), err)
	}
	log := a.logger(c.Log, a.stderr).With("inbox", only.Inbox)
	for _, f := range faults {
		log.Warn("accepted a fault of the inbox's journal", "fault", f.Kind, "object", f.Key, "detail", f.Detail)
	}
	if accept.Journal && len(faults) == 0 {
		log.Info("the inbox's journal has no faults but those accepted before")
	}
	return nil
}
