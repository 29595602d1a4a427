package rebuild

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/tally"
)

// act does an act, in the state that the entry has or on the way to another.
func (r *rig) act(id string, to state.State, a state.Act) {
	r.T.Helper()
	a.ID, a.By, a.At, a.Reason = string(a.Kind)+" "+id, "ann", time.Now().UTC(), "she asked"
	if _, err := r.Ledger.Move(context.Background(), r.Key(id), r.Entry(id).State, to, a.Do); err != nil {
		r.T.Fatal(err)
	}
}

// disposeOf removes a recording's objects and calls it erased or expired, or leaves it halfway.
func (r *rig) disposeOf(id string, kind state.ActKind, to state.State) {
	r.T.Helper()
	e := r.Entry(id)
	r.act(id, e.State, state.Act{Kind: kind, Authority: "order 7"})
	r.removeVersions(e.Versions[0].ManifestKey)
	if to == e.State {
		return
	}
	r.removeVersions(e.Versions[0].MediaKey)
	if _, err := r.Ledger.Move(context.Background(), r.Key(id), e.State, to, nil); err != nil {
		r.T.Fatal(err)
	}
}

// removeVersions removes an object for good.
func (r *rig) removeVersions(key string) {
	r.T.Helper()
	with := storage.NewRemover(r.Store())
	for v, err := range with.Versions(r.T.Context(), key) {
		if err == nil {
			err = with.Remove(r.T.Context(), v, true)
		}
		if err != nil {
			r.T.Fatal(err)
		}
	}
}

func (r *rig) auditor() *audit.Auditor {
	return &audit.Auditor{
		Bucket: r.Store(), Ledger: r.Ledger, Prefix: r.Options.Prefix, Workers: r.Options.Workers,
		Retention: r.Options.Retention, Log: r.Log, Tally: &tally.Tally{},
	}
}

// verified are the faults that Verify finds.
func (r *rig) verified() (faults []string) {
	r.T.Helper()
	sum, err := r.auditor().Verify(context.Background(), "", "", audit.Depth{}, func(f proof.Finding) error { faults = append(faults, string(f.Fault)); return nil })
	if err != nil || !sum.AddsUp() {
		r.T.Errorf("verify: %+v, %v", sum, err)
	}
	slices.Sort(faults)
	return faults
}

// A waived recording is no failure and is not tried again, until it changes or comes back.
func TestWaivedRecordingComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Options.MinAge = 0
	long, short := 10*time.Second, 100*time.Millisecond
	r.User.Add(genesystest.Recording{ID: "changes", Duration: long, MediaDuration: short})
	r.User.Add(genesystest.Recording{ID: "returns", Name: "returns", Duration: long, MediaDuration: short})
	r.Passed()
	r.WantState("changes", state.StateFailed)
	r.act("changes", state.StateWaived, state.Act{Kind: state.ActWaive})
	r.User.Remove("returns")
	r.Passed()
	r.Passed()
	r.WantState("returns", state.StateVanished)
	r.act("returns", state.StateWaived, state.Act{Kind: state.ActWaive})
	if report := r.Passed(); report.Pass.Failed != 0 || report.Pass.Vanished != 0 {
		t.Errorf("the pass reports %+v", report.Pass)
	}
	changes, returns := r.WantState("changes", state.StateWaived), r.WantState("returns", state.StateWaived)
	r.rebuilt()
	wantRestored(t, r.WantState("changes", state.StateWaived), changes)
	wantRestored(t, r.WantState("returns", state.StateWaived), returns)
	r.Login(r.User)
	r.Passed()
	r.WantState("changes", state.StateWaived)
	r.User.Add(genesystest.Recording{ID: "returns", Duration: short})
	r.User.Edit("changes", func(rec *genesystest.Recording) {
		rec.Duration, rec.DateModified = short, rec.DateModified.Add(time.Hour)
	})
	r.Passed()
	r.WantArchived("changes")
	r.WantArchived("returns")
}

// The archive alone tells what persons did with its recordings. What was disposed of stays
// out of it, and a disposal that did not end is told as one.
func TestActsAreRebuilt(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	r.Options.MinAge = 0
	ids := r.Add(6)
	r.Passed()
	r.User.Remove(ids[1])
	r.Passed()
	r.Passed() // rec-02 is gone
	until := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	r.act(ids[0], state.StateArchived, state.Act{Kind: state.ActHold, Case: "smith"})
	r.act(ids[0], state.StateArchived, state.Act{Kind: state.ActRelease, Case: "smith"})
	r.act(ids[1], state.StateGone, state.Act{Kind: state.ActHold, Case: "jones"})
	r.act(ids[2], state.StateArchived, state.Act{Kind: state.ActRetain, Mode: "GOVERNANCE", Until: until})
	r.disposeOf(ids[3], state.ActErase, state.StateErased)
	r.disposeOf(ids[4], state.ActExpire, state.StateExpired)
	back := r.Read(r.Entry(ids[5]).Versions[0].ManifestKey)
	r.disposeOf(ids[5], state.ActErase, state.StateArchived) // killed halfway
	r.Passed()
	want := ledgerEntries(t, r.Ledger)
	r.Journal() // each object holds to the schema

	_, found := r.rebuilt()
	if len(found) != 1 || found[0].Fault != record.FaultHold || found[0].Recording != ids[1] { // the fake store holds nothing
		t.Errorf("findings %+v", found)
	}
	halfway := want[r.Key(ids[5])]
	halfway.Name, halfway.ConversationID = "", "" // no manifest tells it any more
	want[r.Key(ids[5])] = halfway
	wantRestored(t, ledgerEntries(t, r.Ledger), want)
	held := r.Entry(ids[1])
	archivertest.WantSame(t, "cases", held.Cases(), []string{"jones"})
	if v := r.Entry(ids[2]).Versions[0]; !v.RetainUntil.Equal(until) {
		t.Errorf("retained until %s", v.RetainUntil)
	}

	r.Login(r.User)
	r.User.Change(ids[3])
	r.User.Change(ids[5])
	r.Passed(deleting)
	r.WantState(ids[3], state.StateErased)
	r.WantState(ids[4], state.StateExpired)
	r.WantState(ids[5], state.StateArchived)
	if n := len(r.Objects("media")); n != 4 {
		t.Errorf("%d media: what was disposed of was archived again", n)
	}
	unfinished := []string{"hold", "hold", "lock", "lock", "lock", "unfinished", "unfinished"} // the locks of media, manifest, and the journal's first object
	archivertest.WantSame(t, "faults", r.verified(), unfinished)
	r.Overwrite(r.Entry(ids[3]).Versions[0].ManifestKey, back)
	archivertest.WantSame(t, "faults", r.verified(), slices.Insert(unfinished, 5, "returned"))
}
