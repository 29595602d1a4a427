package integration_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestKeepingInDatabase gives orders beside a worker that has the ledger in a database.
func TestKeepingInDatabase(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.inDatabase(postgrestest.Run(t))
	w.expect(0, "migrate")
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.once(0)
	w.expect(0, ordered("hold", "set", "a case", "r000")...)
	w.expect(3, append(ordered("erase", "r000", "r001"), "--authority", "x", "--credentials", w.removalFile())...)
	all := w.databaseEntries()
	if e := all["r000"]; e.State != state.StateArchived || !slices.Equal(e.Cases(), []string{"a case"}) || !e.Versions[0].Held {
		t.Errorf("held: %+v", e)
	}
	if e := all["r001"]; e.State != state.StateErased || w.below("r001") > 0 {
		t.Errorf("erased: %+v", e)
	}
	w.wantTold("erased", []string{"r001"})
	w.expect(0, "verify")
	w.expect(0, "reconcile")
}

// TestHoldDuringTransfer holds a recording while its media are downloaded: what the pass
// writes then is held.
func TestHoldDuringTransfer(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.daily()
		inbox := w.cloud.ClientInbox()
		fill(inbox, 1)
		w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: genesystest.Effect{Name: "hold", Before: func(http.ResponseWriter, *http.Request) bool {
			w.expect(0, ordered("hold", "set", "a case", "r000")...)
			return false
		}}})
		w.ends(w.serve())
		w.wantHeld(true, inbox, "r000")
		if e := w.entries(inbox)["r000"]; e.State != state.StateArchived || !e.Versions[0].Held {
			t.Errorf("%+v", e)
		}
		w.expect(0, "verify")
	})
}

// TestReleaseDuringTransfer releases a case while the media of what it holds are downloaded:
// what the pass writes then is not held.
func TestReleaseDuringTransfer(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.daily()
		inbox := w.cloud.ClientInbox()
		fill(inbox, 1)
		w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: genesystest.HTML(200)})
		p := w.serve() // its first run fails
		w.expect(0, ordered("hold", "set", "a case", "r000")...)
		w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: genesystest.Effect{Name: "release", Before: func(http.ResponseWriter, *http.Request) bool {
			w.expect(0, ordered("hold", "release", "a case")...)
			return false
		}}})
		w.expect(0, "retry")
		w.ends(p)
		w.wantHeld(false, inbox, "r000")
		if e := w.entries(inbox)["r000"]; e.State != state.StateArchived || e.Versions[0].Held {
			t.Errorf("%+v", e)
		}
		w.expect(0, "verify")
		w.expect(0, append(ordered("erase", "r000"), "--authority", "x", "--credentials", w.removalFile())...)
	})
}

// TestRetainedJournalShortened has an administrator shorten the lock of a journal object that
// tells of a recording which is kept for longer. The same order makes it long again.
func TestRetainedJournalShortened(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.lockedAs("governance")
		inbox := w.cloud.ClientInbox()
		fill(inbox, 2)
		w.once(0)
		journal, media := w.journalKeys()[0], w.objectsOf(inbox, "r000")[0].Key
		lock, err := w.rootBucket().Retention(t.Context(), journal, "")
		if err != nil {
			t.Fatal(err)
		}
		retain := ordered("retain", "r000", "--until", "2050-01-01")
		if r := w.expect(0, append(retain, "--dry-run")...); !strings.Contains(r.stdout, "r000 of acme/"+inbox.ID+": until 2050-01-01, governance") {
			t.Errorf("a dry run says %s", r)
		}
		w.expect(0, retain...)
		w.expect(0, "verify")
		w.expect(0, "reconcile")
		for _, key := range []string{journal, media} {
			_, err = w.s3.Client().PutObjectRetention(t.Context(), &s3.PutObjectRetentionInput{
				Bucket: &w.bucket, Key: &key, BypassGovernanceRetention: aws.Bool(true),
				Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &lock.Until},
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"verify", "reconcile"} {
				if r := w.expect(6, command); !strings.Contains(r.stdout, "lock") || !strings.Contains(r.stdout, key) {
					t.Errorf("%s does not tell of the lock: %s", command, r)
				}
			}
		}
		if r := w.expect(0, retain...); !strings.Contains(r.stdout, "shorter in the store") {
			t.Errorf("retain again: %s", r)
		}
		w.expect(0, "verify")
		w.rebuilds(0)
		w.expect(0, "verify")
		w.expect(0, "reconcile")
	})
}

// TestOrdersAtTheSameTime has one machine hold what another one erases or disposes of, with
// the ledger in a database that both use. What is held stays, and who comes second is told.
func TestOrdersAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.MinIO(t), genesystest.Options{})
	w.inDatabase(postgrestest.Run(t))
	w.expect(0, "migrate")
	var at atomic.Pointer[string] // the request before which the other machine holds
	var beside func()
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if when := at.Load(); when != nil && strings.Contains(r.Method+" "+r.URL.String(), *when) && at.CompareAndSwap(when, nil) {
				beside()
			}
			next.ServeHTTP(rw, r)
		})
	})
	inbox := w.cloud.ClientInbox()
	for n := range 4 {
		inbox.Add(genesystest.Recording{ID: recordingID(n), DateCreated: time.Date(2012, 3, 4, 5, 6, n, 0, time.UTC)})
	}
	w.once(0)
	list := filepath.Join(w.dir, "list.jsonl")
	if err := os.WriteFile(list, []byte(w.expect(0, "dispose", "--before", "2021-01-01", "--dry-run").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	erase := func(id string) []string {
		return append(ordered("erase", id), "--authority", "x", "--credentials", w.removalFile())
	}
	dispose := append(ordered("dispose", "--approved", list), "--credentials", w.removalFile())
	for _, c := range []struct {
		order     []string
		id, when  string
		code      int
		holds     bool
		held, end string // what each is told
	}{
		{erase("r000"), "r000", "r000.wav?legal-hold", 3, true, "done\tr000", "held by a case"},
		{erase("r001"), "r001", "/journal/", 0, false, "left\tr001 of acme/" + inbox.ID + ": it is being removed", "done\tr001"},
		{dispose, "r002", "r002.wav?legal-hold", 3, true, "done\tr002", "left\tr002 of acme/" + inbox.ID + ": it is held by a case"},
	} {
		beside = func() {
			want := map[bool]int{true: 0, false: 3}[c.holds]
			if r := w.expect(want, ordered("hold", "set", "a case", c.id)...); !strings.Contains(r.stdout, c.held) {
				t.Errorf("hold set is told %s", r)
			}
		}
		at.Store(&c.when)
		if r := w.expect(c.code, c.order...); !strings.Contains(r.stdout, c.end) {
			t.Errorf("%q is told %s", c.order, r)
		}
		e := w.databaseEntries()[c.id]
		if held := len(e.Cases()) > 0; held != c.holds || e.State.Disposed() == held {
			t.Errorf("%s is %s, held by %q", c.id, e.State, e.Cases())
		}
	}
	w.expect(0, "verify")
	w.expect(0, "reconcile")
}
