package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// damages are ways in which a bad disk changes a page.
var damages = map[string]func(page []byte, r *rand.Rand){
	"zeros":       func(page []byte, _ *rand.Rand) { clear(page) },
	"zeroed tail": func(page []byte, _ *rand.Rand) { clear(page[len(page)/2:]) },
	"zeroed head": func(page []byte, _ *rand.Rand) { clear(page[:len(page)/4]) },
	"garbage": func(page []byte, r *rand.Rand) {
		for i := range page {
			page[i] = byte(r.Uint32())
		}
	},
	"garbage behind the header": func(page []byte, r *rand.Rand) {
		for i := 16; i < len(page); i++ {
			page[i] = byte(r.Uint32())
		}
	},
	"flags": func(page []byte, r *rand.Rand) { page[8] = byte(r.Uint32()) },
	"count": func(page []byte, r *rand.Rand) { page[10] -= page[10] / 3 },
}

const recordings = 401

// manyRecordings returns a good ledger's file, and which of its pages are in use.
func manyRecordings(t *testing.T) (good []byte, used []int) {
	path := newPath(t)
	l := open(t, path, Options{})
	l.db.NoSync = true
	statetest.Must(t, l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) (all []state.Change) {
		for i := range recordings {
			id := fmt.Sprintf("recording-%04d", i)
			all = append(all, state.Change{Recording: id, From: "", To: state.StateListed, Edit: nil}, state.Change{Recording: id, From: state.StateListed, To: state.StateArchived, Edit: statetest.AddVersion(i)})
			if i%4 == 0 {
				all = append(all, state.Change{Recording: id, From: state.StateArchived, To: state.StateGone, Edit: nil})
			}
		}
		return all
	}))
	statetest.Must(t, l.read(func(tx *bbolt.Tx) error {
		for id := 2; ; id++ {
			info, err := tx.Page(id)
			if info == nil || err != nil {
				return err
			}
			if info.Type == "leaf" || info.Type == "branch" {
				used = append(used, id)
			}
		}
	}))
	finish(t, l)
	good, err := os.ReadFile(path)
	statetest.Must(t, err)
	return good, used
}

// TestDamagedInUse wants damage anywhere in the file to give ErrDamaged. Damage must
// never end the process, and never hide recordings.
func TestDamagedInUse(t *testing.T) {
	good, used := manyRecordings(t)
	size, r := os.Getpagesize(), rand.New(rand.NewPCG(7, 8))
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			for _, id := range used {
				data := bytes.Clone(good)
				damage(data[id*size:(id+1)*size], r)
				if bytes.Equal(data, good) {
					continue
				}
				path := newPath(t)
				statetest.Must(t, os.WriteFile(path, data, 0o600))
				for _, readOnly := range []bool{true, false} {
					useDamaged(t, fmt.Sprintf("page %d", id), path, readOnly)
				}
			}
		})
	}
}

func useDamaged(t *testing.T, what, path string, readOnly bool) {
	t.Helper()
	notDamage := func(err error) bool { return err != nil && !errors.Is(err, state.ErrDamaged) }
	l, err := Open(path, Options{ReadOnly: readOnly, Timeout: 1})
	if err != nil {
		if notDamage(err) && !errors.Is(err, ErrNotLedger) {
			t.Errorf("%s: Open: %v", what, err)
		}
		return
	}
	seen := map[string]bool{}
	scanned := l.Scan(t.Context(), "", "", func(k state.Key, _ *state.Entry) error { seen[k.Recording] = true; return nil })
	found := map[string]bool{}
	searched := l.Search(t.Context(), state.Query{}, func(k state.Key, _ *state.Entry) error { found[k.Recording] = true; return nil })
	if searched == nil && len(found) != recordings {
		t.Errorf("%s: Search gave %d of %d recordings, and no error", what, len(found), recordings)
	}
	recounted := l.Recount(t.Context())
	if scanned == nil && recounted == nil && len(seen) != recordings {
		t.Errorf("%s: Scan gave %d of %d recordings, and no error", what, len(seen), recordings)
	}
	if recounted == nil {
		for i := range recordings {
			_, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: fmt.Sprintf("recording-%04d", i)})
			if notDamage(err) {
				t.Errorf("%s: Recount found nothing, but: %v", what, err)
			}
		}
	}
	errs := []error{scanned, searched, recounted, l.Check()}
	if err := errors.Join(errs...); !errors.Is(err, state.ErrDamaged) {
		t.Errorf("%s: no method found it: %v", what, err)
	}
	if !readOnly {
		_, moved := l.Move(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "recording-0001"}, state.StateArchived, state.StateArchived, func(e *state.Entry) { e.Changes++ })
		_, conflict := errors.AsType[*state.ConflictError](moved)
		if notDamage(moved) && !conflict {
			t.Errorf("%s: Move: %v", what, moved)
		}
	}
	for _, err := range errs {
		if notDamage(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	statetest.Must(t, l.Close())
	again, err := Open(path, Options{Timeout: 1})
	if errors.Is(err, ErrHeld) {
		t.Errorf("%s: the lock is not free again", what)
	}
	if err == nil {
		statetest.Must(t, again.Close())
	}
}
