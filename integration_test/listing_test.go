package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// TestListings wants nothing lost by any way in which listings are known, or feared,
// to be wrong.
func TestListings(t *testing.T) {
	t.Parallel()
	sizes := func(f func(call int64, asked int) int) func(int, int) int {
		var calls atomic.Int64
		return func(_, asked int) int { return f(calls.Add(1), asked) }
	}
	for _, c := range []struct {
		name  string
		cloud genesystest.Options
		fault genesystest.Fault
	}{
		{"phantom pages", genesystest.Options{PhantomPages: 7}, genesystest.Fault{}},
		{"repeated across pages", genesystest.Options{RepeatAcross: true}, genesystest.Fault{}},
		{"smaller pages than asked for", genesystest.Options{MaxPageSize: 4}, genesystest.Fault{}},
		{"pages that change their size", genesystest.Options{PageSize: sizes(func(call int64, asked int) int {
			return max(asked-int(call), 4)
		})}, genesystest.Fault{}},
		{"too large when expanded", genesystest.Options{MaxExpanded: 2}, genesystest.Fault{}},
		{"a total too high", genesystest.Options{TotalOffset: 5}, genesystest.Fault{}},
		{"a total too low", genesystest.Options{TotalOffset: -5}, genesystest.Fault{}},
		{"no total", genesystest.Options{}, genesystest.Fault{Op: opList, Times: genesystest.Always, Effect: withoutTotal()}},
		{"a page cut short", genesystest.Options{}, genesystest.Fault{Op: opList, Skip: 1, Effect: genesystest.Shorten()}},
		{"a page count that lags behind", genesystest.Options{PhantomPages: -2}, genesystest.Fault{}},
		{"pages that hold back what they can't show", genesystest.Options{MaxEntities: 4}, genesystest.Fault{}},
		{"oldest first", genesystest.Options{Order: genesystest.OldestFirst}, genesystest.Fault{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.cloud)
			w.org["page_size"] = 10
			inbox := w.cloud.ClientInbox()
			fill(inbox, 34)
			if c.fault.Op != "" {
				w.cloud.Inject(c.fault)
			}
			w.once(0)
			w.wantArchived(all(inbox))
			w.wantState(state.StateArchived, inbox)
		})
	}
}

// withoutTotal renames the total, so that nobody finds it.
func withoutTotal() genesystest.Effect {
	return genesystest.Effect{Name: "no total", Wrap: func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
		return renamer{w}
	}}
}

type renamer struct{ http.ResponseWriter }

func (r renamer) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r renamer) Write(p []byte) (int, error) {
	return r.ResponseWriter.Write(bytes.ReplaceAll(p, []byte(`"total":`), []byte(`"tally":`)))
}

// TestDrift changes the inbox while it is being listed: newest first, an arrival
// pushes a recording onto the page after, a removal pulls one onto the page before.
func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{MaxPageSize: 10})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 45)
	removed := []string{"r044", "r043"}
	var page atomic.Int64
	w.cloud.Configure(func(o *genesystest.Options) {
		o.OnPage = func(inbox *genesystest.Inbox, _ int) {
			switch n := page.Add(1); {
			case n <= 2:
				inbox.Remove(removed[n-1])
			case n <= 7:
				inbox.Add(genesystest.Recording{ID: fmt.Sprintf("new%d", n), DateCreated: time.Now().Add(-time.Minute)})
			}
		}
	})
	w.once(0)
	w.run("run", "--once") // also what came after the page that would have shown it
	w.once(0)
	held := some(inbox, inbox.IDs()...)
	archived := w.archive()
	for _, id := range removed { // listed just before their user deleted them
		held.ids = append(held.ids, archivedID(archived, inbox, id)...)
	}
	w.wantArchived(held)
}

func archivedID(a archive, inbox *genesystest.Inbox, id string) []string {
	if len(a.of(inbox, id)) > 0 {
		return []string{id}
	}
	return nil
}

// TestNeverSteady wants no deletion and nothing called vanished while the listing
// never proves itself complete.
func TestNeverSteady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{MaxPageSize: 10})
	w.deleting()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 30)
	var page atomic.Int64
	w.cloud.Configure(func(o *genesystest.Options) {
		o.OnPage = func(inbox *genesystest.Inbox, _ int) {
			n := page.Add(1)
			inbox.Add(genesystest.Recording{ID: fmt.Sprintf("new%d", n), DateCreated: time.Now().Add(-time.Hour)})
		}
	})
	r := w.once(0)
	if !strings.Contains(r.stdout, "kept changing") {
		t.Errorf("the table doesn't say that the listing kept changing: %s", r)
	}
	if n := w.cloud.Requests(opDelete); n != 0 {
		t.Errorf("%d deletions after an incomplete listing", n)
	}
	w.cloud.Configure(func(o *genesystest.Options) { o.OnPage = nil })
	ids := inbox.IDs()
	w.once(0)
	w.wantArchived(some(inbox, ids...))
}

// TestUnreadable lists recordings that can't be named.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.deleting()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	for n, raw := range []string{`{"name":"no id"}`, `{"id":null}`, `{"id":["x"]}`, `"text"`, `null`, `17`} {
		inbox.Add(genesystest.Recording{ID: fmt.Sprintf("odd%d", n), RawJSON: []byte(raw)})
	}
	r := w.once(3)
	if !strings.Contains(r.stdout, "6 recordings are listed without an id") {
		t.Errorf("not reported: %s", r)
	}
	w.wantArchived(some(inbox, "r000", "r001", "r002"))
	if n := w.cloud.Requests(opDelete); n != 0 {
		t.Errorf("%d deletions although the listing can't be read whole", n)
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.once(0)
	before := w.archive()
	inbox.Change("r001")
	w.once(0)
	after := w.archive()
	was, is := before.of(inbox, "r001")[0], after.of(inbox, "r001")
	if len(is) != 2 || len(after.media) != 4 || is[0].key != was.key {
		t.Fatalf("%d manifests of the changed recording, %d media objects in all", len(is), len(after.media))
	}
	second := is[1]
	if second.Media.Key != strings.Replace(was.Media.Key, ".wav", "~2.wav", 1) || second.key != strings.Replace(was.key, ".json", "~2.json", 1) {
		t.Errorf("the second version is at %s and %s", second.Media.Key, second.key)
	}
	if after.media[was.Media.Key] != before.media[was.Media.Key] {
		t.Error("the first version was touched")
	}
	delete(after.media, was.Media.Key)
	after.manifests = is[1:]
	w.wantRecording(after, inbox, "r001") // the second is the changed one's
	w.once(0)
	if n := len(w.archive().media); n != 4 {
		t.Errorf("the run after left %d media objects", n)
	}
}

// TestListingRefusedHalfway refuses a page for good, as listings of this platform do
// beyond a depth. What the pages before it show is archived, and nothing follows from
// what they don't show.
func TestListingRefusedHalfway(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 404, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			w.deleting()
			w.org["page_size"] = 4
			inbox := w.cloud.ClientInbox()
			fill(inbox, 20)
			w.cloud.Inject(genesystest.Fault{Op: opList, Times: genesystest.Always, Effect: beyond(3, status)})
			ids := inbox.IDs()
			for range 3 {
				r := w.once(3)
				if !strings.Contains(r.stdout, "page 4 of the listing") || !strings.Contains(r.stdout, "deleted nothing") {
					t.Errorf("the table doesn't name the page that was refused: %s", r)
				}
			}
			w.wantArchived(some(inbox, ids[:12]...))
			w.wantState(state.StateArchived, inbox, ids[:12]...)
			if n := w.cloud.Requests(opDelete); n != 0 {
				t.Errorf("%d deletions after a listing that broke off", n)
			}
			w.cloud.ClearFaults()
			w.once(0)
			w.wantArchived(some(inbox, ids...))
		})
	}
}

// beyond refuses the pages after one.
func beyond(page, status int) genesystest.Effect {
	refuse := genesystest.Status(status, "bad.request")
	return genesystest.Effect{Name: "beyond", Before: func(w http.ResponseWriter, r *http.Request) bool {
		n, _ := strconv.Atoi(r.URL.Query().Get("pageNumber"))
		return n > page && refuse.Before(w, r)
	}}
}

// TestShort lists fewer recordings than it counts. What is listed is archived, and
// nothing is concluded from what is not.
func TestShort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		cloud genesystest.Options
		lists int
		says  string
	}{
		{"beyond a depth", genesystest.Options{Depth: 14}, 14, "counts 21 recordings and lists 14 of them"},
		{"by the summary", genesystest.Options{SummaryOffset: 5}, 21, "counts 26 recordings and lists 21 of them"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.cloud)
			w.org["page_size"] = 4
			metrics := filepath.Join(w.dir, "archiverd.prom")
			w.config["metrics"] = map[string]any{"textfile": metrics}
			inbox := w.cloud.ClientInbox()
			fill(inbox, 21)
			ids := inbox.IDs()
			r := w.once(0) // once may be chance
			if !strings.Contains(r.stdout, "more recordings than it lists") {
				t.Errorf("the table doesn't say that recordings are missing: %s", r)
			}
			w.wantState(state.StateArchived, inbox, ids[:c.lists]...)
			if r := w.once(3); !strings.Contains(r.stdout, c.says) {
				t.Errorf("the table doesn't say %q: %s", c.says, r)
			}
			w.wantCondition(inbox, "short")
			if text, err := os.ReadFile(metrics); err != nil || !strings.Contains(string(text), `archiverd_inboxes{condition="short",org="acme"} 1`) {
				t.Errorf("the metrics don't tell of it: %v\n%s", err, text)
			}
			if r := w.expect(0, "status"); !strings.Contains(r.stdout, c.says) {
				t.Errorf("status doesn't say %q: %s", c.says, r)
			}
			if r := w.expect(3, "reconcile"); !strings.Contains(r.stdout, "Not clean: ledger and bucket agree, but Genesys counts more recordings than it lists.") {
				t.Errorf("reconcile finds nothing: %s", r)
			}
			if r := w.run("doctor"); !strings.Contains(r.stdout, c.says) {
				t.Errorf("doctor doesn't say %q: %s", c.says, r)
			}
			inbox.Remove(ids[0])
			inbox.Remove(ids[1])
			for range 3 {
				w.once(3)
				w.wantState(state.StateArchived, inbox, ids[:c.lists]...)
			}
			w.cloud.Configure(func(o *genesystest.Options) { o.Depth, o.SummaryOffset = 0, 0 })
			w.once(0)
			w.wantCondition(inbox, "ok")
			w.once(0)
			w.wantState(state.StateGone, inbox, ids[:2]...)
			w.wantArchived(some(inbox, ids...))
		})
	}
}

// TestShortEmpties deletes what is archived of a listing that ends at a depth, which
// brings up the rest.
func TestShortEmpties(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{Depth: 5})
	w.deleting()
	w.org["page_size"] = 5
	inbox := w.cloud.ClientInbox()
	fill(inbox, 18)
	ids := inbox.IDs()
	for range 5 {
		w.run("run", "--once")
	}
	w.wantArchived(some(inbox, ids...))
	w.once(0)
	w.wantState(state.StateDeleted, inbox, ids...)
	w.wantCondition(inbox, "ok")
}

// TestBrokenPage has a recording that breaks every page it is on. The others are
// archived, it is named, and nothing follows from what the listing does not show.
func TestBrokenPage(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 500, 504} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			w.deleting()
			w.org["page_size"] = 10
			inbox := w.cloud.ClientInbox()
			fill(inbox, 34)
			ids := inbox.IDs()
			w.cloud.Configure(func(o *genesystest.Options) { o.Broken = map[string]int{ids[13]: status} })
			r := w.once(3)
			for _, says := range []string{"number 14,", "after recording " + ids[12], "before recording " + ids[14], "deleted nothing"} {
				if !strings.Contains(r.stdout, says) {
					t.Errorf("the table doesn't say %q: %s", says, r)
				}
			}
			others := slices.Concat(ids[:13], ids[14:])
			w.wantState(state.StateArchived, inbox, others...)
			w.wantArchived(some(inbox, others...))
			w.wantCondition(inbox, "failing")
			if n := w.cloud.Requests(opDelete); n != 0 {
				t.Errorf("%d deletions though a page is broken", n)
			}
			if r := w.expect(3, "reconcile"); !strings.Contains(r.stdout, "number 14,") {
				t.Errorf("reconcile doesn't name the recording: %s", r)
			}
			w.cloud.Configure(func(o *genesystest.Options) { o.Broken = nil })
			w.once(0)
			w.wantArchived(some(inbox, ids...))
		})
	}
}
