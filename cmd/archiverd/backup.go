package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state/bolt"
)

func newBackup(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the ledger while it is in use",
		Long: `Writes a copy of the ledger as it is now, also while a run or the service is at work.
FILE must not exist. It appears, with mode 0600, when it is complete and durable. It
contains the inboxes' tokens, sealed if state.key_file is set: keep it as safe as the
ledger. To restore it, stop archiverd and put it at state.path. A ledger that is found
to be damaged is not copied: exit code 6.

A copy lacks everything that happened after it. Recordings that were archived since and
are still in Genesys are found in the archive by the next run and not downloaded again.
Recordings that were deleted in Genesys since stay unknown: archiverd reconcile reports
them, with exit code 6. archiverd rebuild then makes a complete ledger from the archive.

A ledger in PostgreSQL is backed up with its database: see docs/operate.md.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.daemon == nil { // in the service, the caller has checked this
				if _, err := os.Lstat(args[0]); !errors.Is(err, fs.ErrNotExist) {
					return fail(exitUsage, errors.Join(err, fmt.Errorf("%s exists already: name a new file", args[0])))
				}
			}
			return a.withLedger(toRead, func(c *config.Config, l ledger) error {
				file, ok := l.(*bolt.Ledger)
				if !ok {
					return fail(exitUsage, errors.New(backupDatabase))
				}
				return a.backup(cmd.Context(), file, args[0])
			})
		},
	}
}

// backupDatabase is what backup says of a ledger in PostgreSQL.
const backupDatabase = `the ledger is in PostgreSQL, so it is backed up with the database, and not by archiverd:
keep a base backup and the archived WAL (pg_basebackup, pgBackRest, your provider's point-in-time recovery), which
lose nothing; or run pg_dump often. A database that is restored to an earlier moment lacks everything that happened
after it, as an old file does: stop every archiverd before the restore, and run archiverd reconcile after it`

func (a *app) backup(ctx context.Context, l *bolt.Ledger, path string) error {
	if err := l.Recount(ctx); err != nil {
		return err
	}
	f, err := a.create(path)
	if err != nil {
		return fail(exitUsage, err)
	}
	if err := l.Copy(f); err != nil {
		return errors.Join(err, f.Drop())
	}
	if err := f.Keep(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s: a copy of ledger %s\n", path, l.ID())
	return err
}
