package integration_test

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/media/mediatest"
	"github.com/archiverd/archiverd/state"
)

// A recording that was archived while it was still being written, and grew since
// without a new dateModified, is archived again before it is deleted.
func TestGrowingRecordings(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	for n := range 20 {
		inbox.Add(genesystest.Recording{ID: fmt.Sprintf("r%02d", n), Duration: time.Second})
	}
	w.once(0)
	for _, id := range inbox.IDs() {
		inbox.Edit(id, func(r *genesystest.Recording) { r.Duration, r.MediaDuration = 2*time.Second, 2*time.Second })
	}
	ids := inbox.IDs()
	w.deleting()
	for range 3 {
		w.once(0)
	}
	w.wantDeletion(inbox, ids...)
	for id, e := range w.entries(inbox) {
		if len(e.Versions) != 2 {
			t.Errorf("%s has %d versions, want 2", id, len(e.Versions))
		}
	}
}

// A recording that grows between the listing and its deletion is archived again, too.
func TestGrownBeforeDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "r", Duration: time.Second})
	w.once(0)
	w.deleting()
	var grow sync.Once
	w.cloud.Configure(func(o *genesystest.Options) {
		o.OnPage = func(inbox *genesystest.Inbox, _ int) {
			grow.Do(func() {
				inbox.Edit("r", func(r *genesystest.Recording) { r.Duration, r.MediaDuration = 2*time.Second, 2*time.Second })
			})
		}
	})
	w.once(0)
	if e := w.entries(inbox)["r"]; e.State != state.StateListed {
		t.Errorf("right before its deletion the recording was found changed, and is %s", e.State)
	}
	w.once(0)
	w.wantState(state.StateDeleteRequested, inbox)
}

// wantDeletion insists that Genesys was asked to delete the originals.
func (w *world) wantDeletion(inbox *genesystest.Inbox, ids ...string) {
	w.Helper()
	all := w.entries(inbox)
	for _, id := range ids {
		if s := all[id].State; s != state.StateDeleteRequested && s != state.StateDeleted {
			w.Errorf("recording %s is %s, want its deletion asked for", id, s)
		}
	}
}

// mediaObjects counts those in the bucket.
func (w *world) mediaObjects() int {
	w.Helper()
	objects, err := w.newest("genesys/media/")
	if err != nil {
		w.Fatal(err)
	}
	return len(objects)
}

// A platform that marks a recording as read and moves its dateModified when it is
// downloaded has it stored once, and deleted in the end.
func TestDownloadMovesDateModified(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{OnDownload: func(inbox *genesystest.Inbox, id string) {
		inbox.Edit(id, func(r *genesystest.Recording) { r.Read, r.DateModified = true, time.Now().Truncate(time.Millisecond) })
	}})
	inbox := w.cloud.ClientInbox()
	for n := range 20 {
		inbox.Add(genesystest.Recording{ID: fmt.Sprintf("r%02d", n)})
	}
	for range 5 {
		w.once(0)
	}
	if n, asked := w.mediaObjects(), w.cloud.Requests(opLink); n != 20 || asked > 40 {
		t.Errorf("%d media objects after %d downloads, want 20 after at most 40", n, asked)
	}
	if r := w.expect(0, "verify", "--read"); !strings.Contains(r.stdout+r.stderr, "20") {
		t.Errorf("verify: %s", r)
	}
	w.deleting()
	w.once(0)
	w.wantState(state.StateDeleteRequested, inbox)
}

// A recording that a platform changes in every run is stored once, needs a person in
// the end, and is left alone.
func TestRestlessRecording(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "r"})
	inbox.Add(genesystest.Recording{ID: "quiet"})
	for n := range 8 {
		inbox.Edit("r", func(r *genesystest.Recording) { r.Extra = map[string]any{"revision": n} })
		w.run("run", "--once")
	}
	e := w.entries(inbox)["r"]
	if e.State != state.StateFailed || !e.NeedsPerson || !strings.Contains(e.LastError, "changed in 5 passes running") || !e.NextAttempt.After(time.Now().Add(20*time.Hour)) {
		t.Errorf("after five changes running: %s, needs a person %t, until %s: %s", e.State, e.NeedsPerson, e.NextAttempt, e.LastError)
	}
	if n, asked := w.mediaObjects(), w.cloud.Requests(opLink); n != 2 || asked > 6 {
		t.Errorf("%d media objects after %d downloads", n, asked)
	}
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "keep changing") {
		t.Errorf("status does not say so: %s", r)
	}
	w.wantState(state.StateArchived, inbox, "quiet")
}

// mediaOf are a recording's own media.
func (w *world) mediaOf(inbox *genesystest.Inbox, id string) []byte {
	w.Helper()
	m, err := mediatest.New(inbox.Spec(id, w.format()))
	if err != nil {
		w.Fatal(err)
	}
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// Media that a cache mixed up once are not archived as those of another recording: both
// are asked for once more, and both are archived and deleted in the end.
func TestMixedUpMedia(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.deleting()
	inbox, other := w.cloud.ClientInbox(), []byte(nil)
	for _, id := range []string{"a", "b", "c"} {
		inbox.Add(genesystest.Recording{ID: id, Duration: 3 * time.Second})
	}
	other = w.mediaOf(inbox, "b")
	var once sync.Once
	w.cloud.Configure(func(o *genesystest.Options) {
		o.Serve = func(_, id string) (body []byte) {
			if id == "a" {
				once.Do(func() { body = other })
			}
			return body
		}
	})
	for range 2 {
		w.run("run", "--once") // the world's guard looks at each deletion
	}
	w.wantDeletion(inbox, "a", "b", "c")
}

// Two recordings that are served the same media again and again are suspect, each
// naming the other, and stay in Genesys.
func TestSameMediaForTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.deleting()
	inbox := w.cloud.ClientInbox()
	for _, id := range []string{"a", "b", "c"} {
		inbox.Add(genesystest.Recording{ID: id, Duration: 3 * time.Second})
	}
	same := w.mediaOf(inbox, "b")
	w.cloud.Configure(func(o *genesystest.Options) {
		o.Serve = func(_, id string) []byte {
			if id == "c" {
				return nil
			}
			return same
		}
	})
	for range 3 {
		w.run("run", "--once")
	}
	left := map[string]string{"a": "b", "b": "a"}
	for id, e := range w.entries(inbox) {
		name := left[id]
		if name == "" {
			continue
		}
		if v := e.Versions; e.State != state.StateArchived || !strings.Contains(v[len(v)-1].Suspect, "/"+name+" ") {
			t.Errorf("%s is %s, suspect: %q, want it to name %s", id, e.State, v[len(v)-1].Suspect, name)
		}
	}
	w.wantDeletion(inbox, "c")
	if n := w.mediaObjects(); n != 3 {
		t.Errorf("%d media objects, want 3", n)
	}
	if ids := slices.Sorted(slices.Values(inbox.IDs())); len(ids) < 2 {
		t.Errorf("left in Genesys: %q", ids)
	}
}
