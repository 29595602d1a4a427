package keeping

import (
	"strings"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// A recording can be waived while a pass transfers it. What the pass then stores must not
// come behind the removal of the earlier versions.
func TestEraseOfWaivedWaitsForThePass(t *testing.T) {
	k, l, _ := keeperOn(t)
	key := state.Key{Org: "acme", Inbox: "u1", Recording: "changed"}
	statetest.Bring(t, l, key, state.StateArchived)
	for _, edge := range []state.Edge{{From: state.StateArchived, To: state.StateListed}, {From: state.StateListed, To: state.StateWaived}} {
		var edit func(*state.Entry)
		if edge.To == state.StateWaived {
			edit = statetest.Act(state.ActWaive).Do
		}
		if _, err := l.Move(t.Context(), key, edge.From, edge.To, edit); err != nil {
			t.Fatal(err)
		}
	}
	pass, err := l.Claim(t.Context(), key.Org, key.Inbox)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := order(l, state.ActErase)
	o.ID, o.DryRun = "an erasure", true
	var out Outcome
	o.Emit = func(of Outcome) error { out = of; return nil }
	if _, err := k.Erase(t.Context(), o, Removal{}); err != nil {
		t.Fatal(err)
	}
	if out.Result != Left || !strings.Contains(out.Why, "a run works on its inbox") {
		t.Errorf("during the pass: %+v", out)
	}
	if err := pass.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := k.idle(t.Context(), key); err != nil {
		t.Errorf("after the pass: %v", err)
	}
}
