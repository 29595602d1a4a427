package archiver

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// goneRig removes an archived recording and one that could not be archived yet.
func goneRig(t *testing.T) *rig {
	r := newRig(t, archivertest.Echoing, false)
	r.Add(1)
	r.User.Add(genesystest.Recording{ID: "young", Duration: 100 * time.Millisecond, DateCreated: time.Now()})
	r.options.MinAge = time.Minute
	r.passed()
	r.WantState("rec-01", state.StateArchived)
	r.WantState("young", state.StateListed)
	r.User.Remove("rec-01")
	r.User.Remove("young")
	return r
}

func TestGoneAfterTwoCompleteWalks(t *testing.T) {
	r := goneRig(t)
	r.passed()
	r.WantState("rec-01", state.StateArchived)
	r.WantState("young", state.StateListed)
	report := r.passed()
	r.WantState("rec-01", state.StateGone)
	r.WantState("young", state.StateVanished)
	if report.Pass.Gone != 1 || report.Pass.Vanished != 1 {
		t.Errorf("the pass counts %d gone and %d vanished", report.Pass.Gone, report.Pass.Vanished)
	}
	r.User.Restore("rec-01")
	r.User.Restore("young")
	r.passed()
	r.WantState("rec-01", state.StateArchived)
	r.WantState("young", state.StateListed)
}

func TestNotGone(t *testing.T) {
	for name, disturb := range map[string]func(*rig){
		"the 404 is not Genesys' own": func(r *rig) {
			r.Cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.HTML(http.StatusNotFound)})
		},
		"it can't be looked at": func(r *rig) {
			r.Cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.Status(403, "not.authorized")})
		},
		"users/me refuses to answer": func(r *rig) {
			r.Cloud.Configure(func(o *genesystest.Options) { o.RefuseMe = true })
			r.in = r.inboxOf(r.User)
		},
		"users/me names another user now": func(r *rig) { r.User.AnswerMe("somebody-else") },
	} {
		t.Run(name, func(t *testing.T) {
			r := goneRig(t)
			r.passed()
			disturb(r)
			r.pass()
			r.WantState("rec-01", state.StateArchived)
			r.WantState("young", state.StateListed)
		})
	}
}

func TestMassDisappearanceWaitsForAPerson(t *testing.T) {
	r := newRig(t, archivertest.Echoing, false)
	ids := r.Add(massCount + 1)
	r.passed()
	for _, id := range ids[1:] {
		r.User.Remove(id)
	}
	r.passed()
	report := r.pass(deleting)
	archivertest.WantErr(t, report.Err, failure.KindFailed, "disappeared", "--accept-gone")
	r.WantState(ids[1], state.StateArchived)
	if sent := r.Requests(opDelete); len(sent) != 0 {
		t.Errorf("deleted %q", sent)
	}
	err := r.Ledger.EditInbox(t.Context(), org, r.in.ID, func(i *state.Inbox) { i.AcceptGone = true })
	if err != nil {
		t.Fatal(err)
	}
	r.passed()
	r.WantState(ids[1], state.StateGone)
	if i, err := r.Ledger.Inbox(t.Context(), org, r.in.ID); err != nil || i.AcceptGone {
		t.Errorf("the permission is used up by one pass: %v, %v", i.AcceptGone, err)
	}
}

// Media that were stored and not described before their original disappeared are
// archived all the same, with what the listing said.
func TestStoredMediaOfAVanishedRecordingAreArchived(t *testing.T) {
	t.Parallel()
	r := undescribed(t)
	r.passed()
	r.passed()
	v := r.WantState("rec-01", state.StateGone).Versions[0]
	if m := r.Manifest(v.ManifestKey); m.Media.Key != v.MediaKey || m.Lacks != "" || !bytes.Contains(m.Recording, []byte("rec-01")) {
		t.Errorf("the manifest is %+v", m)
	}
	r.wantToldOnce("rec-01")
}

// undescribed holds media that were stored by a process that ended before it described
// them; their original is gone.
func undescribed(t *testing.T) *rig {
	r := newRig(t, archivertest.Checking, true)
	r.Add(1)
	s := &stage{failing: -1}
	r.staged(s, context.Background())
	at := slices.Index(s.steps, "PUT manifests")

	r = newRig(t, archivertest.Checking, true)
	r.Add(1)
	r.staged(&stage{failing: at, crash: true}, context.Background())
	r.CloseLedger()
	r.OpenLedger()
	r.WantState("rec-01", state.StateListed)
	r.User.Remove("rec-01")
	r.options.MinAge = 100 * 365 * 24 * time.Hour // or it would be archived now, from the ledger's own copy
	return r
}
