package bolt

import (
	"bytes"
	"os"
	"sync"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// A copy made while others write is the same ledger in its state when the copy began.
func TestCopyWhileOthersWrite(t *testing.T) {
	l := fresh(t)
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "before"}, state.StateArchived)
	var copied bytes.Buffer
	var other sync.WaitGroup
	begun := false
	statetest.Must(t, l.Copy(writerFunc(func(p []byte) (int, error) {
		if !begun { // the copy's transaction is under way
			begun = true
			other.Go(func() {
				if _, err := l.Move(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "after"}, "", state.StateListed, nil); err != nil {
					t.Error(err)
				}
			})
		}
		return copied.Write(p)
	})))
	other.Wait()
	path := newPath(t)
	statetest.Must(t, os.WriteFile(path, copied.Bytes(), 0o600))
	c := open(t, path, Options{})
	if c.ID() != l.ID() {
		t.Errorf("the copy is ledger %s, want %s", c.ID(), l.ID())
	}
	want, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "before"})
	statetest.Must(t, err)
	got, err := c.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "before"})
	statetest.Must(t, err)
	statetest.Same(t, got, want)
	if n, err := c.Inbox(t.Context(), "acme", "u1"); err != nil || n.Counts[state.StateArchived] != 1 || n.Counts[state.StateListed] != 0 {
		t.Errorf("the copy has %v, %v: it should be as the ledger was when it began", n.Counts, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
