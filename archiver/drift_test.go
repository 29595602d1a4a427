package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/listing"
	"github.com/archiverd/archiverd/state"
)

// drift is what happens to an inbox after one page of a listing was made.
type drift struct {
	Page   int // counted over all walks of a pass, from 1
	Remove bool
	Which  int  // to remove: the place in the listing, modulo its length
	Old    bool // to add: made before the pass, else during it
}

func drawDrift(last int) *rapid.Generator[drift] {
	return rapid.Custom(func(t *rapid.T) drift {
		return drift{
			Page: rapid.IntRange(1, last).Draw(t, "page"), Remove: rapid.Bool().Draw(t, "remove"),
			Which: rapid.IntRange(0, 20).Draw(t, "which"), Old: rapid.Bool().Draw(t, "old"),
		}
	})
}

// drifting is one inbox of its own in the rig, with what a property knows of it.
type drifting struct {
	*rig
	added   int
	removed map[string]bool
	plan    []drift
	still   int // the walk from which on nothing happens; 0: none
	walks   int // listings of a first page, in the present pass
	pages   int
}

func newDrifting(base *rig, rt *rapid.T) *drifting {
	world := &archivertest.World{T: base.T, Cloud: base.Cloud, Server: base.Server, Bucket: base.Bucket, Ledger: base.Ledger, Format: base.Format}
	r := &rig{World: world, options: base.options}
	r.options.Log = slog.New(slog.DiscardHandler)
	d := &drifting{rig: r, removed: map[string]bool{}}
	r.User = r.Cloud.AddUser(fmt.Sprintf("user-%d", time.Now().UnixNano()), "Ada", "")
	r.in = r.inboxOf(r.User)
	r.Login(r.User)
	r.in.PageSize = rapid.IntRange(1, 4).Draw(rt, "page size")
	order := rapid.SampledFrom([]genesystest.Order{genesystest.NewestFirst, genesystest.OldestFirst, genesystest.Shuffled}).Draw(rt, "order")
	r.Cloud.Configure(func(o *genesystest.Options) { o.Order, o.OnPage = order, d.onPage })
	for range rapid.IntRange(0, 12).Draw(rt, "recordings") {
		d.arrive(true)
	}
	return d
}

func (d *drifting) arrive(old bool) {
	d.added++
	made := time.Now().Add(-time.Hour).Add(time.Duration(d.added*7%13) * time.Second)
	if !old {
		made = time.Now().Add(time.Duration(d.added) * time.Second)
	}
	d.User.Add(genesystest.Recording{ID: fmt.Sprintf("r%03d", d.added), DateCreated: made})
}

func (d *drifting) onPage(i *genesystest.Inbox, page int) {
	if i != d.User {
		return
	}
	if d.pages++; page == 1 {
		d.walks++
	}
	for _, c := range d.plan {
		ids := d.User.IDs()
		switch {
		case c.Page != d.pages, d.still > 0 && d.walks >= d.still:
		case !c.Remove:
			d.arrive(c.Old)
		case len(ids) > 0:
			id := ids[c.Which%len(ids)]
			d.User.Remove(id)
			d.removed[id] = true
		}
	}
}

// pass runs one with a plan, and gives the recordings that were there throughout.
func (d *drifting) pass(rt *rapid.T, plan []drift) (p *pass, throughout []string) {
	before := d.User.IDs()
	d.plan, d.walks, d.pages = plan, 0, 0
	p = d.begin(d.archiver())
	err := p.list(context.Background())
	if err == nil && p.record.Complete {
		err = p.settle(context.Background())
	}
	if err != nil {
		rt.Fatal(err)
	}
	for _, id := range before {
		if !d.removed[id] {
			throughout = append(throughout, id)
		}
	}
	return p, throughout
}

// wantNothingLost: whatever the drift, none that exists is called vanished.
func (d *drifting) wantNothingLost(rt *rapid.T) {
	for _, id := range d.User.IDs() {
		e, err := d.Ledger.Entry(rt.Context(), d.Key(id))
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			rt.Fatal(err)
		}
		if e.State == state.StateVanished || e.State == state.StateGone {
			rt.Errorf("%s exists and is called %s", id, e.State)
		}
	}
}

// Promise 4, in the parts that hold without exception:
//
//  1. While recordings only arrive, every walk sees each that was there before it,
//     and the pass is complete.
//  2. A first walk that is called complete saw every recording that the ledger
//     knew to be there, whatever the drift.
//  3. Where the inbox stands still during the repeats, a complete pass saw every
//     recording that it knew and that was there throughout.
//  4. Whatever the drift, in any number of passes, none that exists is called
//     vanished or gone.
//  5. Once the inbox stands still, one pass knows all there is; what is gone is
//     called so after two more passes.
//
// It does not hold that complete means that all were seen: TestRecordingThatSlips….
func TestDrift(t *testing.T) {
	t.Parallel()
	base := newRig(t, archivertest.Echoing, false)
	t.Run("only arrivals", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { onlyArrivals(base, rt) }) })
	t.Run("known recordings", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { knownRecordings(base, rt) }) })
	t.Run("several passes", func(t *testing.T) { rapid.Check(t, func(rt *rapid.T) { severalPasses(base, rt) }) })
}

func onlyArrivals(base *rig, rt *rapid.T) {
	d := newDrifting(base, rt)
	plan := rapid.SliceOfN(drawDrift(10), 0, 8).Draw(rt, "drift")
	for i := range plan {
		plan[i].Remove, plan[i].Old = false, false
	}
	p, throughout := d.pass(rt, plan)
	if !p.record.Complete {
		rt.Errorf("not complete after %d walks", p.record.Walks)
	}
	d.wantSeen(rt, p, throughout)
}

func knownRecordings(base *rig, rt *rapid.T) {
	d := newDrifting(base, rt)
	d.pass(rt, nil)
	d.still = 2
	plan := rapid.SliceOfN(drawDrift(8), 0, 8).Draw(rt, "drift")
	p, throughout := d.pass(rt, plan)
	if p.record.Complete {
		d.wantSeen(rt, p, throughout)
	}
	d.wantNothingLost(rt)
}

func (d *drifting) wantSeen(rt *rapid.T, p *pass, ids []string) {
	for _, id := range ids {
		if !p.walk.Saw(id) {
			rt.Errorf("%s was there throughout a pass of %d walks and was not seen", id, p.record.Walks)
		}
	}
}

func severalPasses(base *rig, rt *rapid.T) {
	d := newDrifting(base, rt)
	for range rapid.IntRange(1, 4).Draw(rt, "passes") {
		p, _ := d.pass(rt, rapid.SliceOfN(drawDrift(16), 0, 10).Draw(rt, "drift"))
		if p.record.Walks > 1+listing.MaxRepeats {
			rt.Errorf("%d walks", p.record.Walks)
		}
		if inbox, err := d.Ledger.Inbox(rt.Context(), org, d.in.ID); err != nil || p.record.Complete && p.record.Walks == 1 && p.walk.Known < inbox.Expected() {
			rt.Errorf("complete after one walk that saw %d of %d known: %v", p.walk.Known, inbox.Expected(), err)
		}
		d.wantNothingLost(rt)
	}
	for range 3 {
		d.pass(rt, nil)
	}
	for _, id := range d.User.IDs() {
		if e, err := d.Ledger.Entry(rt.Context(), d.Key(id)); err != nil || e.State != state.StateListed {
			rt.Errorf("%s is %q once the inbox stands still: %v", id, e.State, err)
		}
	}
	for id := range d.removed {
		e, err := d.Ledger.Entry(rt.Context(), d.Key(id))
		if known := !errors.Is(err, state.ErrNotFound); known && e.State != state.StateVanished && !slices.Contains(d.User.IDs(), id) {
			rt.Errorf("%s was removed and is %q", id, e.State)
		}
	}
}
