package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// own puts an object that says of itself what archiverd's own do.
func (w *world) own(key, inbox, recording, modified string) {
	w.Helper()
	_, err := w.s3.Client().PutObject(w.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: strings.NewReader("media"),
		Metadata: map[string]string{"org": "acme", "inbox": inbox, "recording": recording, "date-modified": modified, "format": "WAV"}})
	if err != nil {
		w.Fatal(err)
	}
}

// moved takes an entry through states.
func (w *world) moved(inbox *genesystest.Inbox, id string, states ...state.State) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		k := state.Key{Org: "acme", Inbox: inbox.ID, Recording: id}
		for i := range states[1:] {
			_, err := l.Move(w.Context(), k, states[i], states[i+1], func(e *state.Entry) {
				if states[i+1] == state.StateFailed {
					e.LastError = "no media: 500"
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// TestReconcile makes one recording of each class, and objects of each kind.
func TestReconcile(t *testing.T) {
	for name, store := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, store(t), genesystest.Options{})
			w.locking()
			inbox := w.cloud.ClientInbox()
			fill(inbox, 14)
			w.once(0)
			clean := w.reconciled(0)
			if len(clean.recordings) != 14 || len(clean.objects) != 0 {
				t.Errorf("a clean archive: %+v", clean)
			}
			want, objects := w.wreck(inbox)
			got := w.reconciled(6)
			if d := cmp.Diff(want, got.recordings); d != "" {
				t.Errorf("-want +got\n%s", d)
			}
			if d := cmp.Diff(objects, got.objects); d != "" {
				t.Errorf("objects: -want +got\n%s", d)
			}
			for id, detail := range map[string]string{"r002": "delete marker", "r004": "lock", "failed": "no media: 500", "r013": "listed again", "r011": "does not know"} {
				if !strings.Contains(got.details[id], detail) {
					t.Errorf("%s: %q does not tell of %q", id, got.details[id], detail)
				}
			}
			if in := got.inboxes["client"]; in.Owner != "this ledger" || !in.Genesys.Complete || in.Genesys.Listed != len(inbox.IDs()) || in.Genesys.Summary != len(inbox.IDs()) {
				t.Errorf("Genesys' side and the owner: %+v", in)
			}
			w.wantPage(got)
		})
	}
}

// wreck gives the archive of 14 recordings one of each class and kind.
func (w *world) wreck(inbox *genesystest.Inbox) (recordings, objects map[string]string) {
	w.Helper()
	entries := w.entries(inbox)
	at := func(id string) state.Version { return entries[id].Versions[0] }
	beside := func(id string) string { return strings.Replace(at(id).MediaKey, ".wav", "~2.wav", 1) }
	recordings = map[string]string{
		"r000": "archived", "r001": "missing", "r002": "differs", "r003": "differs", "r004": "lock", "r005": "missing",
		"r006": "deleted", "r007": "gone", "vanished": "vanished", "failed": "failed", "new": "waiting",
		"r009": "archived", "r010": "archived", "r008": "archived", "stranger": "unknown", "r011": "unknown", "r012": "waiting", "r013": "deleted",
	}
	w.removeVersion(at("r001").MediaKey, at("r001").MediaVersionID)
	w.hide(at("r002").MediaKey, "")
	w.cover(at("r003").ManifestKey, "")
	w.shortenLock(at("r004").ManifestKey, at("r004").ManifestVersionID)
	w.moved(inbox, "r005", state.StateArchived, state.StateGone) // what is wrong comes first
	w.removeVersion(at("r005").ManifestKey, at("r005").ManifestVersionID)
	w.moved(inbox, "r006", state.StateArchived, state.StateDeleteRequested, state.StateDeleted)
	w.moved(inbox, "r007", state.StateArchived, state.StateGone)
	w.moved(inbox, "r013", state.StateArchived, state.StateDeleteRequested, state.StateDeleted)
	w.moved(inbox, "vanished", "", state.StateListed, state.StateVanished)
	w.moved(inbox, "failed", "", state.StateListed, state.StateFailed)
	w.moved(inbox, "r012", state.StateArchived, state.StateListed)
	for _, id := range []string{"r005", "r006", "r007"} {
		inbox.Remove(id)
	}
	inbox.Add(genesystest.Recording{ID: "failed"})
	inbox.Add(genesystest.Recording{ID: "new"})
	folder := "genesys/media/org=acme/inbox=client/"
	objects = map[string]string{
		folder + "undated/failed.wav":                                              "to adopt",
		folder + "undated/stranger.wav":                                            "unknown",
		strings.Replace(folder, "media", "manifests", 1) + "undated/stranger.json": "unknown",
		folder + "undated/r008~3.wav":                                              "foreign",
		folder + "notes.txt":                                                       "foreign",
		beside("r010"):                                                             "leftover",
		beside("r011"):                                                             "unknown",
	}
	w.own(folder+"undated/failed.wav", "client", "failed", "2026-01-01T00:00:00Z")
	w.own(folder+"undated/stranger.wav", "client", "stranger", "2026-01-01T00:00:00Z")
	w.own(strings.Replace(folder, "media", "manifests", 1)+"undated/stranger.json", "client", "stranger", "2026-01-01T00:00:00Z")
	w.put(folder+"undated/r008~3.wav", []byte("not by archiverd"))
	w.put(folder+"notes.txt", []byte("not by archiverd"))
	w.own(beside("r010"), "client", "r010", "2001-01-01T00:00:00Z")
	w.own(beside("r011"), "client", "r011", "2099-01-01T00:00:00Z")
	return recordings, objects
}

// wantPage reads the page for what an auditor needs, and for what must not be on it.
func (w *world) wantPage(got reconciled) {
	w.Helper()
	w.expect(6, "reconcile", "--html", "page.html")
	page, err := os.ReadFile(filepath.Join(w.dir, "page.html"))
	if err != nil {
		w.Fatal(err)
	}
	text := string(page)
	for id, class := range got.recordings {
		if got.details[id] != "" && !strings.Contains(text, ">"+id+"<") {
			w.Errorf("the page does not name %s, which is %s", id, class)
		}
	}
	for key := range got.objects {
		if !strings.Contains(text, key) {
			w.Errorf("the page does not name %s", key)
		}
	}
	for _, never := range []string{`https?://`, `src=`, `<script`, `@import`, `Recording \d`} {
		if found := regexp.MustCompile(never).FindString(text); found != "" {
			w.Errorf("the page has %q", found)
		}
	}
}

// TestReconcileWithoutGenesys can't list an inbox, and still tells of the other sides.
func TestReconcileWithoutGenesys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault genesystest.Fault
		code  int
	}{
		{"needs a login", genesystest.Fault{Op: opToken, Times: genesystest.Always, Effect: genesystest.OAuthError(400, "invalid_grant")}, 4},
		{"client refused", genesystest.Fault{Op: opToken, Times: genesystest.Always, Effect: genesystest.OAuthError(401, "invalid_client")}, 4},
		{"unreachable", genesystest.Fault{Op: opList, Times: genesystest.Always, Effect: genesystest.Status(503, "service.unavailable")}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, inboxes := newUsers(t, genesystest.Options{}, 3, "u1")
			w.once(0)
			w.withLedger(func(l *bolt.Ledger) error {
				return l.Login(t.Context(), "acme", "u1", state.Token{Refresh: inboxes[0].IssueRefreshToken()}, nil)
			})
			w.cloud.Inject(c.fault)
			got := w.reconciled(c.code)
			in := got.inboxes["u1"]
			if len(got.recordings) != 3 || got.recordings["u1-r000"] != "archived" || in.Genesys.NotAsked == "" || in.Genesys.Complete {
				t.Errorf("got %+v", got)
			}
			w.removeVersionOf(inboxes[0], "u1-r001")
			if got := w.reconciled(6); got.recordings["u1-r001"] != "missing" {
				t.Errorf("got %+v", got.recordings)
			}
		})
	}
}

func (w *world) removeVersionOf(inbox *genesystest.Inbox, id string) {
	w.Helper()
	v := w.entries(inbox)[id].Versions[0]
	w.removeVersion(v.MediaKey, v.MediaVersionID)
}

// TestReconcileSpan selects by days, on all sides alike.
func TestReconcileSpan(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	for d := range 4 {
		day := time.Date(2026, 3, 1+d, 23, 30, 0, 0, time.UTC)
		inbox.Add(genesystest.Recording{ID: fmt.Sprintf("day%d", d+1), DateCreated: day})
	}
	w.once(0)
	late := time.Date(2026, 3, 3, 12, 0, 0, 0, time.UTC)
	inbox.Add(genesystest.Recording{ID: "new", DateCreated: late})
	inbox.Add(genesystest.Recording{ID: "newer", DateCreated: late.AddDate(0, 0, 1)})
	for args, want := range map[string]map[string]string{
		"--from 2026-03-02 --to 2026-03-04": {"day2": "archived", "day3": "archived", "new": "waiting"},
		"--to 2026-03-02":                   {"day1": "archived"},
		"--from 2026-03-04":                 {"day4": "archived", "newer": "waiting"},
	} {
		got := w.reconciled(0, strings.Fields(args)...)
		if d := cmp.Diff(want, got.recordings); d != "" {
			t.Errorf("%s: -want +got\n%s", args, d)
		}
	}
	w.expect(2, "reconcile", "--from", "yesterday")
	w.expect(2, "reconcile", "--inbox", "nobody")
}

// TestReconcileStrangers finds what the ledger knows nothing of: a lost ledger's
// inboxes, and another ledger's claim.
func TestReconcileStrangers(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.once(0)
	for _, inbox := range []string{"a", "a-b", "a0", "z%2F1"} {
		w.own("genesys/media/org=acme/inbox="+inbox+"/undated/r-"+inbox+".wav", inbox, "r-"+inbox, "")
	}
	got := w.reconciled(6, "--org", "acme")
	for _, id := range []string{"client", "a", "a-b", "a0", "z/1"} {
		if _, ok := got.inboxes[id]; !ok || len(got.inboxes) != 5 {
			t.Errorf("inbox %s was not looked at: %v", id, keysOf(got.inboxes))
		}
	}

	w = place(t, w.cloud, w.s3)
	w.put("genesys/owners/org=acme/inbox=client.json", []byte(`{"ledger":"another"}`))
	w.once(0)
	if got := w.reconciled(0); !strings.Contains(got.inboxes["client"].Owner, "another") {
		t.Errorf("the claim is not told: %+v", got.inboxes)
	}
}

// TestReconcileJournal shortens a lock of the journal, and takes objects out of it. The
// first object was written before a lock was configured.
func TestReconcileJournal(t *testing.T) {
	for name, store := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, store(t), genesystest.Options{})
			inbox := w.cloud.ClientInbox()
			for i := range 3 {
				inbox.Add(genesystest.Recording{ID: recordingID(i)})
				w.once(0)
				w.locking()
			}
			if got := w.reconciled(0).inboxes["client"].Journal; got.Objects != 3 || len(got.Faults) != 0 {
				t.Fatalf("a whole journal: %+v", got)
			}
			var chain []object
			for _, o := range w.listing() {
				if strings.HasPrefix(o.Key, "genesys/journal/") {
					chain = append(chain, o)
				}
			}
			w.shortenLock(chain[1].Key, chain[1].VersionID)
			w.wantBroken("lock", chain[1].Key)
			w.removeVersion(chain[1].Key, chain[1].VersionID)
			w.wantBroken("missing", chain[1].Key)
			w.removeVersion(chain[2].Key, chain[2].VersionID) // only the ledger knows of it
			w.wantBroken("missing", chain[2].Key)
		})
	}
}

// wantBroken wants the journal to have one fault.
func (w *world) wantBroken(fault, key string) {
	w.Helper()
	got := w.reconciled(6).inboxes["client"].Journal.Faults
	if len(got) != 1 || got[0].Fault != fault || got[0].Key != key {
		w.Errorf("got %+v, want %s: %s", got, fault, key)
	}
	if r := w.expect(6, "reconcile"); !strings.Contains(r.stdout, fault+": "+key) {
		w.Errorf("the text does not tell: %s", r)
	}
}

// TestReconcileTrustsAgain lets a rebuilt inbox be deleted from once it is clean as a
// whole.
func TestReconcileTrustsAgain(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.once(0)
	rebuilt := func() (is bool) {
		w.withLedger(func(l *bolt.Ledger) error {
			i, err := l.Inbox(t.Context(), "acme", inbox.ID)
			is = i.Rebuilt
			return err
		})
		return is
	}
	w.withLedger(func(l *bolt.Ledger) error {
		return l.EditInbox(t.Context(), "acme", inbox.ID, func(i *state.Inbox) { i.Rebuilt = true })
	})
	key := w.entries(inbox)["r000"].Versions[0].MediaKey
	w.reconciled(0, "--to", "2001-01-01")
	w.hide(key, "")
	w.reconciled(6)
	w.unhide(key)
	w.cloud.Inject(genesystest.Fault{Op: opList, Effect: genesystest.Status(403, "not.authorized")})
	w.reconciled(4)
	if !rebuilt() {
		t.Error("a part, an archive that was not clean, or one inbox without Genesys' side was enough")
	}
	w.reconciled(0)
	if rebuilt() {
		t.Error("a clean archive was not enough")
	}
}

// unhide removes the delete marker.
func (w *world) unhide(key string) {
	w.Helper()
	out, err := w.s3.Client().ListObjectVersions(w.Context(), &s3.ListObjectVersionsInput{Bucket: &w.bucket, Prefix: &key})
	if err != nil || len(out.DeleteMarkers) != 1 {
		w.Fatal(out, err)
	}
	w.removeVersion(key, *out.DeleteMarkers[0].VersionId)
}

// TestReconcileInService reaches a service, which writes the page where the caller is.
func TestReconcileInService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 3)
	w.daily()
	p := w.serve()
	if got := w.reconciled(0); len(got.recordings) != 3 {
		t.Errorf("got %+v", got)
	}
	w.expect(0, "reconcile", "--html", "page.html")
	if _, err := os.Stat(filepath.Join(w.dir, "page.html")); err != nil {
		t.Error(err)
	}
	w.expect(0, "verify")
	w.ends(p)
}
