package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

func newVerify(a *app) *cobra.Command {
	var depth audit.Depth
	var sample string
	var only *fleet.Selection
	c := &cobra.Command{
		Use:   "verify",
		Short: "Compare every stored object with the ledger",
		Long: `Compares media and manifest of every archived version with the ledger. HEAD requests
show presence, size, checksum, retention and announced expiry. --read also reads every
object, and compares its SHA-256 and what the manifest says. HEAD trusts the store: only
--read finds bytes that changed inside it. --sample 5% reads that part of the versions,
chosen at random, and sends HEAD for the others; --seed with the printed number reads
the same part again. Exit code 6: something is not as recorded.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if depth.Percent, err = percent(sample); err != nil || depth.Percent < 100 && !depth.Read {
				return fail(exitUsage, errors.Join(err, errors.New("--sample wants a part such as 5%, and goes with --read")))
			}
			if !cmd.Flags().Changed("seed") {
				depth.Seed = rand.Uint64()
			}
			return a.withLedger(toRead, func(c *config.Config, l ledger) error { return a.verify(cmd.Context(), c, l, *only, depth) })
		},
	}
	c.Flags().BoolVar(&depth.Read, "read", false, "read every byte")
	c.Flags().StringVar(&sample, "sample", "100%", "with --read: how much to read, in `percent`")
	c.Flags().Uint64Var(&depth.Seed, "seed", 0, "read the sample again for which verify printed this `number` (default: a new sample)")
	only = addInbox(c)
	a.addJSON(c)
	return c
}

func percent(s string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err == nil && !(p > 0 && p <= 100) {
		err = fmt.Errorf("--sample %s: want more than 0 and at most 100", s)
	}
	return p, err
}

func (a *app) verify(ctx context.Context, c *config.Config, l ledger, only fleet.Selection, depth audit.Depth) error {
	if err := l.Recount(ctx); err != nil {
		return err
	}
	entries, err := countEntries(ctx, l, only)
	if err != nil {
		return err
	}
	b, err := openBucket(a.stop, c)
	if err != nil {
		return err
	}
	shown := newProgress(a.stderr)
	log := a.logger(c.Log, shown.w)
	auditor := opened{c, b, l}.newAuditor(log)
	auditor.Tally.Found.Store(entries)
	finish := shown.follow(auditor.Tally, log)
	v, verr := auditor.Verify(a.stop, only.Org, only.Inbox, depth, a.printFinding)
	finish()
	if err := a.printVerification(v, depth, verr); err != nil {
		return err
	}
	var codes []int
	if v.Found() > 0 {
		codes = append(codes, exitIntegrity)
	}
	if verr == nil && !v.AddsUp() {
		verr = fmt.Errorf("the totals do not add up: %+v", v)
	}
	if verr != nil {
		codes = append(codes, storeCode(verr))
	}
	if code := worst(codes); code != exitOK {
		return &exitError{code, verr}
	}
	return nil
}

type inboxLister interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
}

// countEntries returns how many recordings there are to verify.
func countEntries(ctx context.Context, l inboxLister, only fleet.Selection) (n int64, err error) {
	inboxes, err := fleet.Selected(ctx, l, only)
	for _, i := range inboxes {
		for _, count := range i.Counts {
			n += count
		}
	}
	return n, err
}

// findingJSON and verificationJSON are lines of verify --json.
type findingJSON struct {
	Type string `json:"type"`
	proof.Finding
}

type verificationJSON struct {
	Type    string  `json:"type"`
	Sampled float64 `json:"sample_percent,omitempty"`
	Seed    string  `json:"seed,omitempty"` // a string, for readers of JSON whose numbers are floats
	Error   string  `json:"error,omitempty"`
	audit.Verification
}

func (a *app) printFinding(f proof.Finding) error {
	if a.json {
		return a.printJSON(findingJSON{"finding", f})
	}
	_, err := fmt.Fprintf(a.stdout, "%s: %s\n    recording %s of %s/%s: %s\n", f.Fault, versioned(cell(f.Key), f.VersionID), cell(f.Recording), f.Org, cell(f.Inbox), cell(f.Detail))
	return err
}

func (a *app) printVerification(v audit.Verification, depth audit.Depth, failure error) error {
	if a.json {
		out := verificationJSON{Type: "totals", Verification: v}
		if depth.Percent < 100 {
			out.Sampled, out.Seed = depth.Percent, strconv.FormatUint(depth.Seed, 10)
		}
		if failure != nil {
			out.Error = failure.Error()
		}
		return a.printJSON(out)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "OBJECTS\t\nsound\t%d\n", v.Sound)
	for _, f := range record.Faults {
		if n := v.Faulty[f]; n > 0 {
			fmt.Fprintf(w, "%s\t%d\n", f, n)
		}
	}
	if n := v.Objects - v.Sound - v.Found(); n > 0 {
		fmt.Fprintf(w, "not judged\t%d\n", n)
	}
	fmt.Fprintf(w, "in all\t%d\tmedia and manifests of %d versions of %d recordings\n", v.Objects, v.Versions, v.Recordings)
	if v.Certificates+v.Journals > 0 {
		fmt.Fprintf(w, "\t\ttwo for each of %d certificates, and %d of journals that are kept for longer\n", v.Certificates, v.Journals)
	}
	if v.KnownBad > 0 {
		fmt.Fprintf(w, "known bad\t%d\tfurther keys, which the ledger already records as bad\n", v.KnownBad)
	}
	if depth.Read {
		fmt.Fprintf(w, "read\t%d\t%s\n", v.Read, size(v.Bytes))
	}
	if depth.Percent < 100 {
		fmt.Fprintf(w, "sample\t%g%%\tto read the same again: --sample %g%% --seed %d\n", depth.Percent, depth.Percent, depth.Seed)
	}
	if v.SizeOnly > 0 {
		fmt.Fprintf(w, "size only\t%d\tthe store shows no checksum to compare: use --read\n", v.SizeOnly)
	}
	if failure != nil {
		fmt.Fprintf(w, "\nNot everything was verified.\n")
	}
	return w.Flush()
}
