package archiver

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// act does an act, in the state that the entry has or on the way to another.
func (r *rig) act(id string, to state.State, a state.Act) {
	r.t.Helper()
	a.ID, a.By, a.At, a.Reason = string(a.Kind)+" "+id, "ann", time.Now().UTC(), "she asked"
	if _, err := r.ledger.Move(context.Background(), r.key(id), r.entry(id).State, to, a.Do); err != nil {
		r.t.Fatal(err)
	}
}

// disposeOf removes a recording's objects and calls it erased or expired, or leaves it halfway.
func (r *rig) disposeOf(id string, kind state.ActKind, to state.State) {
	r.t.Helper()
	e := r.entry(id)
	r.act(id, e.State, state.Act{Kind: kind, Authority: "order 7"})
	r.remove(e.Versions[0].ManifestKey)
	if to == e.State {
		return
	}
	r.remove(e.Versions[0].MediaKey)
	if _, err := r.ledger.Move(context.Background(), r.key(id), e.State, to, nil); err != nil {
		r.t.Fatal(err)
	}
}

// verified are the faults that Verify finds.
func (r *rig) verified() (faults []string) {
	r.t.Helper()
	sum, err := r.archiver().Verify(context.Background(), "", "", Depth{}, func(f Finding) error { faults = append(faults, string(f.Fault)); return nil })
	if err != nil || !sum.AddsUp() {
		r.t.Errorf("verify: %+v, %v", sum, err)
	}
	slices.Sort(faults)
	return faults
}

// A waived recording is no failure and is not tried again, until it changes or comes back.
func TestWaivedRecordingComesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.options.MinAge = 0
	long, short := 10*time.Second, 100*time.Millisecond
	r.user.Add(genesystest.Recording{ID: "changes", Duration: long, MediaDuration: short})
	r.user.Add(genesystest.Recording{ID: "returns", Name: "returns", Duration: long, MediaDuration: short})
	r.passed()
	r.wantState("changes", state.StateFailed)
	r.act("changes", state.StateWaived, state.Act{Kind: state.ActWaive})
	r.user.Remove("returns")
	r.passed()
	r.passed()
	r.wantState("returns", state.StateVanished)
	r.act("returns", state.StateWaived, state.Act{Kind: state.ActWaive})
	if report := r.passed(); report.Pass.Failed != 0 || report.Pass.Vanished != 0 {
		t.Errorf("the pass reports %+v", report.Pass)
	}
	changes, returns := r.wantState("changes", state.StateWaived), r.wantState("returns", state.StateWaived)
	r.rebuilt()
	wantRestored(t, r.wantState("changes", state.StateWaived), changes)
	wantRestored(t, r.wantState("returns", state.StateWaived), returns)
	r.login(r.user)
	r.passed()
	r.wantState("changes", state.StateWaived)
	r.user.Add(genesystest.Recording{ID: "returns", Duration: short})
	r.user.Edit("changes", func(rec *genesystest.Recording) {
		rec.Duration, rec.DateModified = short, rec.DateModified.Add(time.Hour)
	})
	r.passed()
	r.wantArchived("changes")
	r.wantArchived("returns")
}

// The archive alone tells what persons did with its recordings. What was disposed of stays
// out of it, and a disposal that did not end is told as one.
func TestActsAreRebuilt(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.options.MinAge = 0
	ids := r.add(6)
	r.passed()
	r.user.Remove(ids[1])
	r.passed()
	r.passed() // rec-02 is gone
	until := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	r.act(ids[0], state.StateArchived, state.Act{Kind: state.ActHold, Case: "smith"})
	r.act(ids[0], state.StateArchived, state.Act{Kind: state.ActRelease, Case: "smith"})
	r.act(ids[1], state.StateGone, state.Act{Kind: state.ActHold, Case: "jones"})
	r.act(ids[2], state.StateArchived, state.Act{Kind: state.ActRetain, Mode: "GOVERNANCE", Until: until})
	r.disposeOf(ids[3], state.ActErase, state.StateErased)
	r.disposeOf(ids[4], state.ActExpire, state.StateExpired)
	back := r.read(r.entry(ids[5]).Versions[0].ManifestKey)
	r.disposeOf(ids[5], state.ActErase, state.StateArchived) // killed halfway
	r.passed()
	want := ledgerEntries(t, r.ledger)
	r.journal() // each object holds to the schema

	_, found := r.rebuilt()
	for _, f := range found {
		t.Errorf("finding %+v", f)
	}
	halfway := want[r.key(ids[5])]
	halfway.Name, halfway.ConversationID = "", "" // no manifest tells it any more
	want[r.key(ids[5])] = halfway
	wantRestored(t, ledgerEntries(t, r.ledger), want)
	held := r.entry(ids[1])
	wantSame(t, "cases", held.Cases(), []string{"jones"})
	if v := r.entry(ids[2]).Versions[0]; !v.RetainUntil.Equal(until) {
		t.Errorf("retained until %s", v.RetainUntil)
	}

	r.login(r.user)
	r.user.Change(ids[3])
	r.user.Change(ids[5])
	r.passed(deleting)
	r.wantState(ids[3], state.StateErased)
	r.wantState(ids[4], state.StateExpired)
	r.wantState(ids[5], state.StateArchived)
	if n := len(r.objects("media")); n != 4 {
		t.Errorf("%d media: what was disposed of was archived again", n)
	}
	unfinished := []string{"lock", "lock", "unfinished", "unfinished"}
	wantSame(t, "faults", r.verified(), unfinished)
	r.put(r.entry(ids[3]).Versions[0].ManifestKey, back)
	wantSame(t, "faults", r.verified(), slices.Insert(unfinished, 2, "returned"))
}
