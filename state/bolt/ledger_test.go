package bolt

import (
	"os"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

func TestClosed(t *testing.T) {
	l := fresh(t)
	finish(t, l)
	if _, err := l.Move(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, "", state.StateListed, nil); err == nil {
		t.Error("a closed ledger moves")
	}
	if _, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}); err == nil {
		t.Error("a closed ledger reads")
	}
}

func TestDisk(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	info, err := os.Stat(path)
	statetest.Must(t, err)
	size, free, err := l.Disk()
	if err != nil || size != info.Size() || free <= 0 {
		t.Errorf("%d bytes, %d free, %v; the file has %d", size, free, err, info.Size())
	}
}
