package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/workers"
)

func newStatus(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show runs, inboxes, counts, and failures with what to do about them",
		Long: `Sums up the inboxes of each organization, and lists those that are not well, the most
urgent first and 50 at most: a pass failed, a login is needed, recordings failed, vanished
before they were archived, or have waited for two days. --all lists every inbox, and --json
has all that the ledger knows of each. With state.url it lists the workers, too, and the
inboxes that each holds at the moment.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withLedger(toRead, func(c *config.Config, l ledger) error { return a.status(cmd.Context(), c, l, all) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "list every inbox, those that are well too")
	a.addJSON(c)
	return c
}

// statusJSON is what status --json prints.
type statusJSON struct {
	Service *service.Status `json:"service"` // null: no service is running
	Runs    []state.Run     `json:"runs"`    // newest first
	Inboxes []state.Inbox   `json:"inboxes"`
	Shared  *workers.Team   `json:"shared,omitempty"` // absent: the ledger is a file
}

// runsShown and inboxesShown are how many runs, and without --all how many inboxes,
// status shows.
const (
	runsShown    = 5
	inboxesShown = 50
)

type statusLedger interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
	runLister
}

func (a *app) status(ctx context.Context, c *config.Config, l statusLedger, all bool) error {
	inboxes, err := l.Inboxes(ctx, "")
	if err != nil {
		return err
	}
	runs, err := l.Runs(ctx, runsShown)
	if err != nil {
		return err
	}
	team, err := lookAtTeam(ctx, l)
	if err != nil {
		return err
	}
	s := statusJSON{nil, append([]state.Run{}, runs...), append([]state.Inbox{}, inboxes...), team}
	if a.daemon != nil {
		status := a.daemon.service.Status()
		s.Service = &status
	}
	if a.json {
		return a.printJSON(s)
	}
	if s.Service != nil {
		fmt.Fprintf(a.stdout, "The service is %s.\n\n", s.Service.Text())
	}
	o := watch.NewOverview(inboxes, time.Now())
	shown := o.Inboxes
	if !all {
		shown = shown[:min(o.Total.Listed, inboxesShown)]
	}
	return errors.Join(a.printOrganizations(o), a.printRuns(runs), a.printTeam(team), a.printInboxes(o, shown))
}

func (a *app) printRuns(runs []state.Run) error {
	if len(runs) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nRUN\tTOOK\tINBOXES\tARCHIVED\tFAILED\tDELETIONS\tBYTES\tEXIT CODE")
	for _, r := range runs {
		took, code := "not ended", ""
		if !r.End.IsZero() {
			took, code = r.End.Sub(r.Start).Round(time.Second).String(), strconv.Itoa(r.ExitCode)
		}
		if r.Error != "" {
			code += ": " + short(r.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", stamp(r.Start), took, r.Inboxes, r.Archived, r.Failed, r.DeleteRequested, size(r.Bytes), code)
	}
	return w.Flush()
}

func lastPass(i watch.Inbox) string {
	if i.LastPass == nil {
		return "never"
	}
	s := stamp(i.LastPass.End)
	if i.LastPass.Error != "" {
		s += ", ended early"
	}
	return s
}

// entryJSON is an entry as --json prints it.
type entryJSON struct {
	Org       string `json:"org"`
	Inbox     string `json:"inbox"`
	Recording string `json:"recording"`
	state.Entry
}

func newShow(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "show RECORDING",
		Short: "Explain one recording: where it stands and why",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withLedger(toRead, func(_ *config.Config, l ledger) error {
				found, err := find(cmd.Context(), l, args[0])
				if err != nil {
					return err
				}
				return a.show(found)
			})
		},
	}
	a.addJSON(c)
	return c
}

type finder interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
	Entry(ctx context.Context, k state.Key) (state.Entry, error)
}

// find looks for a recording by its id in every inbox: a recording can have been
// in several.
func find(ctx context.Context, l finder, id string) ([]entryJSON, error) {
	inboxes, err := l.Inboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	var found []entryJSON
	for _, i := range inboxes {
		e, err := l.Entry(ctx, state.Key{Org: i.Org, Inbox: i.ID, Recording: id})
		switch {
		case err == nil:
			found = append(found, entryJSON{i.Org, i.ID, id, e})
		case !errors.Is(err, state.ErrNotFound):
			return nil, err
		}
	}
	if len(found) == 0 {
		return nil, fail(exitUsage, fmt.Errorf("the ledger knows no recording %s: archiverd ls lists those that it knows", cell(id)))
	}
	return found, nil
}

func (a *app) show(found []entryJSON) error {
	if a.json {
		for _, e := range found {
			if err := a.printJSON(e); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, e := range found {
		row := func(name, value string) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, value)
			}
		}
		row("recording", cell(e.Recording))
		row("inbox", e.Org+"/"+cell(e.Inbox))
		row("state", string(e.State)+": "+e.State.Meaning())
		row("name", cell(e.Name))
		row("conversation", cell(e.ConversationID))
		row("created", cell(e.DateCreated))
		row("modified", cell(e.DateModified))
		row("first listed", stamp(e.ListedAt))
		row("missing since", stamp(e.MissingSince))
		row("last error", cell(e.LastError))
		row("next attempt", stamp(e.NextAttempt))
		row("deletion asked", stamp(e.DeleteRequestedAt))
		row("held by", cell(strings.Join(e.Cases(), ", ")))
		for _, act := range e.Acts {
			row(string(act.Kind), cell(told(act)))
		}
		for i, v := range e.Versions {
			fmt.Fprintf(w, "\t\nversion %d\tarchived %s, %s, %s\n", i+1, stamp(v.ArchivedAt), v.Format, size(v.Size))
			row("  media", versioned(v.MediaKey, v.MediaVersionID))
			row("  manifest", versioned(v.ManifestKey, v.ManifestVersionID))
			row("  sha256", v.SHA256)
			row("  checksum", v.Checksum)
			if v.RetentionMode != "" {
				row("  locked", v.RetentionMode+" until "+stamp(v.RetainUntil))
			}
			row("  suspect", cell(v.Suspect))
			row("  unproved", cell(v.Unproved))
		}
	}
	return w.Flush()
}

// told describes an act in one line.
func told(a state.Act) string {
	s := fmt.Sprintf("%s by %s: %s", stamp(a.At), a.By, a.Reason)
	switch a.Kind {
	case state.ActHold, state.ActRelease:
		return "case " + a.Case + ", " + s
	case state.ActRetain:
		return "until " + stamp(a.Until) + ", " + s
	case state.ActErase:
		return s + " (" + a.Authority + ")"
	}
	return s
}

func versioned(key, version string) string {
	if version == "" {
		return key
	}
	return key + " (version " + version + ")"
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime + " MST")
}
