package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// onLockingStores runs a test on each store that has locks and holds.
func onLockingStores(t *testing.T, test func(t *testing.T, w *world)) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "minio": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newWorldOn(t, start(t), genesystest.Options{Queued: 1}))
		})
	}
}

// ordered are the flags without which no order is carried out.
func ordered(args ...string) []string { return append(args, "--reason", "for the test", "--yes") }

// own opens the world's bucket with the servers' root credentials.
func (w *world) rootBucket() *storage.Bucket {
	w.Helper()
	b, err := storage.Open(w.Context(), w.s3.Options(w.bucket))
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// removalFile writes the credentials with which erase and dispose delete.
func (w *world) removalFile() string {
	w.Helper()
	path := filepath.Join(w.dir, "removal.credentials")
	text := fmt.Sprintf("# for erasures\n[other]\naws_access_key_id = nobody\n[default]\naws_access_key_id = %s\naws_secret_access_key=%s\n", w.s3.AccessKey, w.s3.SecretKey)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// objectsOf returns the media and manifests of a recording's versions, as the ledger has them.
func (w *world) objectsOf(inbox *genesystest.Inbox, id string) (all []storage.Version) {
	w.Helper()
	for _, v := range w.entries(inbox)[id].Versions {
		all = append(all, storage.Version{Key: v.MediaKey, ID: v.MediaVersionID}, storage.Version{Key: v.ManifestKey, ID: v.ManifestVersionID})
	}
	return all
}

// wantHeld insists on the store's hold, or its absence, on all versions of a recording.
func (w *world) wantHeld(want bool, inbox *genesystest.Inbox, id string) {
	w.Helper()
	b := w.rootBucket()
	for _, o := range w.objectsOf(inbox, id) {
		if held, err := b.Hold(w.Context(), o.Key, o.ID); err != nil || held != want {
			w.Errorf("%s: held %v, %v, want %v", o.Key, held, err, want)
		}
	}
}

// below counts the versions and delete markers whose keys have the id in them.
func (w *world) below(id string) (n int) {
	w.Helper()
	for v, err := range w.rootBucket().Versions(w.Context(), "genesys/m") {
		if err != nil {
			w.Fatal(err)
		}
		if strings.Contains(v.Key, id) {
			n++
		}
	}
	return n
}

// rebuilds loses the ledger and rebuilds it.
func (w *world) rebuilds(code int) {
	w.Helper()
	w.removeLedger()
	w.expect(code, "rebuild")
}

func TestHold(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.lockedAs("governance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 4)
		w.once(0)
		for _, args := range [][]string{
			{"hold", "set", "Smith v. Jones", "--reason", "x", "--yes"}, {"hold", "set", "Smith v. Jones", "r000", "--yes"}, {"hold", "set", " ", "r000", "--reason", "x", "--yes"},
			{"hold", "set", "Smith v. Jones", "--org", "acme", "--name", "", "--reason", "x", "--yes"}, {"hold", "release", "nobody's", "--reason", "x", "--yes"}, {"hold", "set", "Smith v. Jones", "r009", "--reason", "x", "--yes"},
		} {
			w.expect(2, args...)
		}
		w.expect(0, "hold", "set", "Smith v. Jones", "r000", "--reason", "x", "--dry-run")
		w.wantHeld(false, inbox, "r000")
		w.expect(0, ordered("hold", "set", "Smith v. Jones", "r000", "r001")...)
		w.expect(0, ordered("hold", "set", "audit", "r000")...)
		w.wantHeld(true, inbox, "r000")
		w.wantHeld(true, inbox, "r001")
		w.wantHeld(false, inbox, "r002")
		if r := w.expect(0, "hold", "ls"); !strings.Contains(r.stdout, "Smith v. Jones  2           0") {
			t.Errorf("hold ls: %s", r)
		}

		w.deleting()
		w.cloud.Settle()
		w.once(0)
		w.cloud.Settle()
		w.once(0)
		if left := slices.Sorted(slices.Values(inbox.IDs())); !slices.Equal(left, []string{"r000", "r001"}) {
			t.Errorf("left in Genesys: %q", left)
		}
		w.expect(0, "verify", "--read")
		w.expect(0, "reconcile")

		w.takesOff(inbox, "r001")
		w.expect(0, ordered("hold", "set", "Smith v. Jones", "--case", "Smith v. Jones")...)
		w.expect(0, "verify")

		inbox.Change("r000")
		w.once(0)
		if n := len(w.entries(inbox)["r000"].Versions); n != 2 {
			t.Fatalf("%d versions", n)
		}
		w.wantHeld(true, inbox, "r000")
		r := w.expect(3, append(ordered("erase", "r000"), "--authority", "court", "--credentials", w.removalFile(), "--bypass-governance")...)
		if !strings.Contains(r.stdout, "held by Smith v. Jones, audit") {
			t.Errorf("erase says %s", r)
		}

		w.rebuilds(0)
		w.expect(0, "verify")
		w.expect(0, "reconcile")
		if cases := func() []string { e := w.entries(inbox)["r000"]; return e.Cases() }(); !slices.Equal(cases, []string{"Smith v. Jones", "audit"}) {
			t.Errorf("rebuilt cases: %q", cases)
		}
		if v := w.entries(inbox)["r000"].Versions; !v[0].Held || !v[1].Held {
			t.Errorf("rebuilt versions are not held: %+v", v)
		}
		w.takesOff(inbox, "r000")
		w.expect(0, ordered("hold", "release", "audit")...)
		w.wantHeld(true, inbox, "r000")
		w.expect(0, ordered("hold", "release", "Smith v. Jones")...)
		w.wantHeld(false, inbox, "r000")
		w.wantHeld(false, inbox, "r001")
		w.expect(0, "verify")
		if r := w.expect(2, ordered("hold", "release", "audit", "r002")...); !strings.Contains(r.stderr, `the case "audit" does not hold, among the selected: r002`) {
			t.Errorf("a release of what is not held: %s", r)
		}
		if r := w.expect(2, ordered("hold", "release", "audit")...); !strings.Contains(r.stderr, `the case "audit" holds no recording`) {
			t.Errorf("a release of nothing: %s", r)
		}
	})
}

// takesOff takes the hold of a recording's manifest off, as an administrator could, and wants
// verify and reconcile to find that. Then the administrator deletes the media, too.
func (w *world) takesOff(inbox *genesystest.Inbox, id string) {
	w.Helper()
	o := w.objectsOf(inbox, id)[1]
	_, err := w.s3.Client().PutObjectLegalHold(w.Context(), &s3.PutObjectLegalHoldInput{
		Bucket: &w.bucket, Key: &o.Key, VersionId: &o.ID, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff},
	})
	if err != nil {
		w.Fatal(err)
	}
	for _, command := range []string{"verify", "reconcile"} {
		if r := w.expect(6, command); !strings.Contains(r.stdout, "hold") || !strings.Contains(r.stdout, o.Key) {
			w.Errorf("%s does not tell of the hold: %s", command, r)
		}
	}
}

// TestHeldVersionDeleted has an administrator take a hold off and delete the version under
// governance.
func TestHeldVersionDeleted(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.lockedAs("governance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 1)
		w.once(0)
		w.expect(0, ordered("hold", "set", "a case", "--all")...)
		b := w.rootBucket()
		o := w.objectsOf(inbox, "r000")[0]
		if err := b.SetHold(t.Context(), o.Key, o.ID, false); err != nil {
			t.Fatal(err)
		}
		if err := storage.NewRemover(b).Remove(t.Context(), o, true); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"verify", "reconcile"} {
			if r := w.expect(6, command); !strings.Contains(r.stdout, "missing") || !strings.Contains(r.stdout, o.Key) {
				t.Errorf("%s says %s", command, r)
			}
		}
		w.expect(3, ordered("hold", "set", "a case", "--all")...) // what is missing can't be held
	})
}

// TestHoldNeedsLocks wants a bucket without Object Lock, and a store that drops a hold,
// refused before anything is changed.
func TestHoldNeedsLocks(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		drop := false
		w.between(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if drop && r.Method == http.MethodPut && r.URL.Query().Has("legal-hold") {
					return
				}
				next.ServeHTTP(rw, r)
			})
		})
		inbox := w.cloud.ClientInbox()
		fill(inbox, 2)
		w.once(0)
		drop = true
		if r := w.expect(2, ordered("hold", "set", "a case", "--all")...); !strings.Contains(r.stderr, "ignored") {
			t.Errorf("a dropped hold: %s", r)
		}
		e := w.entries(inbox)["r000"]
		if len(e.Acts) > 0 {
			t.Errorf("the ledger has %+v", e.Acts)
		}
		plain := newWorldOn(t, w.s3, genesystest.Options{})
		plain.bucket = w.s3.NewBucket(t, false)
		fill(plain.cloud.ClientInbox(), 1)
		plain.once(0)
		for _, dry := range []string{"--dry-run", "--json"} {
			if r := plain.expect(2, append(ordered("hold", "set", "a case", "--all"), dry)...); !strings.Contains(r.stderr, "Object Lock") {
				t.Errorf("without Object Lock, %s: %s", dry, r)
			}
		}
		if found := plain.doctor(0); found["store.hold"].Result != "unchecked" {
			t.Errorf("doctor: %+v", found["store.hold"])
		}
	})
}

func TestRetain(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.lockedAs("compliance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 2)
		w.once(0)
		for _, args := range [][]string{
			ordered("retain", "r000"), ordered("retain", "r000", "--until", "2020-01-01"), ordered("retain", "r000", "--until", "2050-01-01", "--for", "1y"),
			ordered("retain", "r000", "--for", "long"), ordered("retain", "--until", "2050-01-01"),
		} {
			w.expect(2, args...)
		}
		before := w.entries(inbox)["r001"].Versions[0].RetainUntil
		until := time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)
		w.expect(0, ordered("retain", "r000", "--until", "2050-01-01")...)
		v := w.entries(inbox)["r000"].Versions[0]
		for _, key := range []string{v.MediaKey, v.ManifestKey} {
			w.wantLock(key, "COMPLIANCE", until)
		}
		for _, j := range w.journalKeys() { // all tell of r000, or of the act
			w.wantLock(j, "COMPLIANCE", until)
		}
		if !v.RetainUntil.Equal(until) || !w.entries(inbox)["r001"].Versions[0].RetainUntil.Equal(before) {
			t.Errorf("the ledger has %v", v.RetainUntil)
		}
		w.expect(0, ordered("retain", "--all", "--for", "3y")...) // shorter: nothing changes
		w.wantLock(v.MediaKey, "COMPLIANCE", until)
		w.expect(0, "verify")
		w.rebuilds(0)
		if got := w.entries(inbox)["r000"].Versions[0].RetainUntil; !got.Equal(until) {
			t.Errorf("rebuilt: retained until %v", got)
		}
		w.expect(0, "verify", "--read")
		w.expect(0, "reconcile")
	})
}

// journalKeys lists the journal's objects.
func (w *world) journalKeys() (keys []string) {
	w.Helper()
	for o, err := range w.rootBucket().List(w.Context(), "genesys/journal/") {
		if err != nil {
			w.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

// TestKeepingByService gives orders while a service holds the ledger: the caller's files are
// read on its side.
func TestKeepingByService(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.daily()
		inbox := w.cloud.ClientInbox()
		fill(inbox, 2)
		p := w.serve()
		w.expect(0, ordered("hold", "set", "a case", "r000")...)
		w.expect(0, append(ordered("erase", "r001"), "--authority", "x", "--credentials", w.removalFile())...)
		w.expect(2, append(ordered("erase", "r001"), "--authority", "x", "--credentials", "none")...)
		w.ends(p)
		w.wantHeld(true, inbox, "r000")
		w.wantState(state.StateErased, inbox, "r001")
		w.wantTold("erased", []string{"r001"})
		if strings.Contains(string(w.ledgerBytes()), w.s3.SecretKey) {
			t.Error("the ledger holds the credentials")
		}
	})
}

// ledgerBytes reads the ledger's file.
func (w *world) ledgerBytes() []byte {
	w.Helper()
	text, err := os.ReadFile(w.ledgerPath())
	if err != nil {
		w.Fatal(err)
	}
	return text
}

// interrupted kills a command at its n-th write to the store, before or after its effect. A
// command that ends sooner is not killed.
func (w *world) interrupted(t *tap, n int, after bool, args ...string) {
	w.Helper()
	started := make(chan *process, 1)
	t.watch(func(write int, _ *http.Request, done bool) {
		if write == n && done == after {
			(<-started).kill()
		}
	})
	p := w.start(args...)
	started <- p
	p.wait()
	t.watch(nil)
}

// TestHoldAndRetainInterrupted interrupts the commands at each of their writes; the same
// command given again finishes.
func TestHoldAndRetainInterrupted(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		tap := w.tapped()
		w.lockedAs("governance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 3)
		w.once(0)
		hold, release := ordered("hold", "set", "a case", "--all"), ordered("hold", "release", "a case", "--all")
		for n := range 6 {
			w.interrupted(tap, 1+n, n%2 == 0, hold...)
			w.expect(0, hold...)
			w.wantHeld(true, inbox, "r002")
			w.interrupted(tap, 1+n, n%2 == 1, release...)
			if r := w.run(release...); r.code != 0 && r.code != 2 { // 2: all was released before the kill
				t.Errorf("release: %s", r)
			}
			w.wantHeld(false, inbox, "r000")
		}
		retain := ordered("retain", "--all", "--until", "2050-01-01")
		w.interrupted(tap, 3, true, retain...)
		w.expect(0, retain...)
		w.expect(0, hold...)
		w.expect(0, "verify")
		w.rebuilds(0)
		w.expect(0, "verify")
		w.expect(0, "reconcile")
	})
}

// TestKeepingOnFlakyStore loses every other reply to a write, or refuses every other write
// for now: each order is carried out all the same.
func TestKeepingOnFlakyStore(t *testing.T) {
	for _, fault := range []string{"reply lost", "refused for now"} {
		t.Run(fault, func(t *testing.T) {
			onLockingStores(t, func(t *testing.T, w *world) {
				var writes atomic.Int64
				var flaky atomic.Bool
				w.between(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						write := r.Method == http.MethodPut || r.Method == http.MethodDelete
						if !write || !flaky.Load() || writes.Add(1)%2 == 0 {
							next.ServeHTTP(rw, r)
							return
						}
						if fault == "reply lost" {
							next.ServeHTTP(httptest.NewRecorder(), r)
						}
						rw.WriteHeader(http.StatusServiceUnavailable)
					})
				})
				w.lockedAs("governance")
				inbox := w.cloud.ClientInbox()
				fill(inbox, 2)
				inbox.Add(genesystest.Recording{ID: "old", DateCreated: time.Date(2012, 3, 4, 5, 6, 7, 0, time.UTC)})
				w.once(0)
				list := filepath.Join(w.dir, "list.jsonl")
				if err := os.WriteFile(list, []byte(w.expect(0, "dispose", "--before", "2021-01-01", "--dry-run").stdout), 0o600); err != nil {
					t.Fatal(err)
				}
				flaky.Store(true)
				w.expect(0, append(ordered("dispose", "--approved", list), "--credentials", w.removalFile())...)
				w.expect(0, ordered("hold", "set", "a case", "--state", "archived")...)
				w.wantHeld(true, inbox, "r001")
				w.expect(0, ordered("retain", "--state", "archived", "--until", "2050-01-01")...)
				w.expect(0, ordered("hold", "release", "a case")...)
				w.expect(0, append(ordered("erase", "r000"), "--authority", "x", "--credentials", w.removalFile(), "--bypass-governance")...)
				flaky.Store(false)
				w.wantState(state.StateErased, inbox, "r000")
				w.wantState(state.StateExpired, inbox, "old")
				w.expect(0, "verify", "--read")
				w.expect(0, "reconcile")
				w.rebuilds(0)
				w.expect(0, "verify")
			})
		})
	}
}

// TestRetentionChanged wants doctor and the service to say what a change of retain_for does
// not do to what is stored.
func TestRetentionChanged(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.MinIO(t), genesystest.Options{})
	w.lockedAs("governance")
	fill(w.cloud.ClientInbox(), 1)
	w.once(0)
	if f, said := w.doctor(0)["ledger.retention"]; said {
		t.Errorf("said for nothing: %+v", f)
	}
	section := w.storageSection()
	section["object_lock"] = map[string]any{"mode": "governance", "retain_for": "10y"}
	w.config["storage"] = section
	if f := w.doctor(0)["ledger.retention"]; f.Result != "warn" || !strings.Contains(f.Remedy, "archiverd retain --all --for 10y") {
		t.Errorf("doctor: %+v", f)
	}
	w.daily()
	p := w.start("run")
	w.awaitLog(p, "archiverd retain --all --for 10y", 1)
	w.ends(p)
	w.expect(0, ordered("retain", "--all", "--for", "10y")...)
	if f, said := w.doctor(0)["ledger.retention"]; said {
		t.Errorf("said for nothing: %+v", f)
	}
}
