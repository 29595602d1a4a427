package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/state"
)

// maxList bounds the bytes of an approved list.
const maxList = 1 << 30

type disposeFlags struct {
	before, approved, page string
}

func newDispose(a *app) *cobra.Command {
	var f *orderFlags
	var r *removalFlags
	var d disposeFlags
	c := &cobra.Command{
		Use:   "dispose --before DATE --dry-run > LIST\n  archiverd dispose --approved LIST --reason TEXT --credentials FILE",
		Short: "Remove what has outlived its retention, by an approved list",
		Long: `First, --dry-run writes a list to stdout: a line of JSON for each recording whose retention
ended before the date, that no case holds, and that the flags select. Somebody looks at the
list, takes lines out if need be, and approves it.

Then --approved removes exactly what the list names, all versions of media and manifests, and
leaves a recording that has changed since the list was made. A certificate is stored in the archive, as
JSON and as a page; the journal holds its hash. --page also writes the page to a file, and
--json prints the certificate. The same list given again finishes what was interrupted.

Exit code 3: something that was listed was left, or failed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case (d.before == "") == (d.approved == ""):
				return fail(exitUsage, errors.New("want either --before and --dry-run, which write a list, or --approved and the list"))
			case d.before != "" && !f.dryRun:
				return fail(exitUsage, errors.New("--before only writes a list: add --dry-run, and have the list approved"))
			case d.before != "":
				return a.listDisposable(cmd.Context(), f, d.before)
			}
			return a.dispose(cmd.Context(), f, r, d)
		},
	}
	f = a.addOrder(c)
	r = addRemoval(c)
	c.Flags().StringVar(&d.before, "before", "", "with --dry-run: list recordings whose retention ended before this `date`")
	c.Flags().StringVar(&d.approved, "approved", "", "remove what this `file` lists, and nothing else")
	c.Flags().StringVar(&d.page, "page", "", "with --approved: also write the certificate's page to this new `file`")
	return c
}

// listDisposable writes the list to stdout, and what is left out and why to stderr.
func (a *app) listDisposable(ctx context.Context, f *orderFlags, before string) error {
	end, err := date("--before", before)
	if err == nil && end.After(time.Now()) {
		err = fmt.Errorf("--before %s: this date has not come yet", before)
	}
	if err != nil {
		return fail(exitUsage, err)
	}
	s, err := f.selection(nil)
	if err != nil {
		return err
	}
	return a.withLedger(toRead, func(c *config.Config, l ledger) error {
		k, err := a.keeper(c, l)
		if err != nil {
			return err
		}
		o := keeping.Order{Recordings: searched(l, s), Emit: func(out keeping.Outcome) error {
			_, err := fmt.Fprintf(a.stderr, "not listed: %s of %s/%s: %s\n", cell(out.Recording), out.Org, cell(out.Inbox), cell(out.Why))
			return err
		}}
		totals, err := k.Disposable(ctx, o, k.NewHeader(c.Storage.Bucket, end), a.stdout)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.stderr, "%s listed, %d left out\n", recordings(totals[keeping.Done]), totals[keeping.Left])
		return err
	})
}

// searched gives the selected recordings of a ledger.
func searched(l searcher, s state.Selection) keeping.Recordings {
	return func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
		return l.Search(ctx, state.Query{Selection: s}, f)
	}
}

func (a *app) dispose(ctx context.Context, f *orderFlags, r *removalFlags, d disposeFlags) error {
	s, err := f.selection(nil)
	if err == nil && !s.Empty() {
		err = fail(exitUsage, errors.New("--approved removes what the list names: give the flags that select to --before --dry-run, which makes the list"))
	}
	if err != nil {
		return err
	}
	f.All = true
	o, _, err := a.order(f, state.ActExpire, nil)
	if err != nil {
		return err
	}
	return a.withLedger(toWrite, func(c *config.Config, l ledger) error {
		text, err := a.readFile(d.approved, maxList)
		var list *keeping.List
		if err == nil {
			list, err = keeping.ReadList(text)
		}
		if err != nil {
			return fail(exitUsage, err)
		}
		o.ID = list.ID()
		k, err := a.keeper(c, l)
		if err != nil {
			return err
		}
		with, err := a.remover(ctx, c, r)
		if err != nil {
			return err
		}
		if !f.dryRun && !f.yes {
			if err := a.confirm(fmt.Sprintf("Dispose of %s?", recordings(int64(len(list.Items))))); err != nil {
				return err
			}
		}
		totals, certified, err := k.Dispose(a.stop, o, list, keeping.Removal{With: with})
		if certified != nil {
			err = errors.Join(err, a.showCertificate(certified, d.page))
		}
		return a.ended(o, totals, err)
	})
}

// showCertificate prints where the certificate is, and writes its page to a file if asked.
func (a *app) showCertificate(c *keeping.Certified, page string) error {
	if page != "" {
		f, err := a.create(page)
		if err != nil {
			return err
		}
		if _, err := f.Write(c.Page); err != nil {
			return errors.Join(err, f.Drop())
		}
		if err := f.Keep(); err != nil {
			return err
		}
	}
	if a.json {
		return a.printJSON(certifiedJSON{"certificate", c.Certificate, c.JSON})
	}
	_, err := fmt.Fprintf(a.stdout, "certificate\t%s, SHA-256 %s\n", c.Key, c.SHA256)
	return err
}

// certifiedJSON is the line of dispose --json that holds the certificate.
type certifiedJSON struct {
	Type string `json:"type"`
	state.Certificate
	Content json.RawMessage `json:"content"`
}
