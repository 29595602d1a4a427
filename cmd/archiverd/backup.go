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
FILE is there once it is whole and durable, with mode 0600, and must not be there
before. It holds the inboxes' tokens, sealed if state.key_file is set: keep it as safe
as the ledger. To restore it, stop archiverd and put it in state.path. A ledger that is
seen to be damaged is not copied: exit code 6.

A copy knows nothing of what came after it. What was archived since and is still in
Genesys is found in the archive by the next run and not downloaded again. What was
deleted in Genesys since stays unknown: archiverd reconcile says so, with exit code 6.
Then archiverd rebuild makes a ledger that knows it, from the archive.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.daemon == nil { // else FILE is at the caller's, who has looked
				if _, err := os.Lstat(args[0]); !errors.Is(err, fs.ErrNotExist) {
					return fail(exitUsage, errors.Join(err, fmt.Errorf("%s is there already: name a new file", args[0])))
				}
			}
			return a.withLedger(toRead, func(_ *config.Config, l *bolt.Ledger) error { return a.backup(cmd.Context(), l, args[0]) })
		},
	}
}

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
