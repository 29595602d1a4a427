package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

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
		again := erase("r000", "--credentials", file, "--bypass-governance") // versitygw gives it the old lock
		if r := w.expect(0, again...); !strings.Contains(r.stdout, "there again, and are removed") {
			t.Errorf("erase again: %s", r)
		}
		w.expect(0, "verify")

		// A put that was on its way arrives, under a key that no ledger names.
		late := strings.Replace(strings.Replace(manifest.Key, "/manifests/", "/media/", 1), "r000.json", "r000~3.wav", 1)
		_, err = w.s3.Client().PutObject(t.Context(), &s3.PutObjectInput{
			Bucket: &w.bucket, Key: &late, Body: strings.NewReader("late"), ContentLength: aws.Int64(4),
			Metadata: map[string]string{"org": "acme", "inbox": inbox.ID, "recording": "r000", "date-modified": "2020-01-01T00:00:00Z"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if r := w.expect(6, "reconcile"); !strings.Contains(r.stdout, "returned") || !strings.Contains(r.stdout, late) {
			t.Errorf("reconcile does not tell of a late put: %s", r)
		}
		w.expect(0, again...)
		w.expect(0, "reconcile")
		w.rebuilds(0)
		w.expect(0, "verify")
		if acts := w.entries(inbox)["r000"].Acts; len(acts) != 3 {
			t.Errorf("rebuilt acts: %+v", acts)
		}
		w.journals() // hold to the schema
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

// TestEraseInterrupted interrupts the command at each of its writes; the same command given
// again finishes.
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
			w.interrupted(tap, 2+n/2, n%2 == 0, args...)
			if n == 6 {
				w.once(0)
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

// TestEraseOutlivesItsLedger kills the command when its first object is gone, and loses the
// ledger: the archive alone tells what was ordered, and the same command finishes it.
func TestEraseOutlivesItsLedger(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		tap := w.tapped()
		inbox := w.cloud.ClientInbox()
		fill(inbox, 3)
		w.once(0)
		args := append(ordered("erase", "r000", "r001"), "--authority", "x", "--credentials", w.removalFile())
		started := make(chan *process, 1)
		tap.watch(func(_ int, r *http.Request, done bool) {
			if done && r.Method == http.MethodDelete && strings.Contains(r.URL.Path, "/media/") {
				select {
				case p := <-started:
					p.kill()
				default: // it has been killed
				}
			}
		})
		p := w.start(args...)
		started <- p
		p.wait()
		tap.watch(nil)
		w.removeLedger()
		w.run("rebuild") // what is half removed is a finding, or all of it was removed
		if r := w.expect(6, "verify"); !strings.Contains(r.stdout, "unfinished") || strings.Contains(r.stdout, "missing") {
			t.Errorf("the archive does not tell that the removal was ordered: %s", r)
		}
		w.once(0)
		w.expect(0, args...)
		if left := w.below("r000") + w.below("r001"); left > 0 {
			t.Errorf("%d versions are left or were archived again", left)
		}
		w.wantState(state.StateErased, inbox, "r000", "r001")
		w.wantState(state.StateArchived, inbox, "r002")
	})
}

// TestDisposeInterrupted interrupts the command in the middle of its removals, of its
// certificate and of its journal.
func TestDisposeInterrupted(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		tap := w.tapped()
		inbox := w.cloud.ClientInbox()
		for n := range 4 {
			inbox.Add(genesystest.Recording{ID: recordingID(n), DateCreated: time.Date(2012, 3, 4, 5, 6, n, 0, time.UTC)})
		}
		w.once(0)
		list := filepath.Join(w.dir, "list.jsonl")
		if err := os.WriteFile(list, []byte(w.expect(0, "dispose", "--before", "2021-01-01", "--dry-run").stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append(ordered("dispose", "--approved", list), "--credentials", w.removalFile())
		for _, write := range []int{3, 4, 5, 3, 2, 3} { // the writes of a second try are fewer
			w.interrupted(tap, write, true, args...)
		}
		w.expect(0, args...)
		w.wantState(state.StateExpired, inbox)
		if left := w.below("r0"); left > 0 {
			t.Errorf("%d versions are left", left)
		}
		w.expect(0, "verify")
		w.expect(0, "reconcile")
		w.rebuilds(0)
		w.wantState(state.StateExpired, inbox)
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

		w.journals() // hold to the schema
		w.put(w.objectsOf(inbox, "r000")[1].Key, []byte("{}"))
		w.expect(6, "verify")
		w.expect(3, dispose...) // removes it, too; r004 is left
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
		text, err := w.read(c.Key)
		if err != nil {
			w.Fatal(err)
		}
		schema, err := jsonschema.NewCompiler().Compile("../docs/certificate.schema.json")
		if err != nil {
			w.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil {
			w.Errorf("the certificate: %v\n%s", err, text)
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

// TestPutAfterErasure holds a worker's put up on its way, kills the worker, erases the
// recording, and lets the put arrive: reconcile finds it, and the same order removes it.
func TestPutAfterErasure(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		started, arrives, arrived := make(chan *process, 1), make(chan struct{}), make(chan struct{})
		w.between(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/media/") || !strings.Contains(r.URL.Path, "r000~2") {
					next.ServeHTTP(rw, r)
					return
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				(<-started).kill()
				<-arrives
				late := r.Clone(context.WithoutCancel(r.Context()))
				late.Body = io.NopCloser(bytes.NewReader(body))
				reply := httptest.NewRecorder()
				next.ServeHTTP(reply, late)
				if reply.Code != http.StatusOK {
					t.Errorf("the late put: %d %s", reply.Code, reply.Body)
				}
				close(arrived)
			})
		})
		inbox := w.cloud.ClientInbox()
		fill(inbox, 1)
		w.once(0)
		inbox.Change("r000")
		p := w.start("run", "--once")
		started <- p
		p.wait()
		w.expect(0, ordered("waive", "r000")...)
		erase := append(ordered("erase", "r000"), "--authority", "x", "--credentials", w.removalFile())
		w.expect(0, erase...)
		w.expect(0, "verify")
		w.expect(0, "reconcile")
		close(arrives)
		<-arrived
		if r := w.expect(6, "reconcile"); !strings.Contains(r.stdout, "returned") || !strings.Contains(r.stdout, "r000~2") {
			t.Errorf("reconcile does not tell of the late put: %s", r)
		}
		w.once(0) // which takes nothing of it into the ledger
		w.expect(0, erase...)
		if left := w.below("r000"); left > 0 {
			t.Errorf("%d versions are left", left)
		}
		w.expect(0, "reconcile")
	})
}
