package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/state"
)

func newWaive(a *app) *cobra.Command {
	var f *orderFlags
	var undo bool
	c := &cobra.Command{
		Use:   "waive [RECORDING...] --reason TEXT",
		Short: "Accept that recordings are not archived",
		Long: `Accepts of recordings that wait, have failed or have vanished that they are not archived,
for instance because Genesys has lost their media. They are counted apart, and are no
failures any more. A waived recording is archived after all if it changes, or is listed
again after it was missing. --undo takes a waiver back: the next run tries to archive
the recording.

The ledger, and the inbox's journal in the archive, tell who waived what, when and why.
Exit code 3: something selected could not be waived.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, what, do := state.ActWaive, "Waive", (*keeping.Keeper).Waive
			if undo {
				kind, what, do = state.ActReopen, "Archive after all", (*keeping.Keeper).Reopen
			}
			o, s, err := a.order(f, kind, args)
			if err != nil {
				return err
			}
			return a.withLedger(toWrite, func(c *config.Config, l ledger) error {
				k, err := a.keeper(c, l)
				if err != nil {
					return err
				}
				return a.carryOut(cmd.Context(), l, s, f, o, what, func(ctx context.Context, o keeping.Order) (keeping.Totals, error) { return do(k, ctx, o) })
			})
		},
	}
	f = a.addOrder(c)
	c.Flags().BoolVar(&undo, "undo", false, "have waived recordings archived after all")
	return c
}
