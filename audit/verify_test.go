package audit

import (
	"errors"
	"fmt"
	"testing"

	"github.com/archiverd/archiverd/record"
)

func TestSample(t *testing.T) {
	const keys = 10_000
	drawn := func(d Depth) (n, same int) {
		other := d
		other.Seed++
		for i := range keys {
			if key := fmt.Sprintf("genesys/media/%d.wav", i); d.reads(key) {
				n++
				if other.reads(key) {
					same++
				}
			}
		}
		return n, same
	}
	if n, same := drawn(Depth{Read: true, Percent: 10, Seed: 7}); n < 900 || n > 1100 || same < 50 || same > 150 {
		t.Errorf("a tenth of %d: %d, of which another seed draws %d again", keys, n, same)
	}
	if n, _ := drawn(Depth{Read: true, Percent: 100, Seed: 7}); n != keys {
		t.Errorf("all of %d: %d", keys, n)
	}
	if n, _ := drawn(Depth{Percent: 100}); n != 0 {
		t.Errorf("%d are read although reading was not asked for", n)
	}
}

// TestClean wants a single thing wrong, or not seen, to be enough.
func TestClean(t *testing.T) {
	for name, c := range map[string]struct {
		edit         func(*Reconciliation)
		sound, clean bool
	}{
		"nothing":       {func(*Reconciliation) {}, true, true},
		"not asked":     {func(r *Reconciliation) { r.Genesys.Err = errors.New("503") }, true, false},
		"incomplete":    {func(r *Reconciliation) { r.Genesys.Complete = false }, true, false},
		"without an id": {func(r *Reconciliation) { r.Genesys.Unreadable = 1 }, true, false},
		"failed":        {func(r *Reconciliation) { r.Classes = []ClassTotal{{Class: ClassFailed, Recordings: 1}} }, true, true},
		"missing":       {func(r *Reconciliation) { r.Classes = []ClassTotal{{Class: ClassMissing, Recordings: 1}} }, false, false},
		"foreign":       {func(r *Reconciliation) { r.Objects = []ObjectTotal{{ObjectForeign, 1}} }, false, false},
		"leftover":      {func(r *Reconciliation) { r.Objects = []ObjectTotal{{ObjectLeftover, 1}} }, true, true},
		"journal":       {func(r *Reconciliation) { r.Journal.Faults = make([]record.JournalFault, 1) }, false, false},
		"sum":           {func(r *Reconciliation) { r.Checks = []CrossCheck{{"", 1, 1}, {"", 1, 2}} }, false, false},
	} {
		r := Reconciliation{Genesys: GenesysSide{Complete: true}}
		c.edit(&r)
		if r.Sound() != c.sound || r.Clean() != c.clean {
			t.Errorf("%s: sound %v, clean %v", name, r.Sound(), r.Clean())
		}
	}
}
