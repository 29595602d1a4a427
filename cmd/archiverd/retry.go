package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

func newRetry(a *app) *cobra.Command {
	f := runFlags{once: true}
	var accept acceptance
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
			if accept != (acceptance{}) && f.only.inbox == "" {
				return fail(exitUsage, errors.New("--accept-gone and --accept-journal are for one inbox: name it with --inbox"))
			}
			return a.retry(cmd.Context(), f, accept)
		},
	}
	f.only = addSelection(c)
	c.Flags().BoolVar(&f.askAnyway, "ask-anyway", false, "send requests to Genesys at once, although it asked to wait")
	c.Flags().BoolVar(&accept.gone, "accept-gone", false, "confirm that the many recordings that disappeared at once are gone (with --inbox)")
	c.Flags().BoolVar(&accept.journal, "accept-journal", false, "accept the faults that the inbox's journal has now (with --inbox)")
	a.addJSON(c)
	return c
}

// acceptance says what a person accepts in one inbox.
type acceptance struct{ gone, journal bool }

func (a *app) retry(ctx context.Context, f runFlags, accept acceptance) error {
	return a.withLedger(toWrite, func(c *config.Config, l *bolt.Ledger) error {
		if a.daemon != nil {
			return a.retryInService(ctx, f, func(arch *archiver.Archiver) error { return a.prepare(ctx, c, l, arch, *f.only, accept) })
		}
		m := watch.NewMetrics(version())
		b, err := openObservedBucket(a.stop, c, m.StorageRequest, nil)
		if err != nil {
			return err
		}
		if err := a.refuseStranger(ctx, c, b, l); err != nil {
			return err
		}
		m.AddLedger(l)
		if err := a.prepare(ctx, c, l, newArchiver(c, b, l, a.logger(c.Log, a.stderr)), *f.only, accept); err != nil {
			return err
		}
		return a.runOnce(ctx, c, b, l, m, f)
	})
}

// prepare makes failed recordings due, and enters what is accepted, before the run.
func (a *app) prepare(ctx context.Context, c *config.Config, l *bolt.Ledger, arch *archiver.Archiver, only selection, accept acceptance) error {
	if accept == (acceptance{}) {
		return makeDue(ctx, l, only)
	}
	inboxes, err := l.Inboxes(ctx, only.org)
	if err != nil {
		return err
	}
	inboxes = slices.DeleteFunc(inboxes, func(i state.Inbox) bool { return i.ID != only.inbox })
	switch len(inboxes) {
	case 0:
		return noSuchInbox(only)
	case 1:
	default:
		return fail(exitUsage, fmt.Errorf("--inbox %q is in several organizations: name one with --org", only.inbox))
	}
	in := inboxes[0]
	if accept.gone {
		if err := l.EditInbox(ctx, in.Org, in.ID, func(i *state.Inbox) { i.AcceptGone = true }); err != nil {
			return err
		}
	}
	if accept.journal {
		if err := a.acceptJournal(c, arch, in); err != nil {
			return err
		}
	}
	return makeDue(ctx, l, only)
}

// acceptJournal accepts the faults that an inbox's journal has now, and logs them.
func (a *app) acceptJournal(c *config.Config, arch *archiver.Archiver, i state.Inbox) error {
	faults, err := arch.AcceptJournal(a.stop, i.Org, i.ID)
	if err != nil {
		return fail(storeCode(err), err)
	}
	log := a.logger(c.Log, a.stderr).With("org", i.Org, "inbox", i.ID)
	for _, f := range faults {
		log.Warn("accepted a fault of the inbox's journal", "fault", f.Kind, "object", f.Key, "detail", f.Detail)
	}
	if len(faults) == 0 {
		log.Info("the inbox's journal has no faults but those accepted before")
	}
	return nil
}

// makeDue moves failed recordings back to listed, so that the next pass tries them.
func makeDue(ctx context.Context, l *bolt.Ledger, only selection) error {
	var failed []state.Key
	err := l.ScanWaiting(ctx, only.org, only.inbox, func(k state.Key, e *state.Entry) error {
		if e.State == state.StateFailed {
			failed = append(failed, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range failed {
		if _, err := l.Move(ctx, k, state.StateFailed, state.StateListed, func(*state.Entry) {}); err != nil {
			return err
		}
	}
	return nil
}
