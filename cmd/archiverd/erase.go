package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/state"
)

func newErase(a *app) *cobra.Command {
	var f *orderFlags
	var r *removalFlags
	var authority string
	var bypass bool
	c := &cobra.Command{
		Use:   "erase RECORDING... --reason TEXT --authority TEXT --credentials FILE",
		Short: "Remove recordings from the archive, by an order",
		Long: `Removes all versions of media and manifests from the bucket, for a data subject's request or
a court's order. What stays is a record in the ledger and in the journal: ids, hashes, sizes,
dates, reason and authority, and no personal data. An erased recording is never archived again.

Nothing is removed of a recording that a case holds or that compliance retention keeps: the
command says until when. Governance retention needs --bypass-governance.

The original in Genesys Cloud is not touched: where it may still be there, the command says
so, and it has to be deleted there, too.

The same command given again finishes what was interrupted. Exit code 3: something selected was
left, or failed.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, s, err := a.order(f, state.ActErase, args)
			if err != nil {
				return err
			}
			if o.Authority = strings.TrimSpace(authority); o.Authority == "" {
				return fail(exitUsage, errors.New("--authority is required: the request or order by which the recordings are erased"))
			}
			return a.withLedger(toWrite, func(c *config.Config, l ledger) error {
				k, err := a.keeper(c, l)
				if err != nil {
					return err
				}
				with, err := a.remover(cmd.Context(), c, r)
				if err != nil {
					return err
				}
				return a.carryOut(cmd.Context(), l, s, f, o, func(ctx context.Context, o keeping.Order) (keeping.Totals, error) {
					return k.Erase(ctx, o, keeping.Removal{With: with, Bypass: bypass})
				})
			})
		},
	}
	f = a.addOrder(c)
	r = addRemoval(c)
	c.Flags().StringVar(&authority, "authority", "", "the request or order, for the ledger and the journal (required)")
	c.Flags().BoolVar(&bypass, "bypass-governance", false, "also remove what governance retention keeps; the credentials need s3:BypassGovernanceRetention")
	return c
}
