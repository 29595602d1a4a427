package archiver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

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

// rebuilt loses the ledger and makes it again.
func (r *rig) rebuilt() (*Rebuilt, []Finding) {
	r.t.Helper()
	sum, found, err := r.rebuild(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	return sum, found
}

func (r *rig) rebuild(ctx context.Context) (*Rebuilt, []Finding, error) {
	r.t.Helper()
	id := r.ledger.ID()
	r.closeLedger()
	r.path = filepath.Join(r.t.TempDir(), "rebuilt.db")
	var err error
	if r.ledger, err = bolt.Open(r.path, bolt.Options{ID: id}); err != nil {
		r.t.Fatal(err)
	}
	var found []Finding
	sum, err := r.archiver().Rebuild(ctx, r.ledger, []RebuildOrg{{Name: org, Format: genesys.FormatWAV, Login: true}}, func(f Finding) error {
		found = append(found, f)
		return nil
	})
	return sum, found, err
}

// history lives through everything that can happen to recordings.
func (r *rig) history() {
	r.t.Helper()
	short := 100 * time.Millisecond
	r.options.MinAge = 0
	r.user.Add(genesystest.Recording{ID: "kept", Name: "<kept>", Duration: short})
	r.user.Add(genesystest.Recording{ID: "changed", Duration: short})
	r.user.Add(genesystest.Recording{ID: "changing", Duration: short})
	r.user.Add(genesystest.Recording{ID: "away", Duration: short})
	r.user.Add(genesystest.Recording{ID: "undated", Duration: short, Omit: []string{"dateCreated", "dateModified", "name"}})
	r.user.Add(genesystest.Recording{ID: "odd/~2 %é", Duration: short})
	r.user.Add(genesystest.Recording{ID: strings.Repeat("long ", 60), Duration: short})
	r.user.Add(genesystest.Recording{ID: "suspect", Duration: 10 * time.Second, MediaDuration: short})
	r.user.Add(genesystest.Recording{ID: "lost", Name: "lost", Duration: 10 * time.Second, MediaDuration: short})
	r.user.Add(genesystest.Recording{ID: "empty", Empty: true})
	r.user.Add(genesystest.Recording{ID: "corrupt", Duration: short})
	r.user.Add(genesystest.Recording{ID: "old", DateCreated: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Duration: short})
	r.wire.use(showingOther("corrupt"))
	r.passed()
	r.wire.use(nil)
	r.user.Remove("lost")
	r.user.Remove("away")
	r.user.Change("changed")
	r.passed()
	r.user.Change("changed")
	r.passed()                                                                       // lost is vanished, away gone, suspect archived, changed has three versions
	r.passed(func(o *Options) { o.Delete = Deletion{Enabled: true, MaxPerPass: 2} }) // asked for
	r.passed()                                                                       // deleted
	r.user.Add(genesystest.Recording{ID: "failing", Duration: 10 * time.Second, MediaDuration: short})
	r.user.Add(genesystest.Recording{ID: "spoiled", Name: "spoiled", Duration: short})
	r.wire.use(showingOther("spoiled"))
	defer r.wire.use(nil)
	r.passed(func(o *Options) { o.Delete = Deletion{Enabled: true, MaxPerPass: 1} })
	if err := r.ledger.EditInbox(context.Background(), org, "nobody", func(*state.Inbox) {}); err != nil { // never listed: not in the archive
		r.t.Fatal(err)
	}
}

// showingOther has the store show a checksum of other bytes for a recording's media.
func showingOther(id string) rule {
	other := afterPut("X-Amz-Checksum-Sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")(nil)
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if !strings.Contains(req.URL.Path, "/"+id) {
			return send()
		}
		return other(n, req, send)
	}
}

// The ledger that is made from the archive alone is the one that was lost.
func TestRebuiltLedgerIsTheLostOne(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]bool{"locked and versioned": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, lock)
			r.history()
			want := ledgerEntries(t, r.ledger)
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
				if len(want[r.key(id)].BadKeys) != 1 {
					t.Errorf("the history has no bad key of %s: %+v", id, want[r.key(id)])
				}
			}
			before, err := r.ledger.Inbox(t.Context(), org, r.in.ID)
			if err != nil {
				t.Fatal(err)
			}
			id := r.ledger.ID()

			sum, found := r.rebuilt()
			for _, f := range found {
				t.Errorf("finding %+v", f)
			}
			wantRestored(t, ledgerEntries(t, r.ledger), want)
			after, err := r.ledger.Inbox(t.Context(), org, r.in.ID)
			if err != nil {
				t.Fatal(err)
			}
			if !cmp.Equal(after.Journal, before.Journal) || !cmp.Equal(after.Counts, before.Counts) ||
				after.Bytes != before.Bytes || after.Name != before.Name || after.Email != before.Email || !after.OwnerClaimed || !after.Rebuilt || after.Condition != state.ConditionNeedsLogin {
				t.Errorf("the inbox was %+v, is %+v", before, after)
			}
			if r.ledger.ID() != id || sum.Inboxes != 1 || sum.Findings != 0 || sum.Unfinished != 0 || sum.Recordings[state.StateArchived] != int64(states[state.StateArchived]) {
				t.Errorf("%+v", sum)
			}
			r.goesOn()
		})
	}
}

// wantRestored compares what is of the archive. Of the way to where an entry stands,
// only that part is told there. Where no journal tells when, the media's own time does.
func wantRestored(t *testing.T, got, want any) {
	t.Helper()
	diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Minute),
		cmpopts.IgnoreFields(state.Entry{}, "Fingerprint", "Raw", "Expanded", "Attempts", "Mismatches", "NextAttempt", "MissingSince"))
	if diff != "" {
		t.Errorf("-lost +rebuilt\n%s", diff)
	}
}

// What a bad key of a failed recording tells is no new failure.
func TestRebuildKnowsSinceWhenARecordingFails(t *testing.T) {
	r, _ := rigOn(t, &checking)
	r.wire.use(showingOther("rec-01"))
	r.passed()
	r.passed()
	r.wire.use(nil)
	objects := r.wantJournal("rec-01 listed→listed", "rec-01 listed→failed", "rec-01 failed→failed")
	failed := objects[0].Events[1].At
	r.rebuilt()
	if e := r.wantState("rec-01", state.StateFailed); !e.FailedSince.Equal(failed) || len(e.BadKeys) != 2 {
		t.Errorf("fails since %s, want %s; bad keys %q", e.FailedSince, failed, e.BadKeys)
	}
}

// Media once found corrupt stay out of a rebuilt ledger, even with a manifest that a
// crash left and that describes what they were.
func TestRebuildKeepsCorruptMediaOut(t *testing.T) {
	r, key := rigOn(t, &checking)
	ctx, crash := context.WithCancel(context.Background())
	defer crash()
	r.wire.use(func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if n == "PUT manifests" {
			crash()
		}
		return resp, err
	})
	r.archiver().Run(ctx, ctx, []Inbox{r.in})
	r.wire.use(nil)
	r.spoil(key)
	wantSame(t, "corrupt", r.pass().Corrupt, []string{key})

	r.wire.use(showingOther("rec-01"))
	r.passed()
	r.wire.use(nil)

	lost := r.wantState("rec-01", state.StateFailed)
	wantSame(t, "bad keys", lost.BadKeys, []string{key, record.Nth(key, 2, genesys.FormatWAV)})
	for range 2 { // failed, then archived beside the corrupt media
		sum, found := r.rebuilt()
		if len(found) > 0 || sum.Unfinished > 0 {
			t.Errorf("%+v, found %+v", sum, found)
		}
		wantRestored(t, r.entry("rec-01"), lost)
		r.login(r.user)
		r.passed()
		if v := r.wantArchived("rec-01"); v.MediaKey != record.Nth(key, 3, genesys.FormatWAV) {
			t.Errorf("archived at %s: corrupt media were adopted", v.MediaKey)
		}
		lost = r.entry("rec-01")
	}
}

// spoil puts other bytes in an object's place, with its metadata.
func (r *rig) spoil(key string) {
	r.t.Helper()
	client, ctx := r.server.Client(), context.Background()
	was, err := client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &r.bucket, Key: &key})
	if err != nil {
		r.t.Fatal(err)
	}
	body, err := io.ReadAll(flip(io.NopCloser(bytes.NewReader(r.read(key)))))
	if err == nil {
		_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: &r.bucket, Key: &key, Metadata: was.Metadata, Body: bytes.NewReader(body)})
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// goesOn insists that a rebuilt ledger downloads nothing again, deletes nothing until
// it was reconciled, and adds to the one chain.
func (r *rig) goesOn() {
	r.t.Helper()
	downloads, deletions := len(r.requests(opLink)), len(r.requests(opDelete))
	r.passed(deleting, func(o *Options) { o.MinAge = 100 * 365 * 24 * time.Hour }) // what failed waits
	if n := len(r.requests(opLink)) - downloads; n > 2 {                           // failing and spoiled
		r.t.Errorf("%d downloads more", n)
	}
	if n := len(r.requests(opDelete)) - deletions; n != 0 {
		r.t.Errorf("%d deletions by a ledger that was not reconciled", n)
	}
	if err := r.ledger.EditInbox(context.Background(), org, r.in.ID, func(i *state.Inbox) { i.Rebuilt = false }); err != nil {
		r.t.Fatal(err)
	}
	r.passed(deleting)
	if n := len(r.requests(opDelete)) - deletions; n == 0 {
		r.t.Error("nothing was deleted once it was reconciled")
	}
	if _, faults := r.journal(); len(faults) > 0 {
		r.t.Errorf("the journal is broken: %+v", faults)
	}
}

// What is missing, torn, foreign or contradicts itself in the archive is found, and all
// else comes back.
func TestRebuildFinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(r *rig, v state.Version)
		want    []Fault
		state   state.State
	}{
		"torn manifest":    {func(r *rig, v state.Version) { r.overwrite(v.ManifestKey, r.read(v.ManifestKey)[:50]) }, []Fault{FaultManifest, FaultManifest}, state.StateArchived},
		"missing manifest": {func(r *rig, v state.Version) { r.remove(v.ManifestKey) }, []Fault{FaultManifest}, state.StateArchived},
		"altered manifest": {func(r *rig, v state.Version) { r.overwrite(v.ManifestKey, append(r.read(v.ManifestKey), ' ')) }, []Fault{FaultManifest}, state.StateArchived},
		"another's manifest": {func(r *rig, v state.Version) {
			r.overwrite(v.ManifestKey, bytes.ReplaceAll(r.read(v.ManifestKey), []byte("rec-01"), []byte("rec-02")))
		}, []Fault{FaultManifest, FaultManifest}, state.StateArchived},
		"manifest of no size": {func(r *rig, v state.Version) {
			r.replace(v.ManifestKey, fmt.Sprintf(`"size":%d`, v.Size), `"size":0`)
		}, []Fault{FaultManifest, FaultManifest}, state.StateArchived},
		"manifest beyond time": {func(r *rig, v state.Version) {
			r.replace(v.ManifestKey, `"times":`, `"retention":{"until":"9999-12-31T23:59:59-01:00"},"times":`)
		}, []Fault{FaultManifest, FaultManifest}, state.StateArchived},
		"event of no state": {func(r *rig, _ state.Version) {
			r.replace(r.objects("journal")[1], `"to":"archived"`, `"to":"sold"`)
		}, []Fault{FaultJournal}, state.StateArchived},
		"event of no recording": {func(r *rig, _ state.Version) {
			r.replace(r.objects("journal")[1], `"events":[`, `"events":[{"at":"2026-11-23T10:00:00Z","recording":"","from":"listed","to":"failed"},`)
		}, []Fault{FaultJournal}, state.StateArchived},
		"event of another recording": {func(r *rig, _ state.Version) {
			r.replace(r.objects("journal")[1], `"recording":"rec-03"`, `"recording":"rec-01"`)
		}, []Fault{FaultJournal}, state.StateArchived},
		"event of another manifest": {func(r *rig, _ state.Version) {
			r.replace(r.objects("journal")[1], `rec-03.json`, `rec-01.json`)
		}, []Fault{FaultJournal}, state.StateArchived},
		"bad key of nobody": {func(r *rig, _ state.Version) {
			r.replace(r.objects("journal")[1], `"stored":`, `"bad_keys":["x"],"stored":`)
		}, []Fault{FaultJournal}, state.StateArchived},
		"foreign media": {func(r *rig, v state.Version) {
			r.overwrite(record.Nth(v.MediaKey, 2, genesys.FormatWAV), []byte("hello"))
		}, []Fault{FaultForeign}, state.StateArchived},
		"missing media":         {func(r *rig, v state.Version) { r.remove(v.MediaKey) }, []Fault{FaultMissing}, state.StateArchived},
		"no media, no journal":  {func(r *rig, v state.Version) { r.removeAll("journal"); r.remove(v.MediaKey) }, []Fault{FaultMissing}, state.StateArchived},
		"foreign name":          {func(r *rig, v state.Version) { r.overwrite(v.ManifestKey+".bak", []byte("hello")) }, []Fault{FaultManifest}, state.StateArchived},
		"journal object taken":  {func(r *rig, _ state.Version) { r.remove(r.objects("journal")[0]) }, []Fault{FaultJournal}, state.StateArchived},
		"whole journal taken":   {func(r *rig, _ state.Version) { r.removeAll("journal") }, nil, state.StateArchived},
		"manifest and journal":  {func(r *rig, v state.Version) { r.removeAll("journal"); r.remove(v.ManifestKey) }, nil, state.StateListed},
		"nothing but the media": {func(r *rig, _ state.Version) { r.removeAll("journal"); r.removeAll("manifests"); r.removeAll("owners") }, nil, state.StateListed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, false)
			r.add(2)
			r.passed()
			r.user.Add(genesystest.Recording{ID: "rec-03", Duration: 100 * time.Millisecond})
			r.passed()
			c.breakIt(r, r.entry("rec-01").Versions[0])
			sum, found := r.rebuilt()
			var have []Fault
			for _, f := range found {
				have = append(have, f.Fault)
			}
			if !slices.Equal(have, c.want) || sum.Findings != int64(len(c.want)) {
				t.Errorf("found %+v", found)
			}
			r.wantState("rec-01", c.state)
			for _, id := range []string{"rec-02", "rec-03"} {
				if e := r.entry(id); c.state == state.StateArchived && (e.State != state.StateArchived || e.Versions[0].ManifestSize == 0) {
					t.Errorf("%s is %+v", id, e)
				}
			}
			r.login(r.user)
			downloads := len(r.requests(opLink))
			r.pass()
			if n := len(r.requests(opLink)); n != downloads {
				t.Errorf("%d downloads more", n-downloads)
			}
			e := r.wantState("rec-01", state.StateArchived)
			v := e.Versions[len(e.Versions)-1]
			if m := r.manifest(v.ManifestKey); m.Media.Key != v.MediaKey || m.RecordingID != "rec-01" {
				t.Errorf("the manifest is %+v", m)
			}
		})
	}
}

// An object that the store can't give is found, once, and all else comes back.
func TestRebuildFindsTheUnreadable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(r *rig)
		lost    func(r *rig) string
		state   state.State // of rec-01, whose original is gone
	}{
		"manifest":                 {nil, func(r *rig) string { return r.entry("rec-01").Versions[0].ManifestKey }, state.StateGone},
		"first journal object":     {nil, func(r *rig) string { return r.objects("journal")[0] }, state.StateGone},
		"journal object between":   {nil, func(r *rig) string { return r.objects("journal")[1] }, state.StateGone},
		"newest journal object":    {nil, func(r *rig) string { k := r.objects("journal"); return k[len(k)-1] }, state.StateArchived},
		"media without a journal":  {func(r *rig) { r.removeAll("journal") }, func(r *rig) string { return r.objects("media")[0] }, state.StateArchived},
		"media without a manifest": {func(r *rig) { r.removeAll("journal"); r.remove(r.objects("manifests")[0]) }, func(r *rig) string { return r.objects("media")[0] }, ""},
		"media of a lost manifest": {func(r *rig) { r.remove(r.objects("manifests")[0]) }, func(r *rig) string { return r.objects("media")[0] }, state.StateGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, false)
			r.add(3)
			r.passed()
			r.user.Add(genesystest.Recording{ID: "rec-04", Duration: 100 * time.Millisecond})
			r.passed()
			r.user.Remove("rec-01")
			r.passed()
			r.passed()
			r.wantState("rec-01", state.StateGone)
			lost, before := c.lost(r), ledgerEntries(t, r.ledger)
			if c.prepare != nil {
				c.prepare(r)
			}
			stored := r.objects("manifests")
			r.wire.use(refusing(lost))
			_, found := r.rebuilt()
			r.wire.use(nil)
			found = slices.DeleteFunc(found, func(f Finding) bool { return f.Fault == FaultManifest }) // lost before
			if len(found) != 1 || found[0].Fault != FaultUnreadable || found[0].Key != lost || !strings.Contains(found[0].Detail, "400") {
				t.Errorf("found %+v, want %s", found, lost)
			}
			after := ledgerEntries(t, r.ledger)
			e := after[r.key("rec-01")]
			if e.State != c.state {
				t.Errorf("rec-01 is %+v", e)
			}
			for _, v := range e.Versions { // which of nothing would be long ago, and the original due
				if v.ArchivedAt.IsZero() {
					t.Errorf("rec-01 was archived at no time: %+v", v)
				}
			}
			delete(before, r.key("rec-01"))
			delete(after, r.key("rec-01"))
			wantRestored(t, after, before)
			wantSame(t, "manifests", r.objects("manifests"), stored)
			r.login(r.user)
			downloads := len(r.requests(opLink))
			r.passed()
			if n := len(r.requests(opLink)); n != downloads {
				t.Errorf("%d downloads more", n-downloads)
			}
			if _, faults := r.journal(); len(faults) > 0 && c.prepare == nil {
				t.Errorf("the journal is broken: %+v", faults)
			}
		})
	}
}

// Media in cold storage are found, however many they are: the store works.
func TestRebuildPastColdStorage(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.add(maxUnreadable + 2)
	r.passed()
	cold := r.objects("manifests")[1:]
	r.wire.use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		for _, key := range cold {
			if n == "GET manifests" && strings.HasSuffix(req.URL.Path, key) {
				return answer(req, http.StatusForbidden, `<Error><Code>InvalidObjectState</Code></Error>`), nil
			}
		}
		return send()
	})
	_, found := r.rebuilt()
	r.wire.use(nil)
	var keys []string
	for _, f := range found {
		if f.Fault == FaultUnreadable {
			keys = append(keys, f.Key)
		}
	}
	slices.Sort(keys)
	wantSame(t, "unreadable", keys, cold)
}

// The versions of a recording stand in their order although the first one's manifest
// can't be read.
func TestRebuildKeepsTheOrderOfVersions(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.add(1)
	r.passed()
	r.user.Change("rec-01")
	r.passed()
	want := r.entry("rec-01").Versions
	r.wire.use(refusing(want[0].ManifestKey))
	r.rebuilt()
	r.wire.use(nil)
	got := r.entry("rec-01").Versions
	if len(want) != 2 || len(got) != 2 || got[0].MediaKey != want[0].MediaKey || got[1].MediaKey != want[1].MediaKey {
		t.Errorf("the versions are %+v, were %+v", got, want)
	}
}

// refusing has the store refuse to give one object.
func refusing(key string) rule {
	return func(_ string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if (req.Method == http.MethodGet || req.Method == http.MethodHead) && strings.HasSuffix(req.URL.Path, key) {
			return refuse(req), nil
		}
		return send()
	}
}

// A store that refuses, has no bucket any more or fails for one object after the other
// ends a rebuild, and so does a stop.
func TestRebuildEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken string // requests
		reply  func(*http.Request) *http.Response
		want   string
	}{
		"forbidden": {"GET manifests", func(req *http.Request) *http.Response {
			return answer(req, http.StatusForbidden, `<Error><Code>AccessDenied</Code></Error>`)
		}, "access refused"},
		"no bucket": {"", func(req *http.Request) *http.Response {
			return answer(req, http.StatusNotFound, `<Error><Code>NoSuchBucket</Code></Error>`)
		}, "no such bucket"},
		"one after the other": {"GET manifests", refuse, "one recording after the other failed"},
		"stopped":             {"GET manifests", nil, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, false)
			r.add(maxUnreadable)
			r.passed()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var begun atomic.Bool
			r.wire.use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if n == "GET manifests" {
					begun.Store(true)
				}
				switch {
				case !begun.Load() || c.broken != "" && n != c.broken:
					return send()
				case c.reply == nil:
					stop()
					return nil, context.Canceled
				}
				return c.reply(req), nil
			})
			_, found, err := r.rebuild(ctx)
			r.wire.use(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(found) > 0 {
				t.Errorf("ended with %v, found %+v", err, found)
			}
		})
	}
}

// Only what can be a recording of the organization keeps a new ledger from beginning,
// not whatever a stranger left below the prefix.
func TestHoldsRecordings(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	wantHeld := func(want bool) {
		t.Helper()
		if held, err := record.HoldsRecordings(t.Context(), r.store(), "genesys", org); err != nil || held != want {
			t.Errorf("holds recordings: %v, %v, want %v", held, err, want)
		}
	}
	day := "/org=" + org + "/inbox=" + user + "/year=2026/month=11/day=23/"
	for _, stranger := range []string{
		"genesys/media/org=" + org + "/notes.txt", "genesys/media" + day + "a.wav.part", "genesys/media" + day + "a b.wav", "genesys/media" + day + "sub/a.wav",
		"genesys/manifests" + day + "a.wav", "genesys/manifests/org=" + org + "/a.json", "genesys/media/org=" + org + "2/inbox=u/undated/a.wav",
	} {
		r.overwrite(stranger, []byte("hello"))
	}
	wantHeld(false)
	r.add(1)
	r.passed()
	wantHeld(true)
	v := r.entry("rec-01").Versions[0]
	r.remove(v.MediaKey)
	wantHeld(true)
	r.remove(v.ManifestKey)
	wantHeld(false)
}

// A manifest that is gone like its original is written again from the media, and says
// what it lacks.
func TestRebuildDescribesMediaOfWhatIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.add(2)
	r.passed()
	r.user.Remove("rec-01")
	r.passed()
	r.passed()
	v := r.wantState("rec-01", state.StateGone).Versions[0]
	r.remove(v.ManifestKey)
	_, found := r.rebuilt()
	if len(found) != 1 || found[0].Fault != FaultManifest || found[0].Key != v.ManifestKey {
		t.Errorf("found %+v", found)
	}
	n := r.wantState("rec-01", state.StateGone).Versions[0]
	m := r.manifest(n.ManifestKey)
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
	text, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.read(n.ManifestKey)))
	if err == nil {
		err = schema.Validate(text)
	}
	if err != nil {
		t.Error(err)
	}
}

// Media that were stored and not described before their original disappeared are
// archived all the same, with what the listing said.
func TestStoredMediaOfAVanishedRecordingAreArchived(t *testing.T) {
	t.Parallel()
	r := undescribed(t)
	r.passed()
	r.passed()
	v := r.wantState("rec-01", state.StateGone).Versions[0]
	if m := r.manifest(v.ManifestKey); m.Media.Key != v.MediaKey || m.Lacks != "" || !bytes.Contains(m.Recording, []byte("rec-01")) {
		t.Errorf("the manifest is %+v", m)
	}
	r.wantToldOnce("rec-01")
}

// undescribed holds media that were stored by a process that ended before it described
// them; their original is gone.
func undescribed(t *testing.T) *rig {
	r := newRig(t, &checking, true)
	r.add(1)
	s := &stage{failing: -1}
	r.staged(s, context.Background())
	at := slices.Index(s.steps, "PUT manifests")

	r = newRig(t, &checking, true)
	r.add(1)
	r.staged(&stage{failing: at, crash: true}, context.Background())
	r.closeLedger()
	r.openLedger()
	r.wantState("rec-01", state.StateListed)
	r.user.Remove("rec-01")
	r.options.MinAge = 100 * 365 * 24 * time.Hour // or it would be archived now, from the ledger's own copy
	return r
}

// replace alters a part of an object.
func (r *rig) replace(key, old, text string) {
	r.t.Helper()
	was := r.read(key)
	if !bytes.Contains(was, []byte(old)) {
		r.t.Fatalf("no %s in %s", old, was)
	}
	r.overwrite(key, bytes.ReplaceAll(was, []byte(old), []byte(text)))
}

func (r *rig) removeAll(kind string) {
	for _, key := range r.objects(kind) {
		r.remove(key)
	}
}
