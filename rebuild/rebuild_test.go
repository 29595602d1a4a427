package rebuild

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// ledgerEntries are all entries of a ledger.
func ledgerEntries(t *testing.T, l *bolt.Ledger) map[state.Key]state.Entry {
	t.Helper()
	all := map[state.Key]state.Entry{}
	err := l.Scan(t.Context(), "", "", func(k state.Key, e *state.Entry) error { all[k] = *e; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// history lives through everything that can happen to recordings.
func (r *rig) history() {
	r.T.Helper()
	short := 100 * time.Millisecond
	r.Options.MinAge = 0
	r.User.Add(genesystest.Recording{ID: "kept", Name: "<kept>", Duration: short})
	r.User.Add(genesystest.Recording{ID: "changed", Duration: short})
	r.User.Add(genesystest.Recording{ID: "changing", Duration: short})
	r.User.Add(genesystest.Recording{ID: "away", Duration: short})
	r.User.Add(genesystest.Recording{ID: "undated", Duration: short, Omit: []string{"dateCreated", "dateModified", "name"}})
	r.User.Add(genesystest.Recording{ID: "odd/~2 %é", Duration: short})
	r.User.Add(genesystest.Recording{ID: strings.Repeat("long ", 60), Duration: short})
	r.User.Add(genesystest.Recording{ID: "suspect", Duration: 10 * time.Second, MediaDuration: short})
	r.User.Add(genesystest.Recording{ID: "lost", Name: "lost", Duration: 10 * time.Second, MediaDuration: short})
	r.User.Add(genesystest.Recording{ID: "empty", Empty: true})
	r.User.Add(genesystest.Recording{ID: "corrupt", Duration: short})
	r.User.Add(genesystest.Recording{ID: "old", DateCreated: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Duration: short})
	r.Wire.Use(archivertest.ShowingOther("corrupt"))
	r.Passed()
	r.Wire.Use(nil)
	r.User.Remove("lost")
	r.User.Remove("away")
	r.User.Change("changed")
	r.Passed()
	r.User.Change("changed")
	r.Passed()                                                                                         // lost is vanished, away gone, suspect archived, changed has three versions
	r.Passed(func(o *archiver.Options) { o.Delete = archiver.Deletion{Enabled: true, MaxPerPass: 2} }) // asked for
	r.Passed()                                                                                         // deleted
	r.User.Add(genesystest.Recording{ID: "failing", Duration: 10 * time.Second, MediaDuration: short})
	r.User.Add(genesystest.Recording{ID: "spoiled", Name: "spoiled", Duration: short})
	r.Wire.Use(archivertest.ShowingOther("spoiled"))
	defer r.Wire.Use(nil)
	r.Passed(func(o *archiver.Options) { o.Delete = archiver.Deletion{Enabled: true, MaxPerPass: 1} })
	if err := r.Ledger.EditInbox(context.Background(), org, "nobody", func(*state.Inbox) {}); err != nil { // never listed: not in the archive
		r.T.Fatal(err)
	}
}

// The ledger that is made from the archive alone is the one that was lost.
func TestRebuiltLedgerIsTheLostOne(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]bool{"locked and versioned": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, lock)
			r.history()
			want := ledgerEntries(t, r.Ledger)
			states := map[state.State]int{}
			for _, e := range want {
				states[e.State]++
			}
			for _, s := range []state.State{state.StateArchived, state.StateDeleted, state.StateDeleteRequested, state.StateGone, state.StateVanished, state.StateFailed} {
				if states[s] == 0 {
					t.Errorf("the history has nothing %s: %v", s, states)
				}
			}
			for _, id := range []string{"corrupt", "spoiled"} {
				if len(want[r.Key(id)].BadKeys) != 1 {
					t.Errorf("the history has no bad key of %s: %+v", id, want[r.Key(id)])
				}
			}
			before, err := r.Ledger.Inbox(t.Context(), org, r.In.ID)
			if err != nil {
				t.Fatal(err)
			}
			id := r.Ledger.ID()

			sum, found := r.rebuilt()
			for _, f := range found {
				t.Errorf("finding %+v", f)
			}
			for k, e := range want {
				if e.State == state.StateFailed { // the next listing tells it
					e.Name = ""
					want[k] = e
				}
			}
			wantRestored(t, ledgerEntries(t, r.Ledger), want)
			after, err := r.Ledger.Inbox(t.Context(), org, r.In.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !cmp.Equal(after.Journal, before.Journal) || !cmp.Equal(after.Counts, before.Counts) ||
				after.Bytes != before.Bytes || after.Name != before.Name || after.Email != before.Email || !after.OwnerClaimed || !after.Rebuilt || after.Condition != state.ConditionNeedsLogin {
				t.Errorf("the inbox was %+v, is %+v", before, after)
			}
			if r.Ledger.ID() != id || sum.Inboxes != 1 || sum.Findings != 0 || sum.Unfinished != 0 || sum.Recordings[state.StateArchived] != int64(states[state.StateArchived]) {
				t.Errorf("%+v", sum)
			}
			r.goesOn()
		})
	}
}

// What a bad key of a failed recording tells is no new failure.
func TestRebuildKnowsSinceWhenARecordingFails(t *testing.T) {
	r, _ := rigOn(t, archivertest.Checking)
	r.Wire.Use(archivertest.ShowingOther("rec-01"))
	r.Passed()
	r.Passed()
	r.Wire.Use(nil)
	objects := r.WantJournal("rec-01 listed→listed", "rec-01 listed→failed", "rec-01 failed→failed")
	failed := objects[0].Events[1].At
	r.rebuilt()
	if e := r.WantState("rec-01", state.StateFailed); !e.FailedSince.Equal(failed) || len(e.BadKeys) != 2 {
		t.Errorf("fails since %s, want %s; bad keys %q", e.FailedSince, failed, e.BadKeys)
	}
}

// Media once found corrupt stay out of a rebuilt ledger, even with a manifest that a
// crash left and that describes what they were.
func TestRebuildKeepsCorruptMediaOut(t *testing.T) {
	r, key := rigOn(t, archivertest.Checking)
	ctx, crash := context.WithCancel(context.Background())
	defer crash()
	r.Wire.Use(func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if n == "PUT manifests" {
			crash()
		}
		return resp, err
	})
	r.Run(ctx)
	r.Wire.Use(nil)
	r.Spoil(key)
	archivertest.WantSame(t, "corrupt", r.Pass().Corrupt, []string{key})

	r.Wire.Use(archivertest.ShowingOther("rec-01"))
	r.Passed()
	r.Wire.Use(nil)

	lost := r.WantState("rec-01", state.StateFailed)
	archivertest.WantSame(t, "bad keys", lost.BadKeys, []string{key, record.Nth(key, 2, genesys.FormatWAV)})
	for range 2 { // failed, then archived beside the corrupt media
		sum, found := r.rebuilt()
		if len(found) > 0 || sum.Unfinished > 0 {
			t.Errorf("%+v, found %+v", sum, found)
		}
		if lost.State == state.StateFailed {
			lost.Name = "" // the next listing tells it
		}
		wantRestored(t, r.Entry("rec-01"), lost)
		r.Login(r.User)
		r.Passed()
		if v := r.WantArchived("rec-01"); v.MediaKey != record.Nth(key, 3, genesys.FormatWAV) {
			t.Errorf("archived at %s: corrupt media were adopted", v.MediaKey)
		}
		lost = r.Entry("rec-01")
	}
}

// goesOn insists that a rebuilt ledger downloads nothing again, deletes nothing until
// it was reconciled, and adds to the one chain.
func (r *rig) goesOn() {
	r.T.Helper()
	downloads, deletions := len(r.Requests(opLink)), len(r.Requests(opDelete))
	r.Passed(deleting, func(o *archiver.Options) { o.MinAge = 100 * 365 * 24 * time.Hour }) // what failed waits
	if n := len(r.Requests(opLink)) - downloads; n > 2 {                                    // failing and spoiled
		r.T.Errorf("%d downloads more", n)
	}
	if n := len(r.Requests(opDelete)) - deletions; n != 0 {
		r.T.Errorf("%d deletions by a ledger that was not reconciled", n)
	}
	if err := r.Ledger.EditInbox(context.Background(), org, r.In.ID, func(i *state.Inbox) { i.Rebuilt = false }); err != nil {
		r.T.Fatal(err)
	}
	r.Passed(deleting)
	if n := len(r.Requests(opDelete)) - deletions; n == 0 {
		r.T.Error("nothing was deleted once it was reconciled")
	}
	if _, faults := r.Journal(); len(faults) > 0 {
		r.T.Errorf("the journal is broken: %+v", faults)
	}
}

// What is missing, torn, foreign or contradicts itself in the archive is found, and all
// else comes back.
func TestRebuildFinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(r *rig, v state.Version)
		want    []record.Fault
		state   state.State
	}{
		"torn manifest":    {func(r *rig, v state.Version) { r.Overwrite(v.ManifestKey, r.Read(v.ManifestKey)[:50]) }, []record.Fault{record.FaultManifest, record.FaultManifest}, state.StateArchived},
		"missing manifest": {func(r *rig, v state.Version) { r.Remove(v.ManifestKey) }, []record.Fault{record.FaultManifest}, state.StateArchived},
		"altered manifest": {func(r *rig, v state.Version) { r.Overwrite(v.ManifestKey, append(r.Read(v.ManifestKey), ' ')) }, []record.Fault{record.FaultManifest}, state.StateArchived},
		"another's manifest": {func(r *rig, v state.Version) {
			r.Overwrite(v.ManifestKey, bytes.ReplaceAll(r.Read(v.ManifestKey), []byte("rec-01"), []byte("rec-02")))
		}, []record.Fault{record.FaultManifest, record.FaultManifest}, state.StateArchived},
		"manifest of no size": {func(r *rig, v state.Version) {
			r.Replace(v.ManifestKey, fmt.Sprintf(`"size":%d`, v.Size), `"size":0`)
		}, []record.Fault{record.FaultManifest, record.FaultManifest}, state.StateArchived},
		"manifest beyond time": {func(r *rig, v state.Version) {
			r.Replace(v.ManifestKey, `"times":`, `"retention":{"until":"9999-12-31T23:59:59-01:00"},"times":`)
		}, []record.Fault{record.FaultManifest, record.FaultManifest}, state.StateArchived},
		"event of no state": {func(r *rig, _ state.Version) {
			r.Replace(r.Objects("journal")[1], `"to":"archived"`, `"to":"sold"`)
		}, []record.Fault{record.FaultJournal}, state.StateArchived},
		"event of no recording": {func(r *rig, _ state.Version) {
			r.Replace(r.Objects("journal")[1], `"events":[`, `"events":[{"at":"2026-11-23T10:00:00Z","recording":"","from":"listed","to":"failed"},`)
		}, []record.Fault{record.FaultJournal}, state.StateArchived},
		"event of another recording": {func(r *rig, _ state.Version) {
			r.Replace(r.Objects("journal")[1], `"recording":"rec-03"`, `"recording":"rec-01"`)
		}, []record.Fault{record.FaultJournal}, state.StateArchived},
		"event of another manifest": {func(r *rig, _ state.Version) {
			r.Replace(r.Objects("journal")[1], `rec-03.json`, `rec-01.json`)
		}, []record.Fault{record.FaultJournal}, state.StateArchived},
		"bad key of nobody": {func(r *rig, _ state.Version) {
			r.Replace(r.Objects("journal")[1], `"stored":`, `"bad_keys":["x"],"stored":`)
		}, []record.Fault{record.FaultJournal}, state.StateArchived},
		"foreign media": {func(r *rig, v state.Version) {
			r.Overwrite(record.Nth(v.MediaKey, 2, genesys.FormatWAV), []byte("hello"))
		}, []record.Fault{record.FaultForeign}, state.StateArchived},
		"missing media":         {func(r *rig, v state.Version) { r.Remove(v.MediaKey) }, []record.Fault{record.FaultMissing}, state.StateArchived},
		"no media, no journal":  {func(r *rig, v state.Version) { r.RemoveAll("journal"); r.Remove(v.MediaKey) }, []record.Fault{record.FaultMissing}, state.StateArchived},
		"foreign name":          {func(r *rig, v state.Version) { r.Overwrite(v.ManifestKey+".bak", []byte("hello")) }, []record.Fault{record.FaultManifest}, state.StateArchived},
		"journal object taken":  {func(r *rig, _ state.Version) { r.Remove(r.Objects("journal")[0]) }, []record.Fault{record.FaultJournal}, state.StateArchived},
		"whole journal taken":   {func(r *rig, _ state.Version) { r.RemoveAll("journal") }, nil, state.StateArchived},
		"manifest and journal":  {func(r *rig, v state.Version) { r.RemoveAll("journal"); r.Remove(v.ManifestKey) }, nil, state.StateListed},
		"nothing but the media": {func(r *rig, _ state.Version) { r.RemoveAll("journal"); r.RemoveAll("manifests"); r.RemoveAll("owners") }, nil, state.StateListed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, false)
			r.Add(2)
			r.Passed()
			r.User.Add(genesystest.Recording{ID: "rec-03", Duration: 100 * time.Millisecond})
			r.Passed()
			c.breakIt(r, r.Entry("rec-01").Versions[0])
			sum, found := r.rebuilt()
			var have []record.Fault
			for _, f := range found {
				have = append(have, f.Fault)
			}
			if !slices.Equal(have, c.want) || sum.Findings != int64(len(c.want)) {
				t.Errorf("found %+v", found)
			}
			r.WantState("rec-01", c.state)
			for _, id := range []string{"rec-02", "rec-03"} {
				if e := r.Entry(id); c.state == state.StateArchived && (e.State != state.StateArchived || e.Versions[0].ManifestSize == 0) {
					t.Errorf("%s is %+v", id, e)
				}
			}
			r.Login(r.User)
			downloads := len(r.Requests(opLink))
			r.Pass()
			if n := len(r.Requests(opLink)); n != downloads {
				t.Errorf("%d downloads more", n-downloads)
			}
			e := r.WantState("rec-01", state.StateArchived)
			v := e.Versions[len(e.Versions)-1]
			if m := r.Manifest(v.ManifestKey); m.Media.Key != v.MediaKey || m.RecordingID != "rec-01" {
				t.Errorf("the manifest is %+v", m)
			}
		})
	}
}

// The versions of a recording stand in their order although the first one's manifest
// can't be read.
func TestRebuildKeepsTheOrderOfVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(1)
	r.Passed()
	r.User.Change("rec-01")
	r.Passed()
	want := r.Entry("rec-01").Versions
	r.Wire.Use(archivertest.Refusing(want[0].ManifestKey))
	r.rebuilt()
	r.Wire.Use(nil)
	got := r.Entry("rec-01").Versions
	if len(want) != 2 || len(got) != 2 || got[0].MediaKey != want[0].MediaKey || got[1].MediaKey != want[1].MediaKey {
		t.Errorf("the versions are %+v, were %+v", got, want)
	}
}

// A manifest that is gone like its original is written again from the media, and says
// what it lacks.
func TestRebuildDescribesMediaOfWhatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(2)
	r.Passed()
	r.User.Remove("rec-01")
	r.Passed()
	r.Passed()
	v := r.WantState("rec-01", state.StateGone).Versions[0]
	r.Remove(v.ManifestKey)
	_, found := r.rebuilt()
	if len(found) != 1 || found[0].Fault != record.FaultManifest || found[0].Key != v.ManifestKey {
		t.Errorf("found %+v", found)
	}
	n := r.WantState("rec-01", state.StateGone).Versions[0]
	m := r.Manifest(n.ManifestKey)
	if m.Lacks == "" || string(m.Recording) != "{}" || m.Media.SHA256 != v.SHA256 || m.Media.Key != v.MediaKey || m.DateModified != v.DateModified || !m.Adopted {
		t.Errorf("the manifest is %+v", m)
	}
	if n.RetainUntil != v.RetainUntil || n.Checksum != v.Checksum || n.SHA256 != v.SHA256 || n.MediaVersionID != v.MediaVersionID {
		t.Errorf("the version was %+v, is %+v", v, n)
	}
	schema, err := jsonschema.NewCompiler().Compile("../docs/manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.Read(n.ManifestKey)))
	if err == nil {
		err = schema.Validate(text)
	}
	if err != nil {
		t.Error(err)
	}
}
