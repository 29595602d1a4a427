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
		Long: `Makes every failed recording due and runs once. With --accept-gone, an inbox from
which many recordings disappeared at once may call them gone. With --accept-journal, what
is wrong with an inbox's journal now, as archiverd reconcile shows it, is accepted for good:
reconcile lists it as accepted and finds the journal right, and the journal itself tells
what was accepted and when. Anything else that is ever wrong with it is a fault again.
A lock that is too short is mended in the store, not accepted.

Where Genesys, or a gateway before it, told to wait, no request is sent before that time,
which is an hour ahead at most. --ask-anyway asks at once, for a time that can't be meant.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if accept != (acceptance{}) && f.only.inbox == "" {
				return fail(exitUsage, errors.New("--accept-gone and --accept-journal are for one inbox: name it with --inbox"))
			}
			return a.retry(cmd.Context(), f, accept)
		},
	}
	f.only = addSelection(c)
	c.Flags().BoolVar(&f.askAnyway, "ask-anyway", false, "ask Genesys at once, although it told to wait")
	c.Flags().BoolVar(&accept.gone, "accept-gone", false, "believe that recordings missing in great number are really gone (with --inbox)")
	c.Flags().BoolVar(&accept.journal, "accept-journal", false, "accept what is wrong with the inbox's journal now (with --inbox)")
	a.addJSON(c)
	return c
}

// acceptance is what a person takes as it is in one inbox.
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

// prepare changes what the run is to find otherwise than before.
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

// acceptJournal accepts what is wrong with an inbox's journal, and says what that is.
func (a *app) acceptJournal(c *config.Config, arch *archiver.Archiver, i state.Inbox) error {
	faults, err := arch.AcceptJournal(a.stop, i.Org, i.ID)
	if err != nil {
		return fail(storeCode(err), err)
	}
	log := a.logger(c.Log, a.stderr).With("org", i.Org, "inbox", i.ID)
	for _, f := range faults {
		log.Warn("accepted as it is in the inbox's journal", "fault", f.Kind, "object", f.Key, "detail", f.Detail)
	}
	if len(faults) == 0 {
		log.Info("nothing is wrong with the inbox's journal but what was accepted before")
	}
	return nil
}

// makeDue takes failed recordings back to listed, which every pass tries.
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
