package main

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/workers"
)

func (a *app) printOrganizations(o watch.Overview) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORGANIZATION\tINBOXES\tNOT WELL\tWAITING\tFAILED\tARCHIVED\tDELETED\tVANISHED\tBYTES\tLAST GOOD PASS")
	for _, s := range o.Organizations {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Org, watch.Number(s.Inboxes), watch.Number(s.Listed), counts(s.Counts), size(s.Bytes), cmp.Or(stamp(s.LastSuccess), "never"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, s := range o.Organizations {
		if s.Suspect > 0 {
			fmt.Fprintf(a.stdout, "\n%s: %s archived as suspect: their media contradict themselves or the metadata, and their originals are never deleted; archiverd status --all names the inboxes, archiverd show explains why\n", s.Org, watch.Number(s.Suspect))
		}
		if s.Waived > 0 {
			fmt.Fprintf(a.stdout, "\n%s: %s waived: a person accepts that they are not archived; archiverd ls --state waived\n", s.Org, watch.Number(s.Waived))
		}
		if s.Disposed > 0 {
			fmt.Fprintf(a.stdout, "\n%s: %s removed from the archive, by an order or after their retention; archiverd ls --state erased, --state expired\n", s.Org, watch.Number(s.Disposed))
		}
		if s.Unproved > 0 {
			fmt.Fprintf(a.stdout, "\n%s: %s archived without proof that their media are whole; their originals stay unless delete_originals.unproved is true\n", s.Org, watch.Number(s.Unproved))
		}
	}
	return nil
}

// printTeam lists the processes that share the ledger, and the inboxes that each holds.
func (a *app) printTeam(t *workers.Team) error {
	if t == nil {
		return nil
	}
	fmt.Fprintf(a.stdout, "\nWorkers alive: %s; passes under way: %s; passes that wait for a worker: %s\n",
		watch.Number(t.Alive()), watch.Number(t.Running), watch.Number(t.Waiting))
	if len(t.Workers) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nWORKER\tSIGN OF LIFE\tSTARTED\tHOLDS\tINBOXES")
	for _, m := range t.Workers {
		sign := "alive"
		switch {
		case m.Seen.IsZero():
			sign = "a command"
		case !m.Alive:
			sign = "none since " + stamp(m.Seen)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", cell(m.Name), sign, stamp(m.Since), len(m.Holds), cell(watch.Holds(m)))
	}
	return w.Flush()
}

// counts are the columns from WAITING to VANISHED.
func counts(c watch.Counts) string {
	var columns []string
	for _, n := range []int64{c.Waiting, c.Failed, c.Archived, c.Deleted, c.Vanished} {
		columns = append(columns, watch.Number(n))
	}
	return strings.Join(columns, "\t")
}

// printInboxes lists inboxes, and why each needs someone or holds something up.
func (a *app) printInboxes(o watch.Overview, shown []watch.Inbox) error {
	if len(shown) > 0 {
		w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "\nINBOX\tCONDITION\tWAITING\tFAILED\tARCHIVED\tDELETED\tVANISHED\tBYTES\tLAST PASS")
		for _, i := range shown {
			fmt.Fprintf(w, "%s/%s\t%s\t%s\t%s\t%s\n", i.Org, cell(i.ID), i.Condition, counts(i.Counts), size(i.Bytes), lastPass(i))
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	a.printNeeds(shown)
	var err error
	switch rest, well := o.Total.Inboxes-len(shown), o.Total.Inboxes-o.Total.Listed; {
	case rest == 0:
	case rest > well:
		_, err = fmt.Fprintf(a.stdout, "\n%s more inboxes are not well, and %s are well: archiverd status --all lists them\n", watch.Number(rest-well), watch.Number(well))
	default:
		_, err = fmt.Fprintf(a.stdout, "\n%s of %s inboxes are well: archiverd status --all lists them\n", watch.Number(well), watch.Number(o.Total.Inboxes))
	}
	return err
}

// printNeeds says why each inbox is listed, and which are in doubt. A reason that
// several inboxes share is said once.
func (a *app) printNeeds(shown []watch.Inbox) {
	type reason struct{ org, what, remedy string }
	var reasons []reason
	inboxes := map[reason][]string{}
	add := func(i watch.Inbox, what, remedy string) {
		r := reason{i.Org, what, remedy}
		if inboxes[r] == nil {
			reasons = append(reasons, r)
		}
		inboxes[r] = append(inboxes[r], i.ID)
	}
	for _, i := range shown {
		for _, n := range i.Needs {
			add(i, n.What, n.Remedy)
		}
		if i.Suspect > 0 {
			add(i, watch.Number(i.Suspect)+" archived as suspect", "")
		}
		if i.Unproved > 0 {
			add(i, watch.Number(i.Unproved)+" archived without proof that their media are whole", "")
		}
	}
	for _, r := range reasons {
		names := r.org + "/" + cell(inboxes[r][0])
		if n := len(inboxes[r]) - 1; n > 0 {
			names += fmt.Sprintf(" and %s more of these", watch.Number(n))
		}
		fmt.Fprintf(a.stdout, "\n%s: %s\n", names, cell(r.what))
		if r.remedy != "" {
			fmt.Fprintf(a.stdout, "    %s\n", cell(r.remedy))
		}
	}
}
