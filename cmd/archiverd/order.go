package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/keeping"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// orderFlags are the flags of every command by which a person orders something about
// recordings.
type orderFlags struct {
	*selectionFlags
	reason, by  string
	dryRun, yes bool
}

func (a *app) addOrder(c *cobra.Command) *orderFlags {
	f := &orderFlags{selectionFlags: addSelection(c)}
	f.addAll(c)
	c.Flags().StringVar(&f.reason, "reason", "", "why, for the ledger and the journal (required)")
	c.Flags().StringVar(&f.by, "by", "", "who orders it, a `name` (default: the user of the operating system)")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be done, and change nothing")
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	a.addJSON(c)
	return f
}

// order reads the flags, and the ids of recordings. The order's Recordings are still to be
// set.
func (a *app) order(f *orderFlags, kind state.ActKind, ids []string) (keeping.Order, state.Selection, error) {
	s, err := f.selection(ids)
	act := state.Act{ID: rand.Text(), Kind: kind, By: f.by, At: time.Now().UTC(), Reason: strings.TrimSpace(f.reason)}
	if act.By == "" {
		act.By = a.person
	}
	switch {
	case err != nil:
	case s.Empty():
		err = fail(exitUsage, errNothingSelected)
	case act.Reason == "":
		err = fail(exitUsage, errors.New("--reason is required: the ledger and the journal tell it for good"))
	case act.By == "":
		err = fail(exitUsage, errors.New("it is not known who orders it: name the person with --by"))
	}
	return keeping.Order{Act: act, DryRun: f.dryRun, Emit: a.printOutcome}, s, err
}

// keeper opens the bucket and returns what carries orders out.
func (a *app) keeper(c *config.Config, l ledger) (*keeping.Keeper, error) {
	b, err := openBucket(a.stop, c)
	if err != nil {
		return nil, err
	}
	o, log := opened{c, b, l}, a.logger(c.Log, a.stderr)
	write := o.newJournal(o.newProver(log), log).WriteOrdered
	return keeping.New(keeping.Options{
		Bucket: b, Ledger: l, Prefix: c.Storage.Prefix, Retention: retention(c), Journal: write, Workers: c.Transfer.Workers,
	}), nil
}

// carryOut asks, has an order carried out on the selected recordings, and says what became
// of them. It reports ids that the ledger doesn't know before anything is changed.
func (a *app) carryOut(ctx context.Context, l searcher, s state.Selection, f *orderFlags, o keeping.Order, do func(context.Context, keeping.Order) (keeping.Totals, error)) error {
	o.Recordings = searched(l, s)
	n, sum, err := selected(ctx, o.Recordings, s)
	if err != nil {
		return err
	}
	if !f.dryRun && !f.yes {
		verb := strings.ToUpper(string(o.Kind[:1])) + string(o.Kind[1:])
		if err := a.confirm(fmt.Sprintf("%s %s, by order of %s?", verb, recordings(n), o.By)); err != nil {
			return err
		}
		if now, again, err := selected(ctx, o.Recordings, s); err != nil {
			return err
		} else if again != sum {
			return fail(exitUsage, fmt.Errorf("other recordings are selected now than you were asked about, %s; nothing was done: give the command again", recordings(now)))
		}
	}
	totals, err := do(a.stop, o)
	return a.ended(o, totals, err)
}

// ended says what became of an order, and with which exit code the command ends.
func (a *app) ended(o keeping.Order, totals keeping.Totals, err error) error {
	if len(totals) > 0 {
		if perr := a.printTotals(o, totals); err == nil {
			err = perr
		}
	}
	switch {
	case errors.Is(err, storage.ErrNoLocks), errors.Is(err, storage.ErrIgnored), errors.Is(err, keeping.ErrOtherArchive):
		return fail(exitUsage, err)
	case err != nil:
		return fail(storeCode(err), err)
	case totals[keeping.Failed]+totals[keeping.Left] > 0:
		return &exitError{code: exitFailed}
	}
	return nil
}

func recordings(n int64) string {
	if n == 1 {
		return "1 recording"
	}
	return watch.Number(n) + " recordings"
}

// selected counts the selected recordings, which search finds, and returns a sum by which two
// selections can be compared. To select none, or an id that is not found, is a mistake.
func selected(ctx context.Context, search keeping.Recordings, s state.Selection) (n int64, sum uint64, err error) {
	missing := slices.Clone(s.IDs)
	err = search(ctx, func(k state.Key, _ *state.Entry) error {
		n++
		h := fnv.New64a()
		fmt.Fprintf(h, "%q", [...]string{k.Org, k.Inbox, k.Recording})
		sum += h.Sum64() // in any order
		missing = slices.DeleteFunc(missing, func(id string) bool { return id == k.Recording })
		return nil
	})
	switch {
	case err != nil:
	case len(missing) > 0 && s.Case != "":
		err = fail(exitUsage, fmt.Errorf("the case %q does not hold, among the selected: %s; nothing was done. archiverd ls --case lists what it holds", s.Case, cell(strings.Join(missing, ", "))))
	case len(missing) > 0:
		err = fail(exitUsage, fmt.Errorf("no such recording is among the selected: %s; nothing was done. archiverd ls lists those that there are", cell(strings.Join(missing, ", "))))
	case n == 0 && s.Case != "":
		err = fail(exitUsage, fmt.Errorf("the case %q holds no recording among the selected; nothing was done. archiverd hold ls lists the cases", s.Case))
	case n == 0:
		err = fail(exitUsage, errors.New("no recording is selected; nothing was done. archiverd ls with the same flags shows what they select"))
	}
	return n, sum, err
}

// confirm asks a person at a terminal. Without one, --yes is required.
func (a *app) confirm(question string) error {
	if !isTerminal(a.stderr) {
		return fail(exitUsage, errors.New("nobody can be asked without a terminal: look with --dry-run, then add --yes; nothing was done"))
	}
	fmt.Fprintf(a.stderr, "%s Type yes: ", question)
	answer, err := a.readLine(a.stop)
	if err != nil || strings.TrimSpace(answer) != "yes" {
		return fail(exitUsage, errors.New("not confirmed; nothing was done"))
	}
	return nil
}

// printOutcome tells what became of a recording.
func (a *app) printOutcome(o keeping.Outcome) error {
	if a.json {
		return a.printJSON(outcomeJSON{"recording", o})
	}
	why := ""
	if o.Why != "" {
		why = ": " + o.Why
	}
	_, err := fmt.Fprintf(a.stdout, "%s\t%s of %s/%s%s\n", o.Result, cell(o.Recording), o.Org, cell(o.Inbox), cell(why))
	return err
}

// outcomeJSON and orderJSON are lines of an order with --json.
type outcomeJSON struct {
	Type string `json:"type"`
	keeping.Outcome
}

type orderJSON struct {
	Type    string         `json:"type"`
	DryRun  bool           `json:"dry_run"`
	Act     state.Act      `json:"act"`
	Results keeping.Totals `json:"results"`
}

func (a *app) printTotals(o keeping.Order, totals keeping.Totals) error {
	if a.json {
		return a.printJSON(orderJSON{"totals", o.DryRun, o.Act, totals})
	}
	var parts []string
	for _, r := range []keeping.Result{keeping.Done, keeping.Already, keeping.Left, keeping.Failed} {
		if n := totals[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", watch.Number(n), r))
		}
	}
	would := ""
	if o.DryRun {
		would = " (dry run: nothing was changed)"
	}
	_, err := fmt.Fprintf(a.stdout, "%s by %s: %s%s\n", o.Kind, cell(o.By), strings.Join(parts, ", "), would)
	return err
}

// osUser returns the name of the person at the operating system. With sudo, it names the
// person who became another user, too.
func osUser(lookupEnv func(string) (string, bool)) string {
	name := fmt.Sprintf("user %d", os.Geteuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if before, ok := lookupEnv("SUDO_USER"); ok && before != "" && before != name {
		name = before + " as " + name
	}
	return name
}
