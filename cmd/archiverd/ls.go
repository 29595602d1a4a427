package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/export"
	"github.com/archiverd/archiverd/state"
)

func newLs(a *app) *cobra.Command {
	var f *selectionFlags
	var q state.Query
	var sort string
	var asCSV bool
	c := &cobra.Command{
		Use:   "ls [RECORDING...]",
		Short: "List recordings in the ledger",
		Long: `Lists the recordings that ids and flags select; without any, all recordings. Prints a
table, with --csv a table for spreadsheets, with --json a line of JSON for each. They come
inbox by inbox in the order of their dates, or as --sort says; --limit and --skip show a
page.

Recordings that were listed by an archiverd that did not keep participants and durations
are not found by them; archiverd rebuild reads both from the archive.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if q.Selection, err = f.selection(args); err != nil {
				return err
			}
			q.Sort = state.Sort(sort)
			sorts := []state.Sort{state.SortInbox, state.SortCreated, state.SortName, state.SortDuration, state.SortSize}
			switch {
			case !slices.Contains(sorts, q.Sort):
				return fail(exitUsage, fmt.Errorf("--sort %s: want created, name, duration or size", sort))
			case q.Reverse && q.Sort == state.SortInbox:
				return fail(exitUsage, errors.New("--reverse is for --sort"))
			case q.Skip < 0 || q.Limit < 0:
				return fail(exitUsage, errors.New("--limit and --skip are not negative"))
			case asCSV && a.json:
				return fail(exitUsage, errors.New("--csv and --json exclude each other"))
			}
			return a.withLedger(toRead, func(_ *config.Config, l ledger) error { return a.ls(cmd.Context(), l, q, asCSV) })
		},
	}
	f = addSelection(c)
	c.Flags().StringVar(&sort, "sort", "", "sort by this `column`: created, name, duration, size")
	c.Flags().BoolVar(&q.Reverse, "reverse", false, "with --sort: the greatest first")
	c.Flags().IntVar(&q.Limit, "limit", 0, "show at most this `number`; 0: all")
	c.Flags().IntVar(&q.Skip, "skip", 0, "leave out this `number` at the beginning")
	c.Flags().BoolVar(&asCSV, "csv", false, "print CSV")
	a.addJSON(c)
	return c
}

// searcher is a ledger in which recordings are looked for.
type searcher interface {
	Search(ctx context.Context, q state.Query, f func(state.Key, *state.Entry) error) error
}

func (a *app) ls(ctx context.Context, l searcher, q state.Query, asCSV bool) error {
	if a.json {
		return l.Search(ctx, q, func(k state.Key, e *state.Entry) error {
			return a.printJSON(entryJSON{k.Org, k.Inbox, k.Recording, *e})
		})
	}
	table := peopleTable
	if asCSV {
		table = csvTable
	}
	show, end := table(a.stdout)
	return errors.Join(l.Search(ctx, q, show), end())
}

// lsChunk is how many lines ls aligns with each other: the writer holds them in memory.
const lsChunk = 1000

// peopleTable returns a function that prints an entry for people, and one that ends the
// table.
func peopleTable(to io.Writer) (show func(state.Key, *state.Entry) error, end func() error) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RECORDING\tINBOX\tSTATE\tCREATED\tDURATION\tSIZE\tNAME\tERROR")
	lines := 0
	show = func(k state.Key, e *state.Entry) error {
		if lines++; lines%lsChunk == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		bytes, lasted := "", ""
		if n, stored := e.Size(); stored {
			bytes = size(n)
		}
		if e.Milliseconds > 0 {
			lasted = (time.Duration(e.Milliseconds) * time.Millisecond).Round(time.Second).String()
		}
		_, err := fmt.Fprintf(w, "%s\t%s/%s\t%s\t%s\t%s\t%s\t%s\t%s\n", cell(k.Recording), k.Org, cell(k.Inbox), e.State, cell(e.DateCreated), lasted, bytes, short(e.Name), short(e.LastError))
		return err
	}
	return show, w.Flush
}

// csvTable returns a function that prints an entry as a line of CSV, and one that ends the
// table. A text that a spreadsheet would take for a formula gets an apostrophe in front.
func csvTable(to io.Writer) (show func(state.Key, *state.Entry) error, end func() error) {
	w := csv.NewWriter(to)
	_ = w.Write([]string{"recording", "organization", "inbox", "state", "created", "duration_ms", "bytes", "name", "conversation", "participants", "cases", "sha256", "media_key", "retain_until", "error"}) // an error stays until the end
	show = func(k state.Key, e *state.Entry) error {
		v := e.Newest()
		bytes, until := "", ""
		if n, stored := e.Size(); stored {
			bytes = strconv.FormatInt(n, 10)
		}
		if !v.RetainUntil.IsZero() {
			until = v.RetainUntil.UTC().Format(time.RFC3339)
		}
		line := []string{k.Recording, k.Org, k.Inbox, string(e.State), e.DateCreated, strconv.FormatInt(e.Milliseconds, 10), bytes, e.Name, e.ConversationID,
			export.People(e.Participants), strings.Join(e.Cases(), "; "), v.SHA256, v.MediaKey, until, e.LastError}
		for i, s := range line {
			line[i] = export.Cell(s)
		}
		return w.Write(line)
	}
	return show, func() error { w.Flush(); return w.Error() }
}
