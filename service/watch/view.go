package watch

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"slices"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/state"
)

const (
	inboxesShown = 200
	listShown    = 50   // failures, and deletions
	maxRead      = 2000 // entries read for each of these lists
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
	Run      *runView // nil: no run is under way
	Total    inboxView
	Oldest   time.Time // creation time of the oldest waiting recording; zero: nothing waits
	Inboxes  []inboxView
	More     int // inboxes not shown
	Attend   []inboxView
	Runs     []state.Run
	Failures []failureView
	Deletion archiver.Deletion
	Due      []deletionView
	AllSeen  bool // the whole ledger was read, so no deletion comes before those in Due
	Size     int64
	Free     int64
}

// runView is the run under way.
type runView struct {
	Since                  time.Time
	Inboxes, InboxesDone   int64
	Found, Done, Failed    int64         // recordings
	Deletions, Bytes, Rate int64         // Rate: bytes a second
	Left                   time.Duration // for the recordings found so far; 0: not known
}

// inboxView is one inbox, or all together.
type inboxView struct {
	Org, ID, Condition, Reason, Remedy                               string
	Waiting, Failed, NeedsPerson, Archived, Deleted, Vanished, Bytes int64
	LastPass                                                         *state.Pass
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

// view reads everything that the page shows.
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
	if !status.Running.IsZero() {
		v.Run = underWay(p.o.Progress(), status.Running, now)
	}
	v.addInboxes(inboxes)
	if v.Failures, err = failures(ctx, p.o.Ledger, inboxes); err != nil {
		return nil, err
	}
	if v.Deletion.Enabled {
		v.Due, v.AllSeen, err = deletions(ctx, p.o.Ledger, inboxes, v.Deletion)
	}
	return v, err
}

func underWay(n *archiver.Progress, since, now time.Time) *runView {
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

// addInboxes adds the inboxes: first those with trouble, then those with most to do.
func (v *view) addInboxes(inboxes []state.Inbox) {
	for _, i := range inboxes {
		in := inboxView{
			Org: i.Org, ID: i.ID, Condition: conditionOf(i), Reason: i.Reason, LastPass: i.LastPass,
			Waiting: i.Counts[state.StateListed], Failed: i.Counts[state.StateFailed], NeedsPerson: i.NeedsPerson,
			Archived: kept(i.Counts), Deleted: i.Counts[state.StateDeleted], Vanished: i.Counts[state.StateVanished], Bytes: i.Bytes,
		}
		in.Remedy = remedy(in)
		v.Inboxes = append(v.Inboxes, in)
		t := &v.Total
		t.Waiting += in.Waiting
		t.Failed += in.Failed
		t.NeedsPerson += in.NeedsPerson
		t.Archived += in.Archived
		t.Deleted += in.Deleted
		t.Vanished += in.Vanished
		t.Bytes += in.Bytes
		if w := i.OldestWaiting; !w.IsZero() && (v.Oldest.IsZero() || w.Before(v.Oldest)) {
			v.Oldest = w
		}
	}
	slices.SortStableFunc(v.Inboxes, func(a, b inboxView) int {
		return cmp.Or(cmp.Compare(b.trouble(), a.trouble()), cmp.Compare(b.Failed+b.Waiting, a.Failed+a.Waiting))
	})
	for _, in := range v.Inboxes {
		if in.trouble() > 0 && len(v.Attend) < listShown {
			v.Attend = append(v.Attend, in)
		}
	}
	v.More = max(0, len(v.Inboxes)-inboxesShown)
	v.Inboxes = v.Inboxes[:len(v.Inboxes)-v.More]
}

// trouble ranks why an inbox needs a person; 0: it does not.
func (i inboxView) trouble() int {
	switch {
	case i.Condition == archiver.ConditionFailing:
		return 4
	case i.Condition == archiver.ConditionShort:
		return 3
	case i.Condition == archiver.ConditionNeedsLogin:
		return 2
	case i.NeedsPerson > 0:
		return 1
	}
	return 0
}

// remedy says what a person can do about an inbox.
func remedy(i inboxView) string {
	switch {
	case i.Condition == archiver.ConditionNeedsLogin:
		return fmt.Sprintf("Let its user log in: archiverd login --org %s --inbox %s", i.Org, i.ID)
	case i.Condition == archiver.ConditionFailing:
		return "Remove the reason. Every run tries the inbox again."
	case i.Condition == archiver.ConditionShort:
		return "Listed recordings are archived as usual. For the others, set a smaller page_size, or ask Genesys support."
	case i.NeedsPerson > 0:
		return "See the failures below; archiverd retry tries them now."
	}
	return ""
}

// failures returns the failed recordings, those that need a person first.
func failures(ctx context.Context, l pageLedger, inboxes []state.Inbox) ([]failureView, error) {
	var all []failureView
	budget := maxRead
	for _, i := range inboxes {
		left := i.Counts[state.StateFailed]
		if left == 0 {
			continue
		}
		err := look(ctx, l.Waiting, i, &budget, func(k state.Key, e state.Entry) (more bool) {
			if e.State == state.StateFailed {
				left--
				all = append(all, failureView{k, e.Attempts, e.FailedSince, e.NextAttempt, e.NeedsPerson, e.LastError})
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

// deletions returns the originals that are deleted next. allSeen tells whether all
// entries were read, so that no other deletion can come before these.
func deletions(ctx context.Context, l pageLedger, inboxes []state.Inbox, d archiver.Deletion) (next []deletionView, allSeen bool, err error) {
	budget := maxRead
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

// look reads an inbox's entries until f returns false or the budget is spent.
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

// stamp formats a time for people, with an attribute for programs.
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
