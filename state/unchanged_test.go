package state

import (
	"testing"

	"go.etcd.io/bbolt"
)

// TestNothingNewWritesNothing: an inbox without news must cost no fsync.
func TestNothingNewWritesNothing(t *testing.T) {
	l := fresh(t)
	k := Key{"acme", "u1", "r1"}
	bring(t, l, k, StateArchived)
	written := func() (tx int) {
		must(t, l.db.View(func(t *bbolt.Tx) error { tx = t.ID(); return nil }))
		return tx
	}
	before := written()
	must(t, l.List("acme", "u1", func(get func(string) (Entry, bool)) []Change {
		if _, ok := get("r1"); !ok {
			t.Error("the entry is not there")
		}
		return nil
	}))
	must(t, l.EditInbox("acme", "u1", noEdit))
	if now := written(); now != before {
		t.Errorf("%d transactions were written", now-before)
	}
	must(t, l.List("acme", "new", func(func(string) (Entry, bool)) []Change { return nil }))
	must(t, l.EditInbox("acme", "newer", noEdit))
	must(t, l.EditInbox("acme", "u1", func(in *Inbox) { in.Name = "n" }))
	if now := written(); now != before+3 {
		t.Errorf("%d transactions were written, want 3", now-before)
	}
	for _, id := range []string{"new", "newer", "u1"} {
		_, err := l.Inbox("acme", id)
		must(t, err)
	}
	must(t, l.Check())
}
