package bolt

import (
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// TestNothingNewWritesNothing: an inbox without new recordings must cost no fsync.
func TestNothingNewWritesNothing(t *testing.T) {
	l := fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	statetest.Bring(t, l, k, state.StateArchived)
	written := func() (tx int) {
		statetest.Must(t, l.db.View(func(t *bbolt.Tx) error { tx = t.ID(); return nil }))
		return tx
	}
	before := written()
	statetest.Must(t, l.List(t.Context(), "acme", "u1", []string{"r1"}, func(get func(string) (state.Entry, bool)) []state.Change {
		if _, ok := get("r1"); !ok {
			t.Error("the entry is not there")
		}
		return nil
	}))
	statetest.Must(t, l.EditInbox(t.Context(), "acme", "u1", noEdit))
	if now := written(); now != before {
		t.Errorf("%d transactions were written", now-before)
	}
	statetest.Must(t, l.List(t.Context(), "acme", "new", nil, func(func(string) (state.Entry, bool)) []state.Change { return nil }))
	statetest.Must(t, l.EditInbox(t.Context(), "acme", "newer", noEdit))
	statetest.Must(t, l.EditInbox(t.Context(), "acme", "u1", func(in *state.Inbox) { in.Name = "n" }))
	if now := written(); now != before+3 {
		t.Errorf("%d transactions were written, want 3", now-before)
	}
	for _, id := range []string{"new", "newer", "u1"} {
		_, err := l.Inbox(t.Context(), "acme", id)
		statetest.Must(t, err)
	}
	statetest.Must(t, l.Check())
}
