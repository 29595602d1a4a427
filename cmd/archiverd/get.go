package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

func newGet(a *app) *cobra.Command {
	var output string
	var number int
	c := &cobra.Command{
		Use:   "get RECORDING",
		Short: "Fetch a recording's media from the archive and check their hash",
		Long: `Fetches a recording's media and compares their SHA-256 with the ledger's. The file
appears only if the hashes agree. With --output -, the bytes go to stdout as they
arrive; exit code 6 then says that they are not the archived ones.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v state.Version
			err := a.withLedger(toRead, func(_ *config.Config, l ledger) (err error) {
				v, err = archivedVersion(cmd.Context(), l, args[0], number)
				return err
			})
			if err != nil {
				return err
			}
			return a.get(v, output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "`file` to write, - for stdout (default: the object's own name)")
	c.Flags().IntVar(&number, "number", 0, "which archived `version` to fetch, from 1 (default: the newest)")
	return c
}

func archivedVersion(ctx context.Context, l finder, id string, number int) (state.Version, error) {
	found, err := find(ctx, l, id)
	if err != nil {
		return state.Version{}, err
	}
	e := found[len(found)-1]
	if act := e.Disposal(); act != nil {
		return state.Version{}, fail(exitUsage, fmt.Errorf("recording %s is not in the archive any more: %s had it removed on %s (%s): %s", cell(id), cell(act.By), stamp(act.At), act.Kind, cell(act.Reason)))
	}
	versions := e.Versions
	if number == 0 {
		number = len(versions)
	}
	if number < 1 || number > len(versions) {
		return state.Version{}, fail(exitUsage, fmt.Errorf("recording %s has %d archived versions; archiverd show lists them", cell(id), len(versions)))
	}
	return versions[number-1], nil
}

func (a *app) get(v state.Version, output string) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	b, err := openBucket(a.stop, c)
	if err != nil {
		return err
	}
	if output == "-" {
		return fetch(a.stop, b, v, a.stdout)
	}
	if output == "" {
		output = filepath.Base(v.MediaKey)
	}
	f, err := a.create(output)
	if err != nil {
		return fmt.Errorf("write the media: %w", err)
	}
	if err := fetch(a.stop, b, v, f); err != nil {
		return errors.Join(err, f.Drop())
	}
	if err := f.Keep(); err != nil {
		return fmt.Errorf("write the media: %w", err)
	}
	_, err = fmt.Fprintf(a.stdout, "%s: %s, SHA-256 %s as archived\n", output, size(v.Size), v.SHA256)
	return err
}

// fetch copies one version's bytes and hashes them.
func fetch(ctx context.Context, b *storage.Bucket, v state.Version, w io.Writer) error {
	r, _, err := b.Get(ctx, v.MediaKey, v.MediaVersionID)
	if errors.Is(err, storage.ErrNotFound) {
		return fail(exitIntegrity, fmt.Errorf("the archive lacks %s, which the ledger names", v.MediaKey))
	}
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), r)
	if err != nil {
		return fail(exitTemporary, fmt.Errorf("fetch %s: %w", v.MediaKey, err))
	}
	if have := hex.EncodeToString(sum.Sum(nil)); have != v.SHA256 {
		return fail(exitIntegrity, fmt.Errorf("%s has %d bytes with SHA-256 %s, the ledger says %d bytes with %s", v.MediaKey, n, have, v.Size, v.SHA256))
	}
	return nil
}
