package bolt

import (
	"testing"
)

// A ledger that replaces a lost one has the lost ledger's id.
func TestOpenWithTheIDOfALostLedger(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{ID: "LOST"})
	if l.ID() != "LOST" {
		t.Errorf("its id is %q", l.ID())
	}
	finish(t, l)
	if l = open(t, path, Options{ID: "OTHER"}); l.ID() != "LOST" {
		t.Errorf("opened again, its id is %q", l.ID())
	}
}
