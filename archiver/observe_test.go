package archiver

import (
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// watcher writes down what it is told.
type watcher struct {
	mu      sync.Mutex
	passes  []InboxReport
	retries int
}

func (w *watcher) PassEnded(r InboxReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passes = append(w.passes, r)
}

func (w *watcher) Retried() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.retries++
}

// A pass leaves in the ledger how old the oldest recording is that it leaves, tells
// its observer of itself and of what it tried again.
func TestPassTellsWhatIsLeft(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	made := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	for i, id := range []string{"a-late", "b-oldest", "c-later", "d-done"} {
		r.User.Add(genesystest.Recording{ID: id, Duration: 100 * time.Millisecond, DateCreated: made.AddDate(0, 0, []int{2, 0, 1, -9}[i])})
	}
	for _, id := range []string{"a-late", "b-oldest", "c-later"} {
		r.Cloud.Inject(genesystest.Fault{Op: opDownload, Recording: id, Effect: genesystest.Status(400, "bad.request")})
	}
	r.Cloud.Inject(genesystest.Fault{Op: opList, Effect: genesystest.Status(503, "service.unavailable")})
	w := &watcher{}
	r.pass(func(o *Options) { o.Observer = w; o.Workers = 1 })
	in, err := r.Ledger.Inbox(t.Context(), org, r.in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if in.Counts[state.StateFailed] != 3 || !in.OldestWaiting.Equal(made) {
		t.Errorf("%v, and the oldest that waits is of %v; want 3 failed, and %v", in.Counts, in.OldestWaiting, made)
	}
	if len(w.passes) != 1 || w.passes[0].Pass.Failed != 3 || w.retries != 1 {
		t.Errorf("told of %+v and %d retries", w.passes, w.retries)
	}
	r.passed()
	if in, err = r.Ledger.Inbox(t.Context(), org, r.in.ID); err != nil || !in.OldestWaiting.IsZero() {
		t.Errorf("nothing waits any more, but something of %v does, %v", in.OldestWaiting, err)
	}
	if in.Totals != (state.Totals{Archived: 4, Failed: 3}) {
		t.Errorf("counted %+v", in.Totals)
	}
}
