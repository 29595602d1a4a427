package integration_test

import (
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// TestDisappeared wants two passes to agree before a recording counts as lost.
func TestDisappeared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 4)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "r001", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	w.once(3)
	inbox.Remove("r001") // never archived
	inbox.Remove("r002") // archived
	w.run("run", "--once")
	w.wantState(state.StateFailed, inbox, "r001")
	w.wantState(state.StateArchived, inbox, "r000", "r002", "r003")
	w.once(0)
	w.wantState(state.StateVanished, inbox, "r001")
	w.wantState(state.StateGone, inbox, "r002")
	w.wantState(state.StateArchived, inbox, "r000", "r003")
	w.wantArchived(some(inbox, "r000", "r002", "r003"))

	w.cloud.ClearFaults()
	inbox.Restore("r001")
	inbox.Restore("r002")
	w.once(0)
	w.wantState(state.StateArchived, inbox)
	w.wantArchived(all(inbox))
}

// TestUnprovedAbsence removes recordings behind a gateway that answers 404 by itself.
func TestUnprovedAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.once(0)
	inbox.Remove("r001")
	w.cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.HTML(404)})
	for range 3 {
		w.once(0)
		w.wantState(state.StateArchived, inbox)
	}
	w.cloud.ClearFaults()
	w.once(0)
	w.wantState(state.StateGone, inbox, "r001")
}

// TestMassDisappearance wants a person asked when much of an inbox goes at once.
func TestMassDisappearance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.deleting()
	w.config["delete_originals"].(map[string]any)["after"] = "24h" // of archiving: none yet
	inbox := w.cloud.ClientInbox()
	fill(inbox, 40)
	ids := inbox.IDs()
	w.once(0)
	for _, id := range ids[:25] {
		inbox.Remove(id)
	}
	w.once(0)
	for range 2 {
		r := w.once(3)
		if !strings.Contains(r.stdout, "25 of 40 recordings disappeared") || !strings.Contains(r.stdout, "archiverd retry --accept-gone --org acme --inbox client") {
			t.Errorf("neither reason nor remedy: %s", r)
		}
		w.wantState(state.StateArchived, inbox)
	}
	w.expect(2, "retry", "--accept-gone", "--org", "acme")
	w.expect(0, "retry", "--accept-gone", "--org", "acme", "--inbox", "client")
	w.wantState(state.StateGone, inbox, ids[:25]...)
	w.wantState(state.StateArchived, inbox, ids[25:]...)
	w.wantArchived(some(inbox, ids...))
	if n := w.cloud.Requests(opDelete); n != 0 {
		t.Errorf("%d deletions were asked for", n)
	}
}

// TestBackAgain wants a deleted original that stays listed not taken for a new one.
func TestBackAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{DeletedListings: 2})
	w.deleting()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	ids := inbox.IDs()
	for range 2 { // passes that still see the originals
		w.once(0)
		w.wantState(state.StateDeleteRequested, inbox, ids...)
	}
	w.once(0) // the last that does
	w.once(0)
	w.wantState(state.StateDeleted, inbox, ids...)
	if n := w.cloud.Requests(opDelete); n != len(ids) {
		t.Errorf("%d deletions were asked for, of %d recordings", n, len(ids))
	}
	inbox.Restore("r001")
	inbox.Change("r001")
	w.once(0)
	if n := len(w.archive().of(inbox, "r001")); n != 2 {
		t.Errorf("a deleted recording that came back changed has %d manifests", n)
	}
}
