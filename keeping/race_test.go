package keeping

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// A case is released while what it holds is archived, or while it is archived once more: the
// store holds nothing that no case holds, and the ledger agrees.
func TestReleaseBesideATransfer(t *testing.T) {
	for name, when := range map[string]struct{ request, part string }{
		"before the media":              {"PUT media", ""},
		"before the manifest":           {"PUT manifests", ""},
		"before the hold of the media":  {"PUT media", "legal-hold"},
		"before that of the manifest":   {"PUT manifests", "legal-hold"},
		"when the hold was looked at":   {"GET media", "legal-hold"},
		"when its manifest was held":    {"GET manifests", "legal-hold"},
		"when the manifest was written": {"HEAD manifests", ""},
	} {
		for _, versions := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				id := r.Add(1)[0]
				if versions == 1 {
					r.Cloud.Inject(genesystest.Fault{Op: archivertest.OpLink, Times: 1, Effect: genesystest.HTML(200)})
				}
				r.Pass()
				r.hold("a", "smith", id)
				if versions == 2 {
					r.User.Change(id)
				}
				r.once(when.request, when.part, func() {
					if out := r.release("b", "smith", id); out.Result != Done {
						t.Errorf("released: %+v", out)
					}
				})
				r.Passed()
				r.Wire.Use(nil)
				r.wantHeld(false, id, versions)
			})
		}
	}
}

// A held recording is archived once more while its case is released.
func TestTransferBesideARelease(t *testing.T) {
	r := newRig(t)
	id := r.Add(1)[0]
	r.Passed()
	r.hold("a", "smith", id)
	r.User.Change(id)
	r.once("PUT manifests", "legal-hold", func() { r.Passed() })
	if out := r.release("b", "smith", id); out.Result != Done {
		t.Errorf("released: %+v", out)
	}
	r.Wire.Use(nil)
	r.wantHeld(false, id, 2)
}

// beside does something else right before a change of an entry.
type beside struct {
	ledger
	skip int // changes before that
	does func()
}

func (b *beside) Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	if b.skip--; b.skip == -1 {
		b.does()
	}
	return b.ledger.Move(ctx, k, from, to, edit)
}

// Two cases that hold the same recording are released, or set and released, at the same time:
// the store holds it if a case does in the end.
func TestCasesAtTheSameTime(t *testing.T) {
	for name, c := range map[string]struct {
		first string
		skip  int // changes of first before then
		then  string
		held  bool
	}{
		"both released":                {"release smith", 0, "release jones", false},
		"one set, the other released":  {"hold miller", 0, "release smith", true},
		"one released, the other set":  {"release smith", 0, "hold miller", true},
		"set, and dropped at once":     {"hold miller", 1, "release miller", false},
		"set, and dropped before that": {"hold miller", 0, "release miller", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			id := r.Add(1)[0]
			r.Passed()
			for _, of := range []string{"smith", "jones"} {
				if strings.HasSuffix(c.first, of) || strings.HasSuffix(c.then, of) {
					r.hold(of, of, id)
				}
			}
			do := func(k *Keeper, what string) {
				kind, of, _ := strings.Cut(what, " ")
				o, _ := r.order(state.ActKind(kind), what, id)
				o.Case = of
				act := k.Hold
				if o.Kind == state.ActRelease {
					act = k.Release
				}
				r.ordered(act, o)
			}
			k := r.keeper()
			k.Ledger = &beside{ledger: k.Ledger, skip: c.skip, does: func() { do(r.keeper(), c.then) }}
			do(k, c.first)
			r.wantHeld(c.held, id, 1)
		})
	}
}

// A recording is held while it is being erased, or erased while it is being held: one of the
// two orders is refused, and says so. What is held stays.
func TestHoldBesideAnErasure(t *testing.T) {
	for name, when := range map[string]struct{ request, part string }{
		"when the trial is made":    {"DELETE doctor", ""},
		"when the hold is asked":    {"GET media", "legal-hold"},
		"when the lock is asked":    {"GET manifests", "retention"},
		"when the journal is told":  {"PUT journal", ""},
		"when the media go":         {"DELETE media", ""},
		"when the manifest goes":    {"DELETE manifests", ""},
		"when all is looked for":    {"GET", "versions"},
		"when nothing is there yet": {"PUT doctor", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			id := r.Add(1)[0]
			r.Passed()
			var held *Outcome
			r.once(when.request, when.part, func() { held = r.hold("a", "smith", id) })
			erased := r.erase("b", id)
			r.Wire.Use(nil)
			e := r.Entry(id)
			switch {
			case held.Result == Done && erased.Result == Left && strings.Contains(erased.Why, "held by"):
				r.wantHeld(true, id, 1)
			case held.Result == Left && erased.Result == Done && e.State == state.StateErased:
			default:
				t.Errorf("held: %+v, erased: %+v, the ledger has %s, held by %q", held, erased, e.State, e.Cases())
			}
		})
	}
}

// A version that is archived while the order is given is not removed unseen: it may be locked.
func TestArchivedBesideAnErasure(t *testing.T) {
	r := newRig(t)
	id := r.Add(1)[0]
	r.Passed()
	r.User.Change(id)
	r.once("GET manifests", "retention", func() { r.Passed() })
	if out := r.erase("a", id); out.Result != Left || !strings.Contains(out.Why, "it changed") {
		t.Errorf("erased: %+v", out)
	}
	r.Wire.Use(nil)
	if e := r.Entry(id); e.Disposal() != nil || len(e.Versions) != 2 {
		t.Errorf("the ledger has %+v", e)
	}
	if out := r.erase("b", id); out.Result != Done {
		t.Errorf("erased: %+v", out)
	}
}

// A put that a worker sent before an erasure can arrive after it, under a name that the ledger
// does not know. The same order given again removes it, and says who ordered that.
func TestLatePut(t *testing.T) {
	r := newRig(t)
	id := r.Add(1)[0]
	r.Passed()
	v := r.Entry(id).Versions[0]
	if out := r.erase("a", id); out.Result != Done {
		t.Errorf("erased: %+v", out)
	}
	late := strings.TrimSuffix(v.MediaKey, ".wav") + "~2.wav"
	r.Put(late, []byte("late"))
	r.Overwrite(v.ManifestKey, []byte("late"))
	r.Remove(late) // hidden, and still there
	if out := r.erase("b", id); out.Result != Done || !strings.Contains(out.Why, "there again") {
		t.Errorf("erased again: %+v", out)
	}
	for range 2 { // and again: nothing is there
		if out := r.erase("c", id); out.Result != Already {
			t.Errorf("erased a third time: %+v", out)
		}
	}
	for left, err := range r.Store().Versions(t.Context(), "genesys/m") {
		t.Errorf("left: %+v, %v", left, err)
	}
	e := r.WantState(id, state.StateErased)
	if ids := []string{e.Acts[0].ID, e.Acts[1].ID}; len(e.Acts) != 2 || !slices.Equal(ids, []string{"a", "b"}) {
		t.Errorf("the ledger has %+v", e.Acts)
	}
	r.Passed()
	r.Journal() // holds to the schema
}

// Journal objects that tell of a recording are locked for as long as a person had it kept,
// those that are written later too.
func TestRetainCoversTheJournal(t *testing.T) {
	r := newRig(t)
	ids := r.Add(2)
	r.Passed()
	until := time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC)
	o, out := r.order(state.ActRetain, "a", ids[0])
	totals, err := r.keeper().Retain(t.Context(), o, func(*state.Entry) time.Time { return until })
	if err != nil || totals[Done] != 1 {
		t.Fatalf("%+v, %v", out, err)
	}
	r.User.Change(ids[0])
	r.Passed()
	r.User.Change(ids[1])
	r.Passed()
	var have []bool
	for obj, err := range r.Store().List(t.Context(), "genesys/journal/") {
		if err != nil {
			t.Fatal(err)
		}
		lock, err := r.Store().Retention(t.Context(), obj.Key, "")
		if err != nil {
			t.Fatal(err)
		}
		have = append(have, !lock.Until.Before(until))
	}
	if want := []bool{true, true, true, false}; !slices.Equal(have, want) { // archived, retained, archived again, the other one
		t.Errorf("kept for longer: %t, want %t", have, want)
	}
}

// The clock of the person's machine may be behind that of the store, by which a recording was
// archived: the ledger knows the longer retention all the same.
func TestRetainByASlowClock(t *testing.T) {
	r := newRig(t)
	id := r.Add(1)[0]
	r.Passed()
	until := time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC)
	o, _ := r.order(state.ActRetain, "a", id)
	stored := r.Entry(id)
	o.At = stored.Newest().ArchivedAt.Add(-time.Hour)
	totals, err := r.keeper().Retain(t.Context(), o, func(*state.Entry) time.Time { return until })
	if err != nil || totals[Done] != 1 {
		t.Fatalf("%v, %v", totals, err)
	}
	stored = r.Entry(id)
	if have := stored.Newest().RetainUntil; !have.Equal(until) {
		t.Errorf("in the ledger it is retained until %v, want %v", have, until)
	}
}

// What is about a held recording and can't be undone is said: it is waived, and not archived
// any more; or the deletion of its original was requested before.
func TestWhatAHoldCannotKeepIsSaid(t *testing.T) {
	r := newRig(t)
	ids := r.Add(2)
	r.Cloud.Inject(genesystest.Fault{Op: archivertest.OpLink, Recording: ids[0], Times: 1, Effect: genesystest.HTML(200)})
	r.Pass(func(o *archiver.Options) { o.Delete.Enabled = true })
	r.WantState(ids[1], state.StateDeleteRequested)
	if out := r.hold("a", "smith", ids[1]); out.Result != Done || !strings.Contains(out.Why, "had been requested before") {
		t.Errorf("held: %+v", out)
	}
	r.wantHeld(true, ids[1], 1)
	r.hold("a", "smith", ids[0])
	o, out := r.order(state.ActWaive, "b", ids[0])
	r.ordered(r.keeper().Waive, o)
	if out.Result != Done || !strings.Contains(out.Why, "held by smith") {
		t.Errorf("waived: %+v", out)
	}
}
