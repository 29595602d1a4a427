package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

func newLogout(a *app) *cobra.Command {
	var org, inbox string
	c := &cobra.Command{
		Use:   "logout --inbox ID",
		Short: "Forget the authorization of a user's inbox",
		Long: `Forgets the tokens of one inbox and leaves it alone until its user logs in again. What
is archived stays, in the archive and in the ledger. The authorization itself is
Genesys Cloud's: an administrator can revoke it there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if inbox == "" {
				return fail(exitUsage, errors.New("name the inbox with --inbox; archiverd inboxes lists them"))
			}
			return a.withLedger(toWrite, func(c *config.Config, l *bolt.Ledger) error { return a.logout(cmd.Context(), c, l, org, inbox) })
		},
	}
	c.Flags().StringVar(&org, "org", "", "the organization, by its configured `name`; needed where there are several")
	c.Flags().StringVar(&inbox, "inbox", "", "the inbox, by its user `id`")
	return c
}

func (a *app) logout(ctx context.Context, c *config.Config, l *bolt.Ledger, org, inbox string) error {
	o, err := loginOrganization(c, org)
	if err != nil {
		return err
	}
	if _, err := l.Inbox(ctx, o.Name, inbox); errors.Is(err, state.ErrNotFound) {
		return fail(exitUsage, fmt.Errorf("no such inbox: %s/%s; archiverd inboxes lists those there are", o.Name, cell(inbox)))
	} else if err != nil {
		return err
	}
	if err := l.Logout(ctx, o.Name, inbox); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s/%s: logged out. What is archived stays, and what the ledger knows of it. Genesys Cloud still lists the authorization until an administrator revokes it there.\n",
		o.Name, cell(inbox))
	return err
}
