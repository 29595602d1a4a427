package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state"
)

func newLogout(a *app) *cobra.Command {
	var org, inbox string
	c := &cobra.Command{
		Use:   "logout --inbox ID",
		Short: "Forget the authorization of a user's inbox",
		Long: `Removes the tokens of one inbox from the ledger. The inbox is not archived until its
user logs in again. Archived recordings stay in the archive and in the ledger. Genesys
Cloud keeps the authorization: an administrator can revoke it there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inbox == "" {
				return fail(exitUsage, errors.New("name the inbox with --inbox; archiverd inboxes lists them"))
			}
			return a.withLedger(toWrite, func(c *config.Config, l ledger) error { return a.logout(cmd.Context(), c, l, org, inbox) })
		},
	}
	c.Flags().StringVar(&org, "org", "", "the organization, by its configured `name`; required if there are several")
	c.Flags().StringVar(&inbox, "inbox", "", "the inbox, by its user `id`")
	return c
}

type logoutLedger interface {
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Logout(ctx context.Context, org, inbox string) error
}

func (a *app) logout(ctx context.Context, c *config.Config, l logoutLedger, org, inbox string) error {
	o, err := loginOrganization(c, org)
	if err != nil {
		return err
	}
	if _, err := l.Inbox(ctx, o.Name, inbox); errors.Is(err, state.ErrNotFound) {
		return fail(exitUsage, fmt.Errorf("no such inbox: %s/%s; archiverd inboxes lists all of them", o.Name, cell(inbox)))
	} else if err != nil {
		return err
	}
	if err := l.Logout(ctx, o.Name, inbox); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s/%s: logged out. Archived recordings stay in the archive and in the ledger. Genesys Cloud keeps the authorization until an administrator revokes it there.\n",
		o.Name, cell(inbox))
	return err
}
