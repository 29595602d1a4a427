package archiver

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// missingRig lists n recordings, removes some, and makes the first pass that misses them.
func missingRig(t *testing.T, n, removed int) (*rig, []string) {
	t.Parallel()
	r := walkRig(t, func(*genesystest.Options) {})
	r.in.PageSize = 100
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("rec-%03d", i))
		r.User.Add(genesystest.Recording{ID: ids[i], Duration: 50 * time.Millisecond})
	}
	r.settled()
	for _, id := range ids[:removed] {
		r.User.Remove(id)
	}
	r.settled()
	return r, ids
}

// Promise 5: a mass disappearance is at least 20 recordings and more than a tenth.
func TestMassDisappearanceBounds(t *testing.T) {
	for _, c := range []struct {
		live, gone int
		mass       bool
	}{{19, 19, false}, {20, 20, true}, {199, 20, true}, {200, 20, false}, {201, 20, false}, {209, 21, true}} {
		t.Run(fmt.Sprintf("%d of %d", c.gone, c.live), func(t *testing.T) {
			r, ids := missingRig(t, c.live, c.gone)
			p := r.walk()
			if err := p.settle(t.Context()); (err != nil) != c.mass {
				t.Errorf("settled with %v", err)
			}
			want := state.StateVanished
			if c.mass {
				want = state.StateListed
			}
			for _, id := range ids[:c.gone] {
				if e := r.Entry(id); e.State != want {
					t.Fatalf("%s is %s, want %s", id, e.State, want)
				}
			}
			if asked := r.Requests(opGet); c.mass && len(asked) != 0 {
				t.Errorf("Genesys was asked for %q", asked)
			}
		})
	}
}

// One complete walk is not enough, nor are any number of incomplete ones, and one
// that sees the recording again begins the count anew.
func TestTwoCompleteWalksInARow(t *testing.T) {
	r, ids := missingRig(t, 3, 1)
	id := ids[0]
	if e := r.WantState(id, state.StateListed); e.MissingSince.IsZero() {
		t.Error("the first complete walk marked nothing")
	}
	flap := 0
	r.Cloud.Configure(func(o *genesystest.Options) {
		o.PageSize = func(int, int) int { flap++; return 1 + flap%2 }
	})
	for range 3 {
		if p := r.settled(); p.record.Complete {
			t.Fatal("a page size that flaps made a complete walk")
		}
	}
	r.WantState(id, state.StateListed)
	r.Cloud.Configure(func(o *genesystest.Options) { o.PageSize = nil })
	r.User.Restore(id)
	r.settled()
	if e := r.WantState(id, state.StateListed); !e.MissingSince.IsZero() {
		t.Error("listed again, and still counted as missing")
	}
	r.User.Remove(id)
	r.settled()
	r.WantState(id, state.StateListed)
	r.settled()
	r.WantState(id, state.StateVanished)
}

// While Genesys has the recording, or says nothing that is its own, it isn't gone.
func TestOnlyGenesysOwn404IsProof(t *testing.T) {
	for name, effect := range map[string]genesystest.Effect{
		"a page":              genesystest.HTML(http.StatusNotFound),
		"a body without code": genesystest.Body(http.StatusNotFound, "application/json", "{}"),
		"no body":             genesystest.Body(http.StatusNotFound, "", ""),
		"410":                 genesystest.Status(http.StatusGone, "gone"),
		"403":                 genesystest.Status(http.StatusForbidden, "not.authorized"),
	} {
		t.Run(name, func(t *testing.T) {
			r, ids := missingRig(t, 3, 1)
			r.Cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: effect})
			for range 3 {
				r.settled()
			}
			r.WantState(ids[0], state.StateListed)
			if !slices.Contains(r.Requests(opGet), ids[0]) {
				t.Error("Genesys was not asked")
			}
			r.Cloud.ClearFaults()
			r.settled()
			r.WantState(ids[0], state.StateVanished)
		})
	}
}

// users/me is asked right before anything is called gone, and its answer counts.
func TestAnotherUsersInboxIsNotThisOnes(t *testing.T) {
	r, ids := missingRig(t, 3, 1)
	r.User.AnswerMe("somebody-else")
	p := r.walk()
	archivertest.WantErr(t, p.settle(t.Context()), failure.KindRefused, "somebody-else")
	r.WantState(ids[0], state.StateListed)
	r.User.AnswerMe("")
	r.in = r.inboxOf(r.User) // with another token
	r.settled()
	r.WantState(ids[0], state.StateVanished)
}

// The client's own inbox has no user to ask for.
func TestClientInboxNeedsNoUser(t *testing.T) {
	r, ids := missingRig(t, 3, 1)
	r.in.Identity = nil
	r.settled()
	r.WantState(ids[0], state.StateVanished)
}

// A recording that its user removes between listing and transfer is nobody's failure:
// two more passes make sure that it is gone, and none of them calls for a person.
func TestRemovedBeforeTransfer(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.Add(2)
	r.Cloud.Configure(func(o *genesystest.Options) {
		o.OnPage = func(inbox *genesystest.Inbox, _ int) { inbox.Remove("rec-01") }
	})
	for range 3 {
		if report := r.passed(); report.Pass.Failed != 0 {
			t.Errorf("%d failed: %s", report.Pass.Failed, r.Entry("rec-01").LastError)
		}
	}
	r.WantState("rec-01", state.StateVanished)
	r.WantArchived("rec-02")
}
