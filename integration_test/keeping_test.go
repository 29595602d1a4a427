package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
			{"hold", "release", "nobody's", "--reason", "x", "--yes"}, {"hold", "set", "Smith v. Jones", "r009", "--reason", "x", "--yes"},
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
		w.expect(0, ordered("hold", "release", "audit")...)
		w.wantHeld(true, inbox, "r000")
		w.expect(0, ordered("hold", "release", "Smith v. Jones")...)
		w.wantHeld(false, inbox, "r000")
		w.wantHeld(false, inbox, "r001")
		w.expect(0, "verify")
		w.expect(2, ordered("hold", "release", "audit")...)
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
		if r := plain.expect(2, ordered("hold", "set", "a case", "--all")...); !strings.Contains(r.stderr, "Object Lock") {
			t.Errorf("without Object Lock: %s", r)
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

func TestErase(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.lockedAs("governance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 4)
		w.once(0)
		inbox.Change("r000")
		w.once(0)
		erase := func(args ...string) []string {
			return append(ordered(append([]string{"erase"}, args...)...), "--authority", "GDPR request 7")
		}
		file := w.removalFile()
		w.expect(2, erase("r000")...)
		w.expect(2, append(ordered("erase", "r000"), "--credentials", file)...)
		w.expect(2, erase("r000", "--credentials", file, "--profile", "other")...)
		if r := w.expect(3, erase("r000", "--credentials", file)...); !strings.Contains(r.stdout, "governance retention keeps") {
			t.Errorf("under governance: %s", r)
		}
		w.expect(0, erase("r000", "--credentials", file, "--bypass-governance", "--dry-run")...)
		if w.below("r000") < 4 {
			t.Fatal("a dry run removed something")
		}
		manifest := w.objectsOf(inbox, "r000")[1]
		text, err := w.read(manifest.Key)
		if err != nil {
			t.Fatal(err)
		}
		r := w.expect(0, erase("r000", "--credentials", file, "--bypass-governance")...)
		if !strings.Contains(r.stdout, "may still be in Genesys") {
			t.Errorf("erase says %s", r)
		}
		if n := w.below("r000"); n > 0 {
			t.Errorf("%d versions are left", n)
		}
		w.wantState(state.StateErased, inbox, "r000")
		w.expect(0, erase("r000", "--credentials", file, "--bypass-governance")...)
		w.once(0) // still listed in Genesys
		w.wantState(state.StateErased, inbox, "r000")
		w.expect(0, "verify", "--read")
		w.expect(0, "reconcile")
		w.rebuilds(0)
		w.wantState(state.StateErased, inbox, "r000")
		w.once(0)
		w.wantState(state.StateErased, inbox, "r000")
		w.expect(0, "verify")

		w.put(manifest.Key, text)
		for _, command := range []string{"verify", "reconcile"} {
			if r := w.expect(6, command); !strings.Contains(r.stdout, "returned") && !strings.Contains(r.stdout, "there again") {
				t.Errorf("%s does not tell that an erased recording is back: %s", command, r)
			}
		}
	})
}

// TestEraseUnderCompliance wants the answer to say until when.
func TestEraseUnderCompliance(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.lockedAs("compliance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 1)
		w.once(0)
		until := w.entries(inbox)["r000"].Versions[0].RetainUntil.Format(time.DateOnly)
		r := w.expect(3, append(ordered("erase", "r000"), "--authority", "x", "--credentials", w.removalFile(), "--bypass-governance")...)
		if !strings.Contains(r.stdout, "compliance retention keeps") || !strings.Contains(r.stdout, until) {
			t.Errorf("erase says %s", r)
		}
		if e := w.entries(inbox)["r000"]; e.Disposal() != nil {
			t.Error("marked for removal all the same")
		}
	})
}

// TestEraseInterrupted kills the command before and after each of its writes, loses replies
// and refuses deletions; the same command given again finishes.
func TestEraseInterrupted(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		tap := w.tapped()
		inbox := w.cloud.ClientInbox()
		fill(inbox, 12)
		w.once(0)
		file := w.removalFile()
		for n := range 12 {
			id := recordingID(n)
			args := append(ordered("erase", id), "--authority", "x", "--credentials", file)
			started := make(chan *process, 1)
			tap.watch(func(write int, _ *http.Request, done bool) {
				if write == 2+n/2 && done == (n%2 == 0) { // the first write tries the credentials
					(<-started).kill()
				}
			})
			p := w.start(args...)
			started <- p
			p.wait()
			tap.watch(nil)
			if n == 6 {
				w.expect(0, "run", "--once")
			}
			w.expect(0, args...)
			if left := w.below(id); left > 0 {
				t.Errorf("killed at %d: %d versions are left", n, left)
			}
			w.wantState(state.StateErased, inbox, id)
		}
		w.expect(0, "verify")
		w.expect(0, "reconcile")
		w.rebuilds(0)
		w.wantState(state.StateErased, inbox)
		w.expect(0, "verify")
	})
}

// TestEraseWithoutTheRight wants nothing half-done by credentials that may not delete.
func TestEraseWithoutTheRight(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.between(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodDelete {
					deny(rw, r)
					return
				}
				next.ServeHTTP(rw, r)
			})
		})
		inbox := w.cloud.ClientInbox()
		fill(inbox, 1)
		w.once(0)
		r := w.expect(2, append(ordered("erase", "r000"), "--authority", "x", "--credentials", w.removalFile())...)
		if !strings.Contains(r.stderr, "s3:DeleteObjectVersion") {
			t.Errorf("erase says %s", r)
		}
		if e := w.entries(inbox)["r000"]; e.Disposal() != nil {
			t.Error("marked for removal all the same")
		}
	})
}

func TestDispose(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		inbox := w.cloud.ClientInbox()
		old := time.Date(2012, 3, 4, 5, 6, 7, 0, time.UTC) // seven years have passed
		for n := range 5 {
			inbox.Add(genesystest.Recording{ID: recordingID(n), DateCreated: old.AddDate(0, 0, n)})
		}
		inbox.Add(genesystest.Recording{ID: "young"})
		w.once(0)
		w.expect(0, ordered("hold", "set", "a case", "r001")...)
		for _, args := range [][]string{
			{"dispose"}, {"dispose", "--before", "2020-01-01"}, {"dispose", "--before", "2999-01-01", "--dry-run"},
			ordered("dispose", "--approved", filepath.Join(w.dir, "none")),
		} {
			w.expect(2, args...)
		}
		r := w.expect(0, "dispose", "--before", "2021-01-01", "--dry-run")
		if lines := strings.Count(r.stdout, "\n"); lines != 5 || strings.Contains(r.stdout, `"r001"`) || !strings.Contains(r.stderr, "r001 of acme") || strings.Contains(r.stdout, "young") {
			t.Fatalf("the list: %s", r)
		}
		list := filepath.Join(w.dir, "list.jsonl")
		var kept []string // r003 is not approved
		for line := range strings.Lines(r.stdout) {
			if !strings.Contains(line, `"r003"`) {
				kept = append(kept, line)
			}
		}
		if err := os.WriteFile(list, []byte(strings.Join(kept, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		w.expect(3, ordered("retain", "r004", "--until", "2050-01-01")...) // no lock, and none configured
		w.lockedAs("governance")
		w.expect(0, ordered("retain", "r004", "--until", "2050-01-01")...) // changed since
		page := filepath.Join(w.dir, "certificate.html")
		dispose := append(ordered("dispose", "--approved", list, "--json"), "--credentials", w.removalFile())
		r = w.expect(3, append(dispose, "--page", page)...)
		w.wantState(state.StateExpired, inbox, "r000", "r002")
		w.wantState(state.StateArchived, inbox, "r001", "r003", "r004", "young")
		if w.below("r000") > 0 || w.below("r002") > 0 {
			t.Error("something is left")
		}
		key := w.wantCertificate(r.stdout, page)
		w.expect(0, "verify")
		w.expect(0, "reconcile")
		w.expect(3, dispose...) // once more: nothing is left to do
		w.once(0)
		w.wantState(state.StateExpired, inbox, "r000", "r002")
		w.rebuilds(0)
		w.wantState(state.StateExpired, inbox, "r000", "r002")
		w.expect(0, "verify")

		w.put(key, []byte("{}"))
		for _, command := range []string{"verify", "reconcile"} {
			if r := w.expect(6, command); !strings.Contains(r.stdout, key) {
				t.Errorf("%s does not tell of the altered certificate: %s", command, r)
			}
		}
	})
}

// wantCertificate compares what dispose printed with what is in the bucket, and returns the
// certificate's key.
func (w *world) wantCertificate(printed, page string) string {
	w.Helper()
	for line := range strings.Lines(printed) {
		var c struct {
			Type, Key string
			Content   struct {
				Disposed, Left []struct{ Recording, Why string }
			}
		}
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			w.Fatal(err)
		}
		if c.Type != "certificate" {
			continue
		}
		if d, l := c.Content.Disposed, c.Content.Left; len(d) != 2 || d[0].Recording != "r000" || len(l) != 1 || l[0].Recording != "r004" || l[0].Why == "" {
			w.Errorf("the certificate says %+v", c)
		}
		have, err := w.read(strings.TrimSuffix(c.Key, "json") + "html")
		if err != nil {
			w.Fatal(err)
		}
		if written, err := os.ReadFile(page); err != nil || !bytes.Equal(written, have) || !bytes.Contains(have, []byte("r002")) {
			w.Errorf("the page: %v, %d and %d bytes", err, len(written), len(have))
		}
		return c.Key
	}
	w.Fatalf("no certificate: %s", printed)
	return ""
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
