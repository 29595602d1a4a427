package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

func newInboxes(a *app) *cobra.Command {
	var only *fleet.Selection
	c := &cobra.Command{
		Use:   "inboxes",
		Short: "List all inboxes: who has to log in, and how many recordings wait",
		Long: `Lists every inbox in the ledger or the roster, and how many of its recordings wait
(BACKLOG). ACCESS says whether archiverd can archive it: enrolled, it can; needs_login and
revoked, its user has to log in; logged_out, by archiverd logout; left, the roster no longer
names its user.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withLedger(toRead, func(c *config.Config, l ledger) error { return a.inboxes(cmd.Context(), c, l, *only) })
		},
	}
	only = addInbox(c)
	a.addJSON(c)
	return c
}

// Whether archiverd has access to an inbox.
const (
	accessEnrolled   = "enrolled"    // a run can reach it, as far as is known
	accessNeedsLogin = "needs_login" // its user has not logged in, or Genesys issued no refresh token
	accessRevoked    = "revoked"     // Genesys does not accept its refresh token any more
	accessLoggedOut  = "logged_out"  // by archiverd logout
	accessLeft       = "left"        // the roster, which says whose inboxes are archived, no longer names its user
)

// coverage is what archiverd inboxes shows of one inbox.
type coverage struct {
	Org       string    `json:"org"`
	Inbox     string    `json:"inbox"`
	Name      string    `json:"name,omitempty"`
	Email     string    `json:"email,omitempty"`
	Expected  *bool     `json:"expected"` // by the roster; null: no roster is configured
	Access    string    `json:"access"`
	Condition string    `json:"condition,omitempty"` // of the last pass
	Reason    string    `json:"reason,omitempty"`
	Backlog   int64     `json:"backlog"`         // recordings listed and not archived
	Oldest    time.Time `json:"oldest,omitzero"` // of the recordings that the last pass left unarchived
	LastPass  time.Time `json:"last_pass,omitzero"`
}

// totals count inboxes, but for Backlog, which counts recordings.
type totals struct {
	Inboxes     int            `json:"inboxes"`
	Expected    int            `json:"expected"`
	NotExpected int            `json:"not_in_roster"`
	Access      map[string]int `json:"access"`
	Backlog     int64          `json:"backlog"`
	Oldest      time.Time      `json:"oldest,omitzero"`
}

func (t *totals) add(c coverage) {
	t.Inboxes++
	t.Access[c.Access]++
	t.Backlog += c.Backlog
	t.Oldest = earlier(t.Oldest, c.Oldest)
	switch {
	case c.Expected == nil:
	case *c.Expected:
		t.Expected++
	default:
		t.NotExpected++
	}
}

// earlier returns the earlier time, and ignores zero times.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// enrolled is the part of a ledger that knows inboxes and their tokens.
type enrolled interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
	Token(ctx context.Context, org, inbox string) (state.Token, error)
}

func (a *app) inboxes(ctx context.Context, c *config.Config, l enrolled, only fleet.Selection) error {
	rows := []coverage{}
	sum := totals{Access: map[string]int{}}
	for _, o := range c.Organizations {
		if only.Org != "" && only.Org != o.Name {
			continue
		}
		covered, err := covered(ctx, l, o, fleet.Roster(o, a.logger(c.Log, a.stderr)), only.Inbox)
		if err != nil {
			return err
		}
		rows = append(rows, covered...)
	}
	for _, r := range rows {
		sum.add(r)
	}
	if a.json {
		return a.printJSON(struct {
			Inboxes []coverage `json:"inboxes"`
			Totals  totals     `json:"totals"`
		}{rows, sum})
	}
	return a.printCoverage(rows, sum)
}

// covered returns the inboxes of an organization's ledger and roster together.
func covered(ctx context.Context, l enrolled, o config.Organization, roster map[string]string, only string) ([]coverage, error) {
	known, err := l.Inboxes(ctx, o.Name)
	if err != nil {
		return nil, err
	}
	entered := map[string]bool{}
	for _, i := range known {
		entered[i.ID] = true
	}
	for id, email := range roster {
		if !entered[id] {
			known = append(known, state.Inbox{Org: o.Name, ID: id, Email: email})
		}
	}
	slices.SortFunc(known, func(a, b state.Inbox) int { return strings.Compare(a.ID, b.ID) })
	var rows []coverage
	for _, i := range known {
		if only != "" && only != i.ID {
			continue
		}
		row := coverage{
			Org: i.Org, Inbox: i.ID, Name: i.Name, Email: i.Email, Condition: i.Condition, Reason: i.Reason,
			Backlog: i.Counts[state.StateListed] + i.Counts[state.StateFailed], Oldest: i.OldestWaiting,
		}
		if roster != nil {
			_, expected := roster[i.ID]
			row.Expected = &expected
		}
		if i.LastPass != nil {
			row.LastPass = i.LastPass.End
		}
		if row.Access, err = access(ctx, l, o, i, row.Expected); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// access returns the access to an inbox, as far as the ledger shows it.
func access(ctx context.Context, l enrolled, o config.Organization, i state.Inbox, expected *bool) (string, error) {
	switch {
	case o.Grant == genesys.GrantCommand && !*expected: // it has a roster
		return accessLeft, nil
	case o.Grant != genesys.GrantAuthorizationCode:
		return accessEnrolled, nil
	case i.LoggedOut:
		return accessLoggedOut, nil
	}
	t, err := l.Token(ctx, i.Org, i.ID)
	switch {
	case err != nil:
		return "", err
	case t.Refresh == "":
		return accessNeedsLogin, nil
	case i.Condition == state.ConditionNeedsLogin:
		return accessRevoked, nil
	}
	return accessEnrolled, nil
}

func (a *app) printCoverage(rows []coverage, sum totals) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "INBOX\tE-MAIL\tROSTER\tACCESS\tCONDITION\tBACKLOG\tOLDEST\tLAST PASS")
	for _, r := range rows {
		listed := "yes"
		switch {
		case r.Expected == nil:
			listed = "-"
		case !*r.Expected:
			listed = "no"
		}
		fmt.Fprintf(w, "%s/%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.Org, cell(r.Inbox), cell(cmp.Or(r.Email, "-")), listed, r.Access,
			cmp.Or(r.Condition, "new"), r.Backlog, cmp.Or(stamp(r.Oldest), "-"), cmp.Or(stamp(r.LastPass), "never"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "\n%d inboxes", sum.Inboxes)
	for _, s := range []string{accessEnrolled, accessNeedsLogin, accessRevoked, accessLoggedOut, accessLeft} {
		if n := sum.Access[s]; n > 0 {
			fmt.Fprintf(a.stdout, ", %d %s", n, s)
		}
	}
	if sum.Expected+sum.NotExpected > 0 {
		fmt.Fprintf(a.stdout, "; %d expected by the roster, %d not in it", sum.Expected, sum.NotExpected)
	}
	fmt.Fprintf(a.stdout, "; backlog %d", sum.Backlog)
	if !sum.Oldest.IsZero() {
		fmt.Fprintf(a.stdout, ", the oldest of %s", stamp(sum.Oldest))
	}
	_, err := fmt.Fprintln(a.stdout)
	for _, r := range rows {
		if r.Access == accessNeedsLogin || r.Access == accessRevoked {
			_, err = fmt.Fprintf(a.stdout, "%s/%s: archiverd login --org %s --inbox %s\n", r.Org, cell(r.Inbox), r.Org, cell(r.Inbox))
		}
	}
	return err
}
