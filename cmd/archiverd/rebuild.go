package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/rebuild"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/tally"
)

func newRebuild(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Make a lost ledger again, from the bucket alone",
		Long: `Makes a new ledger at state.path or state.url from the manifests, media and journal in
the bucket, without a request to Genesys. The file must not exist yet, and the database
must have no ledger: archiverd migrate prepares an empty one. The new ledger has no users'
tokens: each user logs in again (a client's own inbox needs no login). Recordings that
were listed and not archived are listed again by the next run. Nothing is deleted from
an inbox until archiverd reconcile has found it clean.

If all owner objects of the archive name the same ledger, the new one takes over its id,
and with it the right to delete. If the old ledger turns up again, never run archiverd
on it: destroy it, or use it in place of the new one. A backup may spare the users their
logins, but lacks everything that happened after it: see archiverd backup. Exit code 6:
something in the archive is missing, torn, foreign, unreadable or contradicts itself;
the ledger was made without it. If the store itself fails, no ledger is made.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.rebuild() },
	}
	a.addJSON(c)
	return c
}

func (a *app) rebuild() error {
	if a.daemon != nil {
		return fail(exitHeld, errors.New("the service holds a ledger; rebuild is for a lost one"))
	}
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if c.State.URL == "" {
		if err := rebuild.Free(c.State.Path); err != nil {
			return fail(exitUsage, err)
		}
	}
	b, err := openBucket(a.stop, c)
	if err != nil {
		return err
	}
	id, err := fleet.LostLedger(a.stop, c, b)
	if err != nil {
		return err
	}
	into := a.rebuildFile
	if c.State.URL != "" {
		into = a.rebuildDatabase
	}
	rebuilt, err := into(c, b, id)
	if err != nil {
		return err
	}
	return a.printRebuilt(c, rebuilt)
}

func (a *app) rebuildFile(c *config.Config, b *storage.Bucket, id string) (rebuilt *rebuild.Result, err error) {
	err = rebuild.File(c.State.Path, func(temporary string) error {
		l, err := bolt.Open(temporary, bolt.Options{Binding: binding(c), SealKey: c.State.SealKey, ID: id})
		if err != nil {
			return fail(exitUsage, err)
		}
		rebuilt, err = a.fill(c, b, l)
		return errors.Join(err, l.Close())
	})
	return rebuilt, err
}

func (a *app) rebuildDatabase(c *config.Config, b *storage.Bucket, id string) (*rebuild.Result, error) {
	o := databaseOptions(c)
	o.ID, o.Filling = id, "archiverd rebuild"
	l, err := postgres.Open(a.stop, c.State.URL, o)
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	rebuilt, err := a.fill(c, b, l)
	if err == nil {
		err = l.Filled(a.stop)
	}
	return rebuilt, errors.Join(err, l.Close())
}

func (a *app) fill(c *config.Config, b *storage.Bucket, l ledger) (*rebuild.Result, error) {
	shown := newProgress(a.stderr)
	log := a.logger(c.Log, shown.w)
	var done tally.Tally
	finish := shown.follow(&done, log)
	defer finish()
	return rebuild.FromArchive(a.stop, opened{c, b, l}.rebuildOptions(log, &done), lostOrgs(c), func(f proof.Finding) error {
		log.Error("found in the archive", "fault", f.Fault, "org", f.Org, "inbox", f.Inbox, "recording", f.Recording, "key", f.Key, "detail", f.Detail)
		return nil
	})
}

func lostOrgs(c *config.Config) (orgs []rebuild.Org) {
	for _, o := range c.Organizations {
		orgs = append(orgs, rebuild.Org{
			Name: o.Name, Format: genesys.Format(o.Format), Login: o.Grant == genesys.GrantAuthorizationCode,
		})
	}
	return orgs
}

func (a *app) printRebuilt(c *config.Config, r *rebuild.Result) error {
	if err := a.sayRebuilt(c, r); err != nil {
		return err
	}
	if r.Findings > 0 {
		return &exitError{code: exitIntegrity}
	}
	return nil
}

func (a *app) sayRebuilt(c *config.Config, r *rebuild.Result) error {
	if a.json {
		return a.printJSON(r)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "ledger\t%s at %s\n", r.Ledger, c.State.Place())
	fmt.Fprintf(w, "read\t%d manifests, %d journal objects\n", r.Manifests, r.Journal)
	fmt.Fprintf(w, "inboxes\t%d\n", r.Inboxes)
	for _, s := range state.States() {
		if n := r.Recordings[s]; n > 0 {
			fmt.Fprintf(w, "%s\t%d\n", s, n)
		}
	}
	if r.Unfinished > 0 {
		fmt.Fprintf(w, "media without a manifest\t%d; the next runs write the manifests\n", r.Unfinished)
	}
	for _, in := range r.Foreign {
		fmt.Fprintf(w, "owned by another ledger\t%s; to take over, delete its owner object once no other archiverd works on it\n", cell(in))
	}
	if r.Findings > 0 {
		fmt.Fprintf(w, "findings\t%d, above\n", r.Findings)
	}
	fmt.Fprintln(w, "next\tarchiverd login for each user, archiverd run --once, archiverd reconcile: nothing is deleted from an inbox until reconcile has found it clean")
	return w.Flush()
}

// openOwnLedger opens the ledger for a run. It makes a new one only if there is neither
// a ledger nor an archive.
func (a *app) openOwnLedger(ctx context.Context, c *config.Config, b *storage.Bucket) (ledger, error) {
	has, err := hasLedger(a.stop, c)
	if err == nil && !has {
		err = fleet.MayBegin(a.stop, c, b, nil)
	}
	if err != nil {
		return nil, err
	}
	l, err := openRecounted(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := fleet.MayBegin(a.stop, c, b, l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// openRecounted opens the ledger for runs, and checks of a file that it has as many entries
// as its counts say. A database sees to that itself, and every process would count anew.
func openRecounted(ctx context.Context, c *config.Config) (ledger, error) {
	l, err := openLedger(ctx, c, toWrite)
	if err != nil || c.State.URL != "" {
		return l, err
	}
	if err := l.Recount(ctx); err != nil {
		return nil, fail(exitUnexpected, errors.Join(err, l.Close()))
	}
	return l, nil
}
