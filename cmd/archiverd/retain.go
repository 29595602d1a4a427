package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/state"
)

func newRetain(a *app) *cobra.Command {
	var f *orderFlags
	var until, period string
	c := &cobra.Command{
		Use:   "retain [RECORDING...] (--until DATE | --for PERIOD) --reason TEXT",
		Short: "Keep recordings for longer than their retention",
		Long: `Extends the locks of media, of manifests, and of the journal objects that tell of them: until
a date, or for a period. The period counts from the recording's date, as
storage.object_lock.retain_for does. A lock is only made longer; what is kept for longer
already stays as it is. Objects that have a lock keep its mode, others get the configured one.

A change of retain_for in the configuration changes what is written from then on, and nothing
that is stored: archiverd retain --all --for PERIOD does.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, s, err := a.order(f, state.ActRetain, args)
			if err != nil {
				return err
			}
			return a.retain(cmd.Context(), s, f, o, until, period)
		},
	}
	f = a.addOrder(c)
	c.Flags().StringVar(&until, "until", "", "keep until this `date` (2036-11-23, or RFC 3339)")
	c.Flags().StringVar(&period, "for", "", "keep for this `period` since each recording's date (10y, 3650d)")
	return c
}

func (a *app) retain(ctx context.Context, s state.Selection, f *orderFlags, o keeping.Order, until, period string) error {
	end, err := date("--until", until)
	if err != nil {
		return fail(exitUsage, err)
	}
	p, ok := config.ParsePeriod(period)
	switch {
	case (until == "") == (period == ""):
		return fail(exitUsage, errors.New("want either --until or --for"))
	case period != "" && !ok:
		return fail(exitUsage, fmt.Errorf("--for %s: want a period such as 10y or 3650d", period))
	case until != "" && end.Before(time.Now().Add(time.Hour)):
		return fail(exitUsage, fmt.Errorf("--until %s: want a time that is an hour from now, or later", until))
	}
	ends := func(e *state.Entry) time.Time {
		if until != "" {
			return end
		}
		return proof.Retention{Until: p.After}.End(e.DateCreated, e.Newest().ArchivedAt)
	}
	return a.keep(ctx, s, f, o, func(k *keeping.Keeper, ctx context.Context, o keeping.Order) (keeping.Totals, error) {
		return k.Retain(ctx, o, ends)
	})
}
