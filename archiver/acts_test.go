package archiver

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// A person acts on recordings while a pass works on them: the act stands, the pass goes on
// with the others, and the original of what is held stays.
func TestPersonActsDuringThePass(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.MinAge = 0
	r.Add(3)
	during := func(request, id string, act func()) {
		done := false
		r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			if name == request && strings.Contains(req.URL.Path, id) && !done {
				done = true
				act()
			}
			return send()
		})
	}
	do := func(id string, from, to state.State, kind state.ActKind) func() {
		return func() {
			if _, err := r.Ledger.Move(t.Context(), r.Key(id), from, to, statetest.Act(kind).Do); err != nil {
				t.Error(err)
			}
		}
	}
	during("PUT manifests", "rec-01", do("rec-01", state.StateListed, state.StateWaived, state.ActWaive))
	r.passed()
	r.WantState("rec-01", state.StateWaived)
	r.WantArchived("rec-02")
	r.WantArchived("rec-03")

	during("HEAD media", "rec-02", do("rec-02", state.StateArchived, state.StateArchived, state.ActHold))
	r.passed(deleting)
	r.Wire.Use(nil)
	r.WantState("rec-02", state.StateArchived)
	r.WantState("rec-03", state.StateDeleteRequested)
	archivertest.WantSame(t, "deletions", r.Requests(opDelete), []string{"rec-03"})
}

// A person erases a recording, and waives one, while a pass asks Genesys whether they still
// exist: the acts stand, and the pass goes on with the others.
func TestPersonActsWhileThePassSettles(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.MinAge = 0
	r.Add(3)
	r.passed()
	r.options.MinAge = 100 * 365 * 24 * time.Hour
	r.User.Add(genesystest.Recording{ID: "rec-04"}) // waits
	r.passed()
	r.Cloud.Settle()
	for _, id := range []string{"rec-01", "rec-02", "rec-04"} {
		r.User.Remove(id)
	}
	r.passed() // misses them for the first time
	acts := map[string]func(){
		"rec-01": func() { r.act("rec-01", state.StateArchived, statetest.Act(state.ActErase).Do) },
		"rec-04": func() { r.act("rec-04", state.StateWaived, statetest.Act(state.ActWaive).Do) },
	}
	for id, act := range acts {
		r.Cloud.Inject(genesystest.Fault{Op: opGet, Recording: id, Times: 1, Effect: genesystest.Effect{Name: "act", Before: func(http.ResponseWriter, *http.Request) bool {
			act()
			return false
		}}})
	}
	if report := r.passed(); report.Pass.Gone != 1 || report.Pass.Vanished != 0 {
		t.Errorf("counted: %+v", report.Pass)
	}
	if e := r.WantState("rec-01", state.StateArchived); e.Disposal() == nil {
		t.Error("the act is lost")
	}
	r.WantState("rec-02", state.StateGone)
	r.WantState("rec-03", state.StateArchived)
	r.WantState("rec-04", state.StateWaived)
}

// act changes an entry as a person's command does.
func (r *rig) act(id string, to state.State, edit func(*state.Entry)) {
	r.T.Helper()
	if _, err := r.Ledger.Move(context.Background(), r.Key(id), r.Entry(id).State, to, edit); err != nil {
		r.T.Error(err)
	}
}

// A ledger from an old backup knows no later act: neither is the original of a held
// recording deleted, nor an erased recording archived again.
func TestLedgerWithoutLaterActs(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.MinAge = 0
	r.Add(1)
	r.passed()
	var backup bytes.Buffer
	if err := r.Ledger.Copy(&backup); err != nil {
		t.Fatal(err)
	}
	r.User.Add(genesystest.Recording{ID: "rec-02"})
	r.passed()
	act := func(id string, from, to state.State, edit func(*state.Entry)) {
		if _, err := r.Ledger.Move(t.Context(), r.Key(id), from, to, edit); err != nil {
			t.Fatal(err)
		}
	}
	act("rec-01", state.StateArchived, state.StateArchived, statetest.Act(state.ActHold).Do)
	act("rec-02", state.StateArchived, state.StateArchived, statetest.Act(state.ActErase).Do)
	act("rec-02", state.StateArchived, state.StateErased, nil)
	r.passed()
	restore := func() {
		r.CloseLedger()
		if err := os.WriteFile(r.Path, backup.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		r.OpenLedger()
	}
	restore()
	archivertest.WantErr(t, r.pass(deleting).Err, failure.KindFailed, "archiverd rebuild")
	r.WantState("rec-02", state.StateListed)

	restore()
	r.User.Remove("rec-02") // nothing waits to be archived
	for range 2 {
		archivertest.WantErr(t, r.pass(deleting).Err, failure.KindFailed, "archiverd rebuild")
	}
	archivertest.WantSame(t, "deletions", r.Requests(opDelete), nil)
}
