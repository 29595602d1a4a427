package state

import (
	"os"
	"testing"

	"go.etcd.io/bbolt"
)

// A ledger of schema 1 gets the counters that schema 2 added, after a copy that an
// earlier archiverd still opens. Read, it stays as it is.
func TestSchema1IsMigrated(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	for recording, to := range map[string]State{"r1": StateArchived, "r2": StateGone, "r3": StateListed} {
		bring(t, l, Key{"acme", "u1", recording}, to)
	}
	doubted := func(e *Entry) { e.Versions[len(e.Versions)-1].Suspect = "cut" }
	_, err := l.Move(Key{"acme", "u1", "r1"}, StateArchived, StateArchived, doubted)
	must(t, err)
	must(t, l.db.Update(func(tx *bbolt.Tx) error {
		in, err := getInbox(tx, "acme/u1")
		must(t, err)
		in.Suspect = 0
		must(t, putInbox(tx, "acme/u1", in))
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte("1"))
	}))
	must(t, l.Close())

	read := open(t, path, Options{ReadOnly: true})
	if in, err := read.Inbox("acme", "u1"); err != nil || in.Suspect != 0 {
		t.Errorf("read only: %+v, %v", in, err)
	}
	must(t, read.Close())
	if _, err := os.Stat(path + ".schema1"); err == nil {
		t.Error("reading made a copy")
	}

	l = open(t, path, Options{})
	if in, err := l.Inbox("acme", "u1"); err != nil || in.Suspect != 1 || in.Unproved != 0 {
		t.Errorf("migrated: %+v, %v", in, err)
	}
	if now, err := l.schema(); err != nil || now != schema {
		t.Errorf("schema %d, %v", now, err)
	}
	must(t, l.Check())
	before := open(t, path+".schema1", Options{ReadOnly: true})
	if was, err := before.schema(); err != nil || was != 1 {
		t.Errorf("the copy has schema %d, %v", was, err)
	}
	must(t, before.Close())
}
