package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/service/control"
)

// maxPageRows limits the page's rows for one class or kind in one inbox. The JSON has
// all of them.
const maxPageRows = 200

//go:embed reconcile.html
var reconcilePage string

// reconcileReport prints a reconciliation while it is made, and collects what the page
// shows. It implements audit.Listener.
type reconcileReport struct {
	*app
	Made                            time.Time
	Version, Ledger, Bucket, Prefix string
	Org, Inbox, From, To            string // as selected; "": all
	Inboxes                         []*inboxSection
	Code                            int
	codes                           []int
}

// inboxSection is what the page shows of one inbox.
type inboxSection struct {
	audit.Reconciliation
	Recordings map[audit.Class][]audit.Reconciled
	Strays     map[audit.ObjectKind][]audit.Unnamed
}

// sort orders the rows, which come from several workers.
func (s *inboxSection) sort() {
	for _, rows := range s.Recordings {
		slices.SortFunc(rows, func(x, y audit.Reconciled) int { return strings.Compare(x.Recording, y.Recording) })
	}
	for _, rows := range s.Strays {
		slices.SortFunc(rows, func(x, y audit.Unnamed) int { return strings.Compare(x.Key, y.Key) })
	}
}

func (r *reconcileReport) begin() {
	r.Inboxes = append(r.Inboxes, &inboxSection{Recordings: map[audit.Class][]audit.Reconciled{}, Strays: map[audit.ObjectKind][]audit.Unnamed{}})
}

func (r *reconcileReport) section() *inboxSection { return r.Inboxes[len(r.Inboxes)-1] }

// Recording prints a recording: as JSON each one, as text those that a person should see.
func (r *reconcileReport) Recording(rec audit.Reconciled) error {
	if r.json {
		if err := r.printJSON(typed[audit.Reconciled]{"recording", rec}); err != nil {
			return err
		}
	}
	if rec.Detail == "" {
		return nil
	}
	if rows := r.section().Recordings; len(rows[rec.Class]) < maxPageRows {
		rows[rec.Class] = append(rows[rec.Class], rec)
	}
	if r.json || rec.Class == audit.ClassWaiting { // the whole inbox may be waiting
		return nil
	}
	_, err := fmt.Fprintf(r.stdout, "%s: recording %s of %s/%s: %s\n", rec.Class, cell(rec.Recording), rec.Org, cell(rec.Inbox), cell(rec.Detail))
	return err
}

// Object prints an object that the ledger does not name.
func (r *reconcileReport) Object(s audit.Unnamed) error {
	if rows := r.section().Strays; len(rows[s.Kind]) < maxPageRows {
		rows[s.Kind] = append(rows[s.Kind], s)
	}
	if r.json {
		return r.printJSON(typed[audit.Unnamed]{"object", s})
	}
	_, err := fmt.Fprintf(r.stdout, "%s: object %s: %s\n", s.Kind, cell(s.Key), s.Kind.Meaning())
	return err
}

// end prints the totals of an inbox.
func (r *reconcileReport) end(result audit.Reconciliation) error {
	r.section().Reconciliation = result
	if r.json {
		return r.printJSON(typed[audit.Reconciliation]{"inbox", result})
	}
	w := tabwriter.NewWriter(r.stdout, 0, 0, 2, ' ', 0)
	g := result.Genesys
	fmt.Fprintf(w, "\n%s/%s\n", result.Org, cell(result.Inbox))
	fmt.Fprintf(w, "owner\t%s\n", result.Owner)
	fmt.Fprintf(w, "Genesys\t%s\n", cell(genesysText(g)))
	fmt.Fprintf(w, "journal\t%s\n", journalText(result.Journal))
	for _, f := range result.Journal.Faults {
		fmt.Fprintf(w, "\t%s: %s: %s\n", f.Kind, cell(f.Key), cell(f.Detail))
	}
	if slices.ContainsFunc(result.Journal.Faults, broken) {
		fmt.Fprintf(w, "\tFind out why; if it can be accepted, run: archiverd retry --accept-journal --org %s --inbox %s\n", result.Org, cell(result.Inbox))
	}
	for _, f := range result.Journal.Accepted {
		fmt.Fprintf(w, "\taccepted: %s: %s: %s\n", f.Kind, cell(f.Key), cell(f.Detail))
	}
	fmt.Fprintf(w, "\nCLASS\tRECORDINGS\tGENESYS\tLEDGER\tBUCKET\t\n")
	for _, c := range result.Classes {
		if c.Recordings > 0 {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", c.Class, c.Recordings, c.Genesys, c.Ledger, c.Bucket, c.Class.Meaning())
		}
	}
	t := result.Total()
	fmt.Fprintf(w, "in all\t%d\t%d\t%d\t%d\t\n", t.Recordings, t.Genesys, t.Ledger, t.Bucket)
	fmt.Fprintf(w, "\nOBJECTS\t\n")
	for _, o := range result.Objects {
		if o.Objects > 0 {
			fmt.Fprintf(w, "%s\t%d\t%s\n", o.Kind, o.Objects, o.Kind.Meaning())
		}
	}
	for _, c := range result.Checks {
		if c.Sum != c.Count {
			fmt.Fprintf(w, "does not add up\t%s: %d and %d\n", c.What, c.Sum, c.Count)
		}
	}
	return w.Flush()
}

// genesysText describes what Genesys showed.
func genesysText(g audit.GenesysSide) string {
	if g.NotAsked != "" {
		return "not asked, or not about everything: " + g.NotAsked
	}
	text := fmt.Sprintf("%d recordings listed", g.Listed)
	if g.Summary != nil {
		text += fmt.Sprintf(", %d by its own summary of all dates", *g.Summary)
	}
	switch {
	case g.Missing > 0:
		text += fmt.Sprintf("; Genesys counts %d more than it lists, which can't be archived: run this again; if it stays, set a smaller page_size or ask Genesys support", g.Missing)
	case !g.Complete:
		text += "; the listing kept changing: run this again"
	}
	if g.Unreadable > 0 {
		text += fmt.Sprintf("; %d without an id, which can't be archived: ask Genesys support", g.Unreadable)
	}
	return text
}

func journalText(j audit.JournalSide) string {
	text := "an unbroken chain"
	if len(j.Faults) > 0 {
		text = "an unbroken chain, but not locked as recorded"
	}
	if slices.ContainsFunc(j.Faults, broken) {
		text = "not an unbroken chain"
	} else if len(j.Accepted) > 0 {
		text = "not an unbroken chain, but that was accepted"
		if len(j.Faults) > 0 {
			text += "; not locked as recorded"
		}
	}
	return fmt.Sprintf("%s; objects: %d", text, j.Objects)
}

// broken reports whether a fault is of the chain itself and can be accepted. A fault of a lock
// can only be repaired.
func broken(f record.JournalFault) bool { return f.Kind != record.FaultLock }

// typed is a line of JSON with the type of its value.
type typed[T any] struct {
	Type string `json:"type"`
	Of   T      `json:"of"`
}

// finish prints the result and writes the page, if any.
func (r *reconcileReport) finish(page control.File) error {
	if page != nil {
		for _, i := range r.Inboxes {
			i.sort()
		}
		t, err := template.New("page").Funcs(template.FuncMap{"genesys": genesysText, "journal": journalText}).Parse(reconcilePage)
		if err == nil {
			err = t.Execute(page, r)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("write the page: %w", err), page.Drop())
		}
		if err := page.Keep(); err != nil {
			return fmt.Errorf("write the page: %w", err)
		}
	}
	var err error
	if r.json {
		err = r.printJSON(map[string]any{"type": "result", "exit_code": r.Code, "text": r.Verdict()})
	} else {
		_, err = fmt.Fprintf(r.stdout, "\n%s\n", r.Verdict())
	}
	if err != nil || r.Code == exitOK {
		return err
	}
	return &exitError{code: r.Code}
}

// Recordings and Wrong count over all inboxes.
func (r *reconcileReport) Recordings() (n int64) {
	for _, i := range r.Inboxes {
		n += i.Total().Recordings
	}
	return n
}

func (r *reconcileReport) Wrong() (n int64) {
	for _, i := range r.Inboxes {
		n += i.Reconciliation.Wrong()
	}
	return n
}

// Verdict is the result in a sentence.
func (r *reconcileReport) Verdict() string {
	switch r.Code {
	case exitOK:
		for _, i := range r.Inboxes {
			if len(i.Journal.Accepted) > 0 {
				return "Clean: Genesys, ledger and bucket agree, and faults of the journal were accepted."
			}
		}
		return "Clean: Genesys, ledger and bucket agree."
	case exitIntegrity:
		return "Not clean: the archive is not what it should be."
	}
	for _, i := range r.Inboxes {
		if i.Genesys.Missing > 0 {
			return "Not clean: ledger and bucket agree, but Genesys counts more recordings than it lists."
		}
	}
	return "Not clean: ledger and bucket agree, but Genesys could not be asked about everything."
}
