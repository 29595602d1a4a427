package fleet

import (
	"context"
	"os"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/uploads"
)

// A run that several processes share has three steps, each by any of them: one begins it,
// each passes over inboxes, and one ends it.

// Due is an inbox that a run passes over, with what was known of it when the run began.
type Due struct {
	Org, Inbox  string
	Condition   string
	NeedsPerson int64
}

// Begin returns the inboxes that a run passes over. It also aborts multipart uploads that no
// pass over these inboxes would abort.
func (f *Fleet) Begin(ctx context.Context, only Selection, askAnyway bool) ([]Due, error) {
	if askAnyway {
		if err := f.endWaits(ctx, only); err != nil {
			return nil, err
		}
	}
	selected, err := f.selected(ctx, only)
	if err != nil {
		return nil, err
	}
	var dues []Due
	var inboxes []uploads.Inbox
	for _, i := range selected {
		dues = append(dues, Due{i.Org, i.ID, i.Condition, i.NeedsPerson})
		inboxes = append(inboxes, uploads.Inbox{Org: i.Org, ID: i.ID})
	}
	return dues, f.Archiver.Uploads.Sweep(ctx, inboxes)
}

// Pass makes one part of a pass, under the claim in part; see archiver.Pass. Its client of
// the inbox is new, since another process may have spent the rate budget and renewed the
// token meanwhile. A panic becomes the report's error.
func (f *Fleet) Pass(ctx, stop context.Context, org, inbox string, part archiver.Part) (r archiver.InboxReport) {
	r = archiver.InboxReport{Org: org, Inbox: inbox, Pass: state.Pass{Start: time.Now().UTC()}}
	if part.Earlier != nil {
		r = *part.Earlier
	}
	defer Recovered(os.Stderr, &r.Err)
	known, err := f.Ledger.Inbox(ctx, org, inbox)
	if err != nil {
		r.Err = failure.OfLedger(err)
		return r
	}
	h, err := f.hostsOf(org)
	if err != nil {
		r.Err = err
		return r
	}
	return f.Archiver.Pass(ctx, stop, h.inbox(f.Ledger, known, time.Now(), f.Log), part)
}

// Ended is a run whose last pass has ended. Reports has one for each of Dues.
type Ended struct {
	Run      state.Run // its ID and Start
	Recorded bool      // the ledger keeps the run: it was one over all inboxes
	Dues     []Due
	Reports  []archiver.InboxReport
	ExitCode func(*Result, error) int
}

// End does what Run does when the last pass has ended. Call Wait before the process ends.
func (f *Fleet) End(ctx, stop context.Context, e Ended) (*Result, error) {
	e.Run.End = time.Now().UTC()
	before := map[inboxKey]state.Inbox{}
	for _, d := range e.Dues {
		before[inboxKey{d.Org, d.Inbox}] = state.Inbox{Condition: d.Condition, NeedsPerson: d.NeedsPerson}
	}
	result := &Result{Report: &archiver.Report{Start: e.Run.Start, End: e.Run.End, Inboxes: e.Reports}}
	if err := f.judge(ctx, stop, result, e.ExitCode, before); err != nil {
		return nil, err
	}
	if !e.Recorded {
		return result, nil
	}
	return result, f.keepRun(ctx, e.Run, result, e.ExitCode, nil)
}
