package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/state"
)

func newHold(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "hold",
		Short: "Hold recordings for a case, release them, list the cases",
		Long: `Sets and releases legal holds, each under the name of a case. The store itself keeps every
version of media and manifest of a held recording, whatever the retention is; the original is
not deleted; and nothing held is erased or disposed of. A recording is held as long as one
case holds it. What is archived of a held recording later is held, too.`,
	}
	c.AddCommand(newHoldSet(a), newHoldRelease(a), newHoldLs(a))
	return c
}

func newHoldSet(a *app) *cobra.Command {
	var f *orderFlags
	c := &cobra.Command{
		Use:   "set CASE [RECORDING...] --reason TEXT",
		Short: "Hold recordings under the name of a case",
		Long: `Holds the selected recordings. The same command given again finishes what was interrupted,
and sets again what somebody took off. A recording that is not archived yet is held
once it is archived. A store that keeps no holds, or a bucket without Object Lock, is refused:
exit code 2.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, s, err := a.order(f, state.ActHold, args[1:])
			if err != nil {
				return err
			}
			if o.Case, err = caseName(args[0]); err != nil {
				return err
			}
			return a.keep(cmd.Context(), s, f, o, (*keeping.Keeper).Hold)
		},
	}
	f = a.addOrder(c)
	return c
}

func newHoldRelease(a *app) *cobra.Command {
	var f *orderFlags
	c := &cobra.Command{
		Use:   "release CASE [RECORDING...] --reason TEXT",
		Short: "End a case's hold on recordings",
		Long: `Ends the hold of the case on the selected recordings, or on all that it holds if nothing is
selected. The store's hold is released where no other case holds the recording.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.Case != "" {
				return fail(exitUsage, errors.New("--case: the case is the first argument"))
			}
			name, err := caseName(args[0])
			if err != nil {
				return err
			}
			f.Case = name
			o, s, err := a.order(f, state.ActRelease, args[1:])
			if err != nil {
				return err
			}
			o.Case = name
			return a.keep(cmd.Context(), s, f, o, (*keeping.Keeper).Release)
		},
	}
	f = a.addOrder(c)
	return c
}

// caseName refuses a name that a table or a log can't show.
func caseName(name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 200 || cell(name) != name {
		return "", fail(exitUsage, fmt.Errorf("case %q: a name has 1 to 200 bytes, without control characters", name))
	}
	return name, nil
}

// keep has a keeper carry out an order on the selected recordings.
func (a *app) keep(ctx context.Context, s state.Selection, f *orderFlags, o keeping.Order, do func(*keeping.Keeper, context.Context, keeping.Order) (keeping.Totals, error)) error {
	return a.withLedger(toWrite, func(c *config.Config, l ledger) error {
		k, err := a.keeper(c, l)
		if err != nil {
			return err
		}
		return a.carryOut(ctx, l, s, f, o, func(ctx context.Context, o keeping.Order) (keeping.Totals, error) { return do(k, ctx, o) })
	})
}

func newHoldLs(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the cases and how many recordings each holds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withLedger(toRead, func(_ *config.Config, l ledger) error { return a.listCases(cmd.Context(), l) })
		},
	}
	a.addJSON(c)
	return c
}

// caseJSON is a case as hold ls prints it.
type caseJSON struct {
	Case       string    `json:"case"`
	Recordings int64     `json:"recordings"`
	Unheld     int64     `json:"unheld"` // recordings with a version that the store was not seen to hold
	Since      time.Time `json:"since"`  // of the first recording that it still holds
	By         string    `json:"by"`
	Reason     string    `json:"reason"`
}

type scanner interface {
	Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
}

func (a *app) listCases(ctx context.Context, l scanner) error {
	cases := map[string]*caseJSON{}
	err := l.Scan(ctx, "", "", func(_ state.Key, e *state.Entry) error {
		for _, name := range e.Cases() {
			c := cmp.Or(cases[name], &caseJSON{Case: name})
			cases[name] = c
			c.Recordings++
			if slices.ContainsFunc(e.Versions, func(v state.Version) bool { return !v.Held }) {
				c.Unheld++
			}
			for _, act := range e.Acts {
				if act.Kind == state.ActHold && act.Case == name && (c.Since.IsZero() || act.At.Before(c.Since)) {
					c.Since, c.By, c.Reason = act.At, act.By, act.Reason
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if !a.json {
		fmt.Fprintln(w, "CASE\tRECORDINGS\tNOT HELD BY THE STORE\tSINCE\tBY\tREASON")
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		if a.json {
			if err := a.printJSON(c); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\n", cell(c.Case), c.Recordings, c.Unheld, stamp(c.Since), cell(c.By), short(c.Reason))
	}
	return w.Flush()
}
