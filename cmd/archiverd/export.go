package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/export"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/rebuild"
	"github.com/archiverd/archiverd/service/control"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/tally"
)

// exportFlags are the flags of export beside those of the selection.
type exportFlags struct {
	by          string
	fromArchive bool
	dryRun      bool
}

func newExport(a *app) *cobra.Command {
	var f *selectionFlags
	var e exportFlags
	c := &cobra.Command{
		Use:   "export [RECORDING...] DIR|FILE.zip",
		Short: "Copy selected recordings out of the archive, for people without archiverd",
		Long: `Copies the selected recordings into a folder, or into a zip file if the name ends in
.zip: media, manifests, the journal's events of each recording, a page (index.html) on
which to read, sort, filter and play them, a table (index.csv), a statement of what was
selected and what is not there and why (statement.txt), and the SHA-256 of every file
(SHA256SUMS, for sha256sum -c). Every byte is compared with the ledger on the way. Nobody
needs archiverd to read an export.

An interrupted export into a folder goes on if the same command is given again; a zip
file begins anew. With --from-archive the ledger is not read: what it would say is read
from the manifests and journals of the whole archive, so that a machine without the
ledger can export. Nothing is changed in the archive or in the ledger.

Exit code 3: something that was selected is not in the export, for a reason that the
statement names. Exit code 6: an object is missing in the archive, or differs.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, target := args[:len(args)-1], args[len(args)-1]
			s, err := f.selection(ids)
			if err != nil {
				return err
			}
			if s.Empty() {
				return fail(exitUsage, errNothingSelected)
			}
			return a.export(s, selectionArgs(cmd.Flags(), ids), target, e)
		},
	}
	f = addSelection(c)
	f.addAll(c)
	c.Flags().StringVar(&e.by, "by", "", "who exports, a `name` for the statement (default: the operating system's user)")
	c.Flags().BoolVar(&e.fromArchive, "from-archive", false, "read the bucket alone, not the ledger")
	c.Flags().BoolVar(&e.dryRun, "dry-run", false, "print what would be exported")
	a.addJSON(c)
	return c
}

// selectionArgs returns the part of a command line that selects recordings.
func selectionArgs(flags *pflag.FlagSet, ids []string) (args []string) {
	flags.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "by", "from-archive", "dry-run", "json", "config":
		case "all":
			args = append(args, "--all")
		default:
			args = append(args, "--"+f.Name+"="+f.Value.String())
		}
	})
	if len(ids) > 0 {
		args = append(append(args, "--"), ids...)
	}
	return args
}

func (a *app) export(s state.Selection, words []string, target string, e exportFlags) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	b, err := openBucket(a.stop, c)
	if err != nil {
		return err
	}
	shown := newProgress(a.stderr)
	log := a.logger(c.Log, shown.w)
	var from entries
	if e.fromArchive {
		from, err = a.selectedFromArchive(c, b, s, log)
	} else {
		from, err = a.selectedFromLedger(c, s, words)
	}
	if err != nil {
		return err
	}
	defer from.close()
	if _, _, err := selected(a.stop, from.search, s); err != nil {
		return err
	}
	if e.dryRun {
		return a.wouldExport(from)
	}
	by := cmp.Or(e.by, a.person)
	var done tally.Tally
	finish := shown.follow(&done, log)
	began := time.Now()
	var to export.Destination = export.NewFolder(target)
	if strings.HasSuffix(strings.ToLower(target), ".zip") {
		to = export.NewZip(target, began)
	}
	result, err := export.Run(a.stop, export.Options{
		Bucket: b, Prefix: c.Storage.Prefix, Workers: c.Transfer.Workers, Search: from.search,
		Selection: strings.Join(words, " "), Source: from.source + ", bucket " + c.Storage.Bucket + ", prefix " + c.Storage.Prefix,
		By: by, At: began, Version: version(), Log: log, Tally: &done,
	}, to)
	finish()
	switch {
	case errors.Is(err, export.ErrOccupied), errors.Is(err, export.ErrComplete):
		return fail(exitUsage, fmt.Errorf("export to %s: %w: name another place", target, err))
	case err != nil && a.stop.Err() != nil:
		return fail(exitTemporary, fmt.Errorf("the export was stopped before it was complete: repeat the command (%w)", err))
	case err != nil:
		return fmt.Errorf("export to %s: not complete, repeat the command: %w", target, err)
	}
	return a.sayExported(target, result)
}

func (a *app) sayExported(target string, r *export.Result) error {
	err := error(nil)
	if a.json {
		err = a.printJSON(r)
	} else {
		_, err = fmt.Fprintf(a.stdout, "%s: %d of %d recordings, %d media files, %s\n", target, r.Exported, r.Selected, r.Files, size(r.Bytes))
		if r.Lacking+r.Journals > 0 {
			fmt.Fprintf(a.stdout, "not whole: %s; faults in the journals: %d. statement.txt says what and why\n", recordings(r.Lacking), r.Journals)
		}
	}
	switch {
	case err != nil:
		return err
	case r.Damaged+r.Journals > 0:
		return &exitError{code: exitIntegrity}
	case r.Lacking > 0:
		return &exitError{code: exitFailed}
	}
	return nil
}

// entries are the selected entries, wherever they come from.
type entries struct {
	search keeping.Recordings
	source string // for people
	close  func()
}

// selectedFromLedger returns the selected entries of the ledger, or of the service that
// holds it. words select the same on a command line.
func (a *app) selectedFromLedger(c *config.Config, s state.Selection, words []string) (entries, error) {
	l, err := openLedger(a.stop, c, toRead)
	if errors.Is(err, bolt.ErrHeld) {
		return spooled(a.stop, "the ledger of the running service", a.askService(c, words))
	}
	if err != nil {
		return entries{}, err
	}
	defer l.Close() // it is only read
	return spooled(a.stop, "the ledger "+l.ID(), searched(l, s))
}

// spooled writes what a search finds into a temporary file, and returns the entries of that
// file. An export may take hours, and runs need the ledger meanwhile.
func spooled(ctx context.Context, source string, search keeping.Recordings) (entries, error) {
	file, err := os.CreateTemp("", "archiverd-export")
	if err != nil {
		return entries{}, err
	}
	w := bufio.NewWriter(file)
	lines := json.NewEncoder(w)
	err = os.Remove(file.Name()) // its bytes go when it is closed
	if err == nil {
		err = search(ctx, func(k state.Key, e *state.Entry) error {
			return lines.Encode(entryJSON{k.Org, k.Inbox, k.Recording, *e})
		})
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return entries{}, errors.Join(err, file.Close())
	}
	read := func(_ context.Context, f func(state.Key, *state.Entry) error) error {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return eachEntry(bufio.NewReader(file), f)
	}
	return entries{read, source, func() { _ = file.Close() }}, nil // it was only read
}

// eachEntry calls f with entries as ls --json prints them.
func eachEntry(lines io.Reader, f func(state.Key, *state.Entry) error) error {
	for d := json.NewDecoder(lines); ; {
		var e entryJSON
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(state.Key{Org: e.Org, Inbox: e.Inbox, Recording: e.Recording}, &e.Entry)
		}
		if err != nil {
			return err
		}
	}
}

// askService searches by the command ls, which the service runs. The export itself is not
// the service's: its files are those of the caller.
func (a *app) askService(c *config.Config, words []string) keeping.Recordings {
	return func(_ context.Context, f func(state.Key, *state.Entry) error) error {
		lines, w := io.Pipe()
		go func() {
			code, err := a.callService(c, append([]string{"ls", "--json"}, words...), w)
			if errors.Is(err, control.ErrNobody) {
				err = fail(exitHeld, bolt.ErrHeld)
			} else if err == nil && code != exitOK {
				err = &exitError{code, errors.New("the service could not search its ledger")}
			}
			w.CloseWithError(err)
		}()
		err := eachEntry(lines, f)
		lines.CloseWithError(err)
		return err
	}
}

// selectedFromArchive rebuilds a ledger in a temporary folder. Findings are logged: they
// concern the whole archive.
func (a *app) selectedFromArchive(c *config.Config, b *storage.Bucket, s state.Selection, log *slog.Logger) (entries, error) {
	dir, err := os.MkdirTemp("", "archiverd-export")
	if err != nil {
		return entries{}, err
	}
	l, err := bolt.Open(filepath.Join(dir, "ledger.db"), bolt.Options{Binding: binding(c)})
	if err != nil {
		return entries{}, errors.Join(err, os.RemoveAll(dir))
	}
	remove := func() { _ = errors.Join(l.Close(), os.RemoveAll(dir)) } // nobody needs it any more
	log.Info("reading the manifests and journals of the whole archive")
	o := opened{c, b, l}.rebuildOptions(log, &tally.Tally{})
	o.ReadOnly = true
	_, err = rebuild.FromArchive(a.stop, o, lostOrgs(c), func(f proof.Finding) error {
		log.Warn("found in the archive", "fault", f.Fault, "org", f.Org, "inbox", f.Inbox, "recording", f.Recording, "key", f.Key, "detail", f.Detail)
		return nil
	})
	if err != nil {
		remove()
		return entries{}, err
	}
	return entries{searched(l, s), "the archive alone, without its ledger", remove}, nil
}

// wouldExportJSON is what export --dry-run --json prints.
type wouldExportJSON struct {
	Selected int64 `json:"selected"` // recordings
	Archived int64 `json:"archived"` // of those: recordings of which the archive has media
	Bytes    int64 `json:"bytes"`    // of media
}

func (a *app) wouldExport(from entries) error {
	var would wouldExportJSON
	err := from.search(a.stop, func(_ state.Key, e *state.Entry) error {
		would.Selected++
		if len(e.Versions) > 0 && e.Disposal() == nil {
			would.Archived++
			for _, v := range e.Versions {
				would.Bytes += v.Size
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if a.json {
		return a.printJSON(would)
	}
	_, err = fmt.Fprintf(a.stdout, "would export %d recordings, %s; %d more are selected and not in the archive\n", would.Archived, size(would.Bytes), would.Selected-would.Archived)
	return err
}
