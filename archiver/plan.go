package archiver

import (
	"context"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// Planned is what a run would do about one recording.
type Planned struct {
	Org       string `json:"org"`
	Inbox     string `json:"inbox"`
	Recording string `json:"recording"`
	Name      string `json:"name,omitempty"`
	Action    string `json:"action"` // "archive", "wait" or "delete"
	Reason    string `json:"reason,omitempty"`
	Key       string `json:"key,omitempty"` // the first key that would be tried
}

// Plan lists an inbox and gives emit what a run would do now. It changes nothing in
// Genesys, in the archive, or in the ledger's entries. A deletion also needs proofs that
// only the run itself makes.
func (a *Archiver) Plan(ctx, stop context.Context, in Inbox, emit func(Planned) error) error {
	v := a.visit(stop, in)
	return v.walk.List(ctx, func(_ context.Context, page []genesys.Recording) (known int64, err error) {
		entries, err := v.Ledger.Entries(ctx, v.in.Org, v.in.ID, idsOf(page))
		if err != nil {
			return known, failure.OfLedger(err)
		}
		for _, r := range page {
			listed, err := v.plan(entries[r.ID], r, emit)
			if listed {
				known++
			}
			if err != nil {
				return known, err
			}
		}
		return known, nil
	})
}

// plan applies the listing to a copy of the entry. It reports whether the ledger would
// then expect the recording to be listed.
func (v *visit) plan(e state.Entry, r genesys.Recording, emit func(Planned) error) (known bool, err error) {
	now := time.Now().UTC()
	to, edit := v.sighted(e, r, now)
	if edit != nil {
		edit(&e)
	}
	e.State = to
	known = to.Expected()
	out := Planned{Org: v.in.Org, Inbox: v.in.ID, Recording: r.ID, Name: r.Name, Key: e.MediaKey}
	switch {
	case v.due(e):
		out.Action = "archive"
		if len(e.Versions) > 0 {
			out.Reason = "changed since it was archived"
		}
	case to == state.StateListed:
		out.Action, out.Reason = "wait", "younger than transfer.min_age"
	case to == state.StateFailed:
		out.Action, out.Reason = "wait", "tried again after "+e.NextAttempt.Format(time.RFC3339)+": "+e.LastError
	case to == state.StateArchived && v.Delete.Enabled && v.waited(e, now):
		out.Action, out.Reason = "delete", "archived "+e.Versions[len(e.Versions)-1].ArchivedAt.Format(time.RFC3339)
	case to == state.StateArchived && v.Delete.Enabled && now.Before(e.NextAttempt):
		out.Action, out.Reason = "wait", "its deletion was refused and is asked for again after "+e.NextAttempt.Format(time.RFC3339)+": "+e.LastError
	default:
		return known, nil
	}
	return known, emit(out)
}
