package bolt

import (
	"os"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// A ledger of schema 1 gets the counters that schema 2 added, after a copy was made that
// an earlier archiverd still opens. Opened with ReadOnly, it is not changed.
func TestSchema1IsMigrated(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	for recording, to := range map[string]state.State{"r1": state.StateArchived, "r2": state.StateGone, "r3": state.StateListed} {
		statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: recording}, to)
	}
	doubted := func(e *state.Entry) { e.Versions[len(e.Versions)-1].Suspect = "cut" }
	_, err := l.Move(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateArchived, state.StateArchived, doubted)
	statetest.Must(t, err)
	statetest.Must(t, l.db.Update(func(tx *bbolt.Tx) error {
		in, err := getInbox(tx, "acme/u1")
		statetest.Must(t, err)
		in.Suspect = 0
		statetest.Must(t, putInbox(tx, "acme/u1", in))
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte("1"))
	}))
	statetest.Must(t, l.Close())

	read := open(t, path, Options{ReadOnly: true})
	if in, err := read.Inbox(t.Context(), "acme", "u1"); err != nil || in.Suspect != 0 {
		t.Errorf("read only: %+v, %v", in, err)
	}
	statetest.Must(t, read.Close())
	if _, err := os.Stat(path + ".schema1"); err == nil {
		t.Error("reading made a copy")
	}

	l = open(t, path, Options{})
	if in, err := l.Inbox(t.Context(), "acme", "u1"); err != nil || in.Suspect != 1 || in.Unproved != 0 {
		t.Errorf("migrated: %+v, %v", in, err)
	}
	if now, err := l.schema(); err != nil || now != schema {
		t.Errorf("schema %d, %v", now, err)
	}
	statetest.Must(t, l.Check())
	before := open(t, path+".schema1", Options{ReadOnly: true})
	if was, err := before.schema(); err != nil || was != 1 {
		t.Errorf("the copy has schema %d, %v", was, err)
	}
	statetest.Must(t, before.Close())
}
