package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/workers"
)

func newMigrate(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "migrate",
		Short: "Make or update the tables of a ledger in PostgreSQL",
		Long: `Makes the tables in the database of state.url, or brings those of an older archiverd up
to date. Every other command refuses a database with other tables than it knows: exit
code 2. Run it once before the first run, and again after an update whose notes ask for
it, when no older archiverd is at work. Running it again changes nothing. The user needs
the right to create tables in the database's schema.

A ledger in a file needs no migrate: archiverd brings it up to date when it opens it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.migrate(cmd.Context()) },
	}
}

func (a *app) migrate(ctx context.Context) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if c.State.URL == "" {
		_, err := fmt.Fprintln(a.stdout, "the ledger is a file, which archiverd brings up to date when it opens it: nothing to do")
		return err
	}
	applied, err := postgres.Migrate(ctx, c.State.URL, databaseOptions(c))
	for _, version := range applied {
		fmt.Fprintf(a.stdout, "applied version %d of the tables\n", version)
	}
	if err != nil {
		return fail(exitUsage, err)
	}
	pool, err := postgres.Connect(ctx, c.State.URL, databaseOptions(c))
	if err != nil {
		return fail(exitUsage, err)
	}
	defer pool.Close()
	jobs, err := workers.Migrate(ctx, pool)
	for _, version := range jobs {
		fmt.Fprintf(a.stdout, "applied version %d of the tables of the shared jobs\n", version)
	}
	if err != nil {
		return fail(exitUsage, err)
	}
	if len(applied)+len(jobs) == 0 {
		fmt.Fprintln(a.stdout, "the tables are up to date: nothing to do")
	}
	return nil
}
