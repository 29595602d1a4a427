package twins

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/state/statetest"
)

// A recording that is served the media of one which another worker is still storing waits until
// that one is in the ledger. Otherwise nobody would ask for the first one once more, and its
// original would be deleted.
func TestSettled(t *testing.T) {
	address := postgrestest.Run(t).Database(t)
	_, err := postgres.Migrate(t.Context(), address, postgres.Options{})
	statetest.Must(t, err)
	l, err := postgres.Open(t.Context(), address, postgres.Options{})
	statetest.Must(t, err)
	defer l.Close()
	first, second := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.Key{Org: "acme", Inbox: "u2", Recording: "r2"}
	version := statetest.Version(1)
	move := func(k state.Key, from, to state.State, edit func(*state.Entry)) {
		t.Helper()
		_, err := l.Move(t.Context(), k, from, to, edit)
		statetest.Must(t, err)
	}
	var sum [sha256.Size]byte
	_, err = hex.Decode(sum[:], []byte(version.SHA256))
	statetest.Must(t, err)
	r := Finder{Ledger: l, Across: l}.Register("acme")
	settled := func(want bool) {
		t.Helper()
		if got, err := r.Settled(t.Context(), version.SHA256); got != want || err != nil {
			t.Errorf("settled: %t, want %t; %v", got, want, err)
		}
	}
	for i, k := range []state.Key{first, second} {
		move(k, "", state.StateListed, func(*state.Entry) {})
		if another, err := r.Served(t.Context(), k, sum); another != (i == 1) || err != nil {
			t.Errorf("%s: another was served the same: %t, %v", k, another, err)
		}
	}
	move(second, state.StateListed, state.StateListed, func(e *state.Entry) { e.Twin = version.SHA256 })
	settled(false)
	waiting := []state.KeyedEntry{{Key: second, Entry: state.Entry{Twin: version.SHA256}}}
	if found, err := r.Find(t.Context(), waiting); len(found[version.SHA256]) != 1 || err != nil {
		t.Errorf("while the first is on its way, %v was found; %v", found, err)
	}
	move(first, state.StateListed, state.StateArchived, func(e *state.Entry) { e.Versions = []state.Version{version} })
	settled(true)
	if found, err := r.Find(t.Context(), waiting); len(found[version.SHA256]) != 2 || err != nil {
		t.Errorf("after that, %v was found; %v", found, err)
	}
	if e, err := l.Entry(t.Context(), first); e.State != state.StateListed || e.Twin != version.SHA256 || err != nil {
		t.Errorf("the first is %s with twin %q; %v", e.State, e.Twin, err)
	}
	settled(true)
	if other, err := r.Settled(t.Context(), strings.Repeat("0c", 32)); !other || err != nil {
		t.Errorf("media that nobody was served: %t, %v", other, err)
	}
}
