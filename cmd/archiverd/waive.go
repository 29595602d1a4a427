package main

import (
	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/state"
)

func newWaive(a *app) *cobra.Command {
	var f *orderFlags
	c := &cobra.Command{
		Use:   "waive [RECORDING...] --reason TEXT",
		Short: "Accept that recordings are not archived",
		Long: `Accepts that the selected recordings, which wait, have failed or have vanished, are not
archived, for instance because Genesys has lost their media. They are counted apart, and
are no failures any more. A waived recording is archived after all if it changes, or is listed
again after it was missing.

The ledger, and the inbox's journal in the archive, tell who waived what, when and why.
Exit code 3: something selected could not be waived.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, s, err := a.order(f, state.ActWaive, args)
			if err != nil {
				return err
			}
			return a.keep(cmd.Context(), s, f, o, (*keeping.Keeper).Waive)
		},
	}
	f = a.addOrder(c)
	return c
}
