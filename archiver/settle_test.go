package archiver

import (
	"net/http"
	"testing"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// goneRig removes an archived recording and one that could not be archived yet.
func goneRig(t *testing.T) *rig {
	r := newRig(t, &echoing, false)
	r.add(1)
	r.user.Add(genesystest.Recording{ID: "young", Duration: 100 * time.Millisecond, DateCreated: time.Now()})
	r.options.MinAge = time.Minute
	r.passed()
	r.wantState("rec-01", state.StateArchived)
	r.wantState("young", state.StateListed)
	r.user.Remove("rec-01")
	r.user.Remove("young")
	return r
}

func TestGoneAfterTwoCompleteWalks(t *testing.T) {
	r := goneRig(t)
	r.passed()
	r.wantState("rec-01", state.StateArchived)
	r.wantState("young", state.StateListed)
	report := r.passed()
	r.wantState("rec-01", state.StateGone)
	r.wantState("young", state.StateVanished)
	if report.Pass.Gone != 1 || report.Pass.Vanished != 1 {
		t.Errorf("the pass counts %d gone and %d vanished", report.Pass.Gone, report.Pass.Vanished)
	}
	r.user.Restore("rec-01")
	r.user.Restore("young")
	r.passed()
	r.wantState("rec-01", state.StateArchived)
	r.wantState("young", state.StateListed)
}

func TestNotGone(t *testing.T) {
	for name, disturb := range map[string]func(*rig){
		"the 404 is not Genesys' own": func(r *rig) {
			r.cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.HTML(http.StatusNotFound)})
		},
		"it can't be looked at": func(r *rig) {
			r.cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.Status(403, "not.authorized")})
		},
		"users/me refuses to answer": func(r *rig) {
			r.cloud.Configure(func(o *genesystest.Options) { o.RefuseMe = true })
			r.in = r.inboxOf(r.user)
		},
		"users/me names another user now": func(r *rig) { r.user.AnswerMe("somebody-else") },
	} {
		t.Run(name, func(t *testing.T) {
			r := goneRig(t)
			r.passed()
			disturb(r)
			r.pass()
			r.wantState("rec-01", state.StateArchived)
			r.wantState("young", state.StateListed)
		})
	}
}

func TestMassDisappearanceWaitsForAPerson(t *testing.T) {
	r := newRig(t, &echoing, false)
	ids := r.add(massCount + 1)
	r.passed()
	for _, id := range ids[1:] {
		r.user.Remove(id)
	}
	r.passed()
	report := r.pass(deleting)
	wantErr(t, report.Err, failure.KindFailed, "disappeared", "--accept-gone")
	r.wantState(ids[1], state.StateArchived)
	if sent := r.requests(opDelete); len(sent) != 0 {
		t.Errorf("deleted %q", sent)
	}
	err := r.ledger.EditInbox(t.Context(), org, r.in.ID, func(i *state.Inbox) { i.AcceptGone = true })
	if err != nil {
		t.Fatal(err)
	}
	r.passed()
	r.wantState(ids[1], state.StateGone)
	if i, err := r.ledger.Inbox(t.Context(), org, r.in.ID); err != nil || i.AcceptGone {
		t.Errorf("the permission is used up by one pass: %v, %v", i.AcceptGone, err)
	}
}
