package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
)

func newRetry(a *app) *cobra.Command {
	f := runFlags{once: true}
	var acceptGone bool
	c := &cobra.Command{
		Use:   "retry",
		Short: "Try failed recordings again now",
		Long: `Makes every failed recording due and runs once. With --accept-gone, an inbox from
which many recordings disappeared at once may call them gone.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if acceptGone && f.only.inbox == "" {
				return fail(exitUsage, errors.New("--accept-gone is for one inbox: name it with --inbox"))
			}
			return a.retry(f, acceptGone)
		},
	}
	f.only = addSelection(c)
	c.Flags().BoolVar(&acceptGone, "accept-gone", false, "believe that recordings missing in great number are really gone (with --inbox)")
	a.addJSON(c)
	return c
}

func (a *app) retry(f runFlags, acceptGone bool) error {
	return a.withLedger(toWrite, func(c *config.Config, l *state.Ledger) error {
		if a.daemon != nil {
			return a.retryInService(f, func() error { return makeDue(l, *f.only, acceptGone) })
		}
		m := watch.NewMetrics(version())
		b, err := openObservedBucket(a.stop, c, m.StorageRequest, nil)
		if err != nil {
			return err
		}
		if err := a.refuseStranger(c, b, l); err != nil {
			return err
		}
		m.AddLedger(l)
		if err := makeDue(l, *f.only, acceptGone); err != nil {
			return err
		}
		return a.runOnce(c, b, l, m, f)
	})
}

// makeDue takes failed recordings back to listed, which every pass tries.
func makeDue(l *state.Ledger, only selection, acceptGone bool) error {
	var failed []state.Key
	err := l.Scan(only.org, only.inbox, func(k state.Key, e *state.Entry) error {
		if e.State == state.StateFailed {
			failed = append(failed, k)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range failed {
		if _, err := l.Move(k, state.StateFailed, state.StateListed, func(*state.Entry) {}); err != nil {
			return err
		}
	}
	if !acceptGone {
		return nil
	}
	inboxes, err := l.Inboxes(only.org)
	for _, i := range inboxes {
		if i.ID == only.inbox {
			err = errors.Join(err, l.EditInbox(i.Org, i.ID, func(i *state.Inbox) { i.AcceptGone = true }))
		}
	}
	return err
}
