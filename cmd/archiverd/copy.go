package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/rebuild"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/replica"
	"github.com/archiverd/archiverd/tally"
)

func newState(a *app) *cobra.Command {
	c := &cobra.Command{Use: "state", Short: "Move the ledger between a file and PostgreSQL"}
	c.AddCommand(newStateCopy(a))
	return c
}

func newStateCopy(a *app) *cobra.Command {
	var from, to string
	c := &cobra.Command{
		Use:   "copy --from FILE | --to FILE",
		Short: "Copy a ledger from a file into the database, or back",
		Long: `Copies a whole ledger: with --from, from FILE into the empty database of state.url, which
archiverd migrate has prepared; with --to, from that database into a new FILE. Then it
compares every entry, inbox, pass, event, token, upload and run. The copy counts only
once all of them are equal, and the source is never changed.

Stop every archiverd before. Once there was a run on the copy, never run archiverd on the
source again: both have the same id, and the right to delete. Keep the source as a backup
until a run and a reconcile on the copy have gone well. Logins stay: the tokens are copied
too, sealed with state.key_file if that is set.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (from == "") == (to == "") {
				return fail(exitUsage, errors.New("name one file, with --from or with --to"))
			}
			c, err := a.loadConfig()
			if err != nil {
				return err
			}
			if c.State.URL == "" {
				return fail(exitUsage, errors.New("set state.url: the database is where the ledger goes to, or comes from"))
			}
			if from != "" {
				return a.copyFromFile(c, from)
			}
			return a.copyToFile(c, to)
		},
	}
	c.Flags().StringVar(&from, "from", "", "the ledger `file` to copy into the database")
	c.Flags().StringVar(&to, "to", "", "the `file` to make from the database")
	return c
}

func (a *app) copyFromFile(c *config.Config, path string) error {
	from, err := bolt.Open(path, bolt.Options{Binding: binding(c), SealKey: c.State.SealKey, ReadOnly: true})
	if err != nil {
		return failOpen(err)
	}
	err = a.copyIntoDatabase(c, from)
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s is as it was: keep it as a backup, and never run archiverd on it again\n", path)
	return err
}

func (a *app) copyIntoDatabase(c *config.Config, from *bolt.Ledger) error {
	bound, err := from.Binding(a.stop)
	if err != nil {
		return err
	}
	o := databaseOptions(c)
	o.Binding, o.ID, o.Filling = bound, from.ID(), "archiverd state copy"
	to, err := postgres.Open(a.stop, c.State.URL, o)
	if err != nil {
		return fail(exitUsage, err)
	}
	err = a.copyLedger(c, from, to)
	if err == nil {
		err = to.Filled(a.stop)
	}
	return errors.Join(err, to.Close())
}

func (a *app) copyToFile(c *config.Config, path string) error {
	if err := rebuild.Free(path); err != nil {
		return fail(exitUsage, err)
	}
	o := databaseOptions(c)
	o.ReadOnly = true
	from, err := postgres.Open(a.stop, c.State.URL, o)
	if err != nil {
		return fail(exitUsage, err)
	}
	bound, err := from.Binding(a.stop)
	if err == nil {
		err = rebuild.File(path, func(temporary string) error {
			to, err := bolt.Open(temporary, bolt.Options{Binding: bound, SealKey: c.State.SealKey, ID: from.ID()})
			if err != nil {
				return fail(exitUsage, err)
			}
			return errors.Join(a.copyLedger(c, from, to), to.Close())
		})
	}
	if err = errors.Join(err, from.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "the database is as it was: set state.path to %s in place of state.url, and never run archiverd on the database again\n", path)
	return err
}

// copySource and copyTarget are the two ledgers of a copy.
type copySource interface {
	replica.Source
	ID() string
	Recount(context.Context) error
}

type copyTarget interface {
	replica.Source // so that the copy can be compared
	replica.Target
	Recount(context.Context) error
}

// copyLedger copies a ledger into an empty one, and compares them.
func (a *app) copyLedger(c *config.Config, from copySource, to copyTarget) error {
	if err := from.Recount(a.stop); err != nil {
		return err
	}
	entries, err := countEntries(a.stop, from, fleet.Selection{})
	if err != nil {
		return err
	}
	shown := newProgress(a.stderr)
	log := a.logger(c.Log, shown.w)
	var done tally.Tally
	done.Found.Store(2 * entries) // each is copied, then compared
	step := func() { done.Checked.Add(1) }
	finish := shown.follow(&done, log)
	err = replica.Copy(a.stop, from, to, step)
	if err == nil {
		err = replica.Compare(a.stop, from, to, step)
	}
	finish()
	if err == nil {
		err = to.Recount(a.stop)
	}
	if errors.Is(err, replica.ErrDiffers) {
		err = fmt.Errorf("%w: perhaps it changed meanwhile; stop every archiverd and begin anew with an empty copy", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "ledger %s: %d recordings copied and compared\n", from.ID(), entries)
	return err
}
