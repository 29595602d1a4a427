package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// snapshot is all that a dry run must not change.
func (r *rig) snapshot() (all []string) {
	r.T.Helper()
	err := r.Ledger.Scan(context.Background(), "", "", func(k state.Key, e *state.Entry) error {
		text, err := json.Marshal(e)
		all = append(all, k.String()+" "+string(text))
		return err
	})
	if err != nil {
		r.T.Fatal(err)
	}
	for _, kind := range []string{"media", "manifests", "owners", "doctor"} {
		all = append(all, r.Objects(kind)...)
	}
	return all
}

// plan gives action and reason by recording.
func (r *rig) plan(edit ...func(*Options)) map[string]string {
	r.T.Helper()
	out := map[string]string{}
	err := r.archiver(edit...).Plan(r.T.Context(), r.T.Context(), r.in, func(p Planned) error {
		if p.Org != org || p.Inbox != r.in.ID || p.Key == "" {
			r.T.Errorf("planned %+v", p)
		}
		reason, _, _ := strings.Cut(p.Reason, " 2") // a time
		out[p.Recording] = strings.TrimSpace(p.Action + " " + reason)
		return nil
	})
	if err != nil {
		r.T.Fatal(err)
	}
	return out
}

// planRig holds a recording for each answer that a plan can give.
func planRig(t *testing.T) *rig {
	r := newRig(t, archivertest.Checking, false)
	r.options.MinAge = time.Minute
	for _, id := range []string{"archived", "changed", "suspect", "failing"} {
		r.User.Add(genesystest.Recording{ID: id, Duration: 50 * time.Millisecond})
	}
	r.User.Add(genesystest.Recording{ID: "suspect", Duration: time.Minute, MediaDuration: time.Second})
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Recording: "failing", Times: genesystest.Always, Effect: genesystest.HTML(200)})
	for range max(suspectPass, eagerTries) {
		r.passed()
	}
	r.User.Change("changed")
	r.User.Add(genesystest.Recording{ID: "new", Duration: 50 * time.Millisecond})
	r.User.Add(genesystest.Recording{ID: "young", Duration: 50 * time.Millisecond, DateCreated: time.Now()})
	return r
}

// A dry run says what a run does, and changes nothing.
func TestPlan(t *testing.T) {
	t.Parallel()
	r := planRig(t)
	r.options.MinAge = 0 // a change just now would be young
	before := r.snapshot()
	sent := len(r.Cloud.Events())
	kept := r.plan()
	want := map[string]string{
		"changed": "archive changed since it was archived", "new": "archive", "young": "archive", "failing": "wait tried again after",
	}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("without deletions, want - got +\n%s", diff)
	}
	want["archived"] = "delete archived"
	if diff := cmp.Diff(want, r.plan(deleting)); diff != "" {
		t.Errorf("with deletions, want - got +\n%s", diff)
	}
	if diff := cmp.Diff(before, r.snapshot()); diff != "" {
		t.Errorf("a dry run changed something:\n%s", diff)
	}
	for _, e := range r.Cloud.Events()[sent:] {
		if e.Method != "GET" || e.Op == opDownload || e.Op == opLink {
			t.Errorf("a dry run asked for %s %s", e.Method, e.Op)
		}
	}
	report := r.passed(deleting)
	deleted := r.Requests(opDelete)
	if report.Pass.Archived != 3 || !slices.Contains(deleted, "archived") || slices.Contains(deleted, "suspect") {
		t.Errorf("the run then archived %d and deleted %q", report.Pass.Archived, deleted)
	}
}

func TestPlanOfYoungRecordings(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.options.MinAge = time.Minute
	r.User.Add(genesystest.Recording{ID: "young", DateCreated: time.Now()})
	r.User.Add(genesystest.Recording{ID: "changed now", DateCreated: time.Now().Add(-time.Hour), DateModified: time.Now()})
	r.User.Add(genesystest.Recording{ID: "from a wrong clock", DateCreated: time.Now().Add(time.Hour)})
	want := map[string]string{
		"young": "wait younger than transfer.min_age", "changed now": "wait younger than transfer.min_age", "from a wrong clock": "archive",
	}
	if diff := cmp.Diff(want, r.plan()); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}

func TestPlanEndsWithItsReader(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.Add(5)
	broken, n := errors.New("broken pipe"), 0
	err := r.archiver().Plan(t.Context(), t.Context(), r.in, func(Planned) error { n++; return broken })
	if !errors.Is(err, broken) || n != 1 {
		t.Errorf("%v after %d", err, n)
	}
}
