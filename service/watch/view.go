package watch

import (
	"context"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/tally"
	"github.com/archiverd/archiverd/workers"
)

const (
	inboxesShown = 200  // of those that need someone or hold something up
	listShown    = 50   // failures, and deletions
	lookedAt     = 2000 // entries read for each of these lists, at most
	runsShown    = 10
)

// view is what the page's template shows.
type view struct {
	Now      time.Time
	Zone     string
	Version  string
	Started  time.Time
	Next     time.Time
	Skipped  int64
	Error    string // why the last run could not be made
	Stopping bool
	Run      *runView      // of this process alone; nil: none is under way, or there is a Team
	Team     *workers.Team // nil: the ledger is a file
	Overview
	Shown    []Inbox // that need someone or hold something up
	Attend   []Inbox // of these, those that need someone
	Runs     []state.Run
	Failures []failureView
	Deletion archiver.Deletion
	Due      []deletionView
	AllSeen  bool // no deletion can come before those in Due
	Size     int64
	Free     int64
}

// runView is the run under way.
type runView struct {
	Since                  time.Time
	Inboxes, InboxesDone   int64
	Found, Done, Failed    int64         // recordings
	Deletions, Bytes, Rate int64         // Rate: bytes a second
	Left                   time.Duration // for those found so far; 0: not known
}

type failureView struct {
	state.Key
	Attempts    int
	Since, Next time.Time
	NeedsPerson bool
	Reason      string
}

type deletionView struct {
	state.Key
	Archived, Due time.Time
}

// view looks at everything once.
func (p *Page) view(ctx context.Context, now time.Time) (*view, error) {
	inboxes, err := p.o.Ledger.Inboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	status, zone := p.o.Status(), p.o.Zone()
	v := &view{Now: now.In(zone), Zone: zone.String(), Version: p.o.Version,
		Started: status.Started, Next: status.Next, Skipped: status.Skipped,
		Error: status.Error, Stopping: status.Stopping, Deletion: p.o.Deletion()}
	if v.Runs, err = p.o.Ledger.Runs(ctx, runsShown); err != nil {
		return nil, err
	}
	if v.Size, v.Free, err = p.o.Ledger.Disk(); err != nil {
		return nil, err
	}
	switch {
	case p.o.Team != nil:
		t, err := p.o.Team(ctx)
		if err != nil {
			return nil, err
		}
		v.Team = &t
	case !status.Running.IsZero():
		v.Run = underWay(p.o.Progress(), status.Running, now)
	}
	v.list(NewOverview(inboxes, now))
	if v.Failures, err = failures(ctx, p.o.Ledger, inboxes); err != nil {
		return nil, err
	}
	if v.Deletion.Enabled {
		v.Due, v.AllSeen, err = deletions(ctx, p.o.Ledger, inboxes, v.Deletion)
	}
	return v, err
}

func underWay(n *tally.Tally, since, now time.Time) *runView {
	r := &runView{
		Since: since, Inboxes: n.Inboxes.Load(), InboxesDone: n.InboxesDone.Load(),
		Found: n.Found.Load(), Failed: n.Failed.Load(), Deletions: n.Deleted.Load(), Bytes: n.Bytes.Load(),
	}
	r.Done = n.Archived.Load() + r.Failed
	took := now.Sub(since)
	if took >= time.Second {
		r.Rate = int64(float64(r.Bytes) / took.Seconds())
	}
	if r.Done > 0 && r.Done < r.Found {
		r.Left = max(time.Second, time.Duration(float64(took)/float64(r.Done)*float64(r.Found-r.Done)).Round(time.Second))
	}
	return r
}

// list returns of an overview what fits on the page.
func (v *view) list(o Overview) {
	v.Overview = o
	v.Shown = o.Inboxes[:min(o.Total.Listed, inboxesShown)]
	for _, in := range v.Shown {
		if in.NeedsSomeone() && len(v.Attend) < listShown {
			v.Attend = append(v.Attend, in)
		}
	}
}

// failures are what could not be archived, those that need a person first.
func failures(ctx context.Context, l pageLedger, inboxes []state.Inbox) ([]failureView, error) {
	var all []failureView
	budget := lookedAt
	for _, i := range inboxes {
		left := i.Counts[state.StateFailed]
		if left == 0 {
			continue
		}
		err := look(ctx, l.Waiting, i, &budget, func(k state.Key, e state.Entry) (more bool) {
			if e.State == state.StateFailed {
				left--
				all = append(all, failureView{Key: k, Attempts: e.Attempts, Since: e.FailedSince, Next: e.NextAttempt, NeedsPerson: e.NeedsPerson, Reason: e.LastError})
			}
			return left > 0
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b failureView) int {
		if a.NeedsPerson != b.NeedsPerson {
			if a.NeedsPerson {
				return -1
			}
			return 1
		}
		return a.Since.Compare(b.Since)
	})
	return all[:min(len(all), listShown)], nil
}

// deletions are the originals whose time comes next, and whether none can come before
// them.
func deletions(ctx context.Context, l pageLedger, inboxes []state.Inbox, d archiver.Deletion) (next []deletionView, allSeen bool, err error) {
	budget := lookedAt
	live := func(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error) {
		return l.Live(ctx, org, inbox, after, limit, nil)
	}
	for _, i := range inboxes {
		left := i.Counts[state.StateArchived]
		if left == 0 {
			continue
		}
		err := look(ctx, live, i, &budget, func(k state.Key, e state.Entry) (more bool) {
			if e.State == state.StateArchived {
				left--
				if due, ok := d.Due(e); ok {
					next = append(next, deletionView{k, e.Versions[len(e.Versions)-1].ArchivedAt, due})
				}
			}
			return left > 0
		})
		if err != nil {
			return nil, false, err
		}
	}
	slices.SortStableFunc(next, func(a, b deletionView) int { return a.Due.Compare(b.Due) })
	return next[:min(len(next), listShown)], budget > 0, nil
}

// look reads an inbox's entries until f has seen enough or the budget is spent.
func look(ctx context.Context, read func(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error), i state.Inbox, budget *int, f func(state.Key, state.Entry) (more bool)) error {
	for after := ""; *budget > 0; {
		limit := min(*budget, 256)
		chunk, err := read(ctx, i.Org, i.ID, after, limit)
		if err != nil {
			return err
		}
		*budget -= len(chunk)
		for _, e := range chunk {
			if !f(e.Key, e.Entry) {
				return nil
			}
			after = e.Key.Recording
		}
		if len(chunk) < limit {
			return nil
		}
	}
	return nil
}

// stamp is a time for people, and for programs beside it.
func (p *Page) stamp(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.In(p.o.Zone())
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format(time.RFC3339), t.Format("2006-01-02 15:04")))
}

func tookText(d time.Duration) string {
	const day = 24 * time.Hour
	if days := d / day; days > 0 && d%day == 0 {
		return fmt.Sprintf("%dd", days)
	}
	return d.Round(time.Second).String()
}

func bytesText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/1024, 0
	for ; value >= 1024 && prefix < len("KMGTP")-1; prefix++ {
		value /= 1024
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}

// holdsShown is how many of a worker's inboxes are named.
const holdsShown = 8

// Holds names the inboxes that a worker holds, or the first of them.
func Holds(m workers.Member) string {
	text := strings.Join(m.Holds[:min(len(m.Holds), holdsShown)], ", ")
	if more := len(m.Holds) - holdsShown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
