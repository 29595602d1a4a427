package archiver

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/listing"
	"github.com/archiverd/archiverd/state"
)

// Whatever the size of the pages and wherever on them the broken recordings are, all
// others are listed, and the error names the places.
func TestWalkPastBrokenPages(t *testing.T) {
	for _, c := range []struct {
		size, n int
		broken  []int // places in the listing, from 0
		says    string
	}{
		{100, 230, []int{133}, "number 134, after recording rec-98, before recording rec-96"},
		{100, 230, []int{0}, "number 1, before recording rec-229"},
		{100, 230, []int{229}, "number 230, after recording rec-02"},
		{100, 230, []int{100, 199}, "number 101, "},
		{10, 34, []int{12, 13, 18}, "numbers 13 to 14, after"},
		{10, 34, []int{0, 9, 20}, "number 10, "},
		{7, 20, []int{8}, "number 9, "},
		{499, 230, []int{57, 59, 60, 200}, "numbers 60 to 61, "},
		{1, 5, []int{2}, "number 3, "},
		{25, 3, []int{0, 1, 2}, "numbers 1 to 3"},
	} {
		t.Run(fmt.Sprintf("%v of %d by %d", c.broken, c.n, c.size), func(t *testing.T) {
			t.Parallel()
			r := walkRig(t, func(o *genesystest.Options) { o.MaxPageSize = 500 })
			r.in.PageSize = c.size
			r.Add(c.n)
			ids := r.User.IDs()
			broken := map[string]int{}
			for _, at := range c.broken {
				broken[ids[at]] = 400
			}
			r.Cloud.Configure(func(o *genesystest.Options) { o.Broken = broken })
			p := r.begin(r.archiver())
			err := p.list(context.Background())
			archivertest.WantErr(t, err, failure.KindFailed, c.says)
			for at, id := range ids {
				if saw := p.walk.Saw(id); saw == slices.Contains(c.broken, at) {
					t.Errorf("recording %d seen: %v", at, saw)
				}
			}
			pages := (c.n+c.size-1)/c.size + 1
			if n := len(r.Requests(opList)); n > pages+listing.MaxParts+2*listing.MaxNamed {
				t.Errorf("%d requests for %d pages", n, pages)
			}
			if p.record.Complete || p.record.Missing != 0 {
				t.Errorf("%+v", p.record)
			}
		})
	}
}

// A listing whose every part is refused costs a bounded number of requests.
func TestBrokenPartsAreBounded(t *testing.T) {
	t.Parallel()
	r := walkRig(t, func(*genesystest.Options) {})
	r.in.PageSize = 100
	r.Add(250)
	broken := map[string]int{}
	for _, id := range r.User.IDs()[100:200] {
		broken[id] = 400
	}
	r.Cloud.Configure(func(o *genesystest.Options) { o.Broken = broken })
	p := r.begin(r.archiver())
	archivertest.WantErr(t, p.list(context.Background()), failure.KindFailed, "numbers 101 to 200, after")
	if p.record.Listed != 150 {
		t.Errorf("%d listed", p.record.Listed)
	}
	if n := len(r.Requests(opList)); n > 3+listing.MaxParts+2*listing.MaxNamed {
		t.Errorf("%d requests", n)
	}
}

// Several broken pages in a row are a service that is down: it is left alone soon.
func TestBrokenPagesInARowEndTheWalk(t *testing.T) {
	t.Parallel()
	r := walkRig(t, func(*genesystest.Options) {})
	r.Add(20)
	r.Cloud.Inject(genesystest.Fault{Op: opList, Skip: 1, Times: genesystest.Always, Effect: genesystest.Status(500, "internal.server.error")})
	p := r.begin(r.archiver())
	archivertest.WantErr(t, p.list(context.Background()), failure.KindTemporary, "page 2 of the listing")
	if n := len(r.Requests(opList)); n != 1+failure.Tries+listing.MaxBroken-1 {
		t.Errorf("%d requests", n)
	}
	for _, id := range r.User.IDs()[:2] {
		r.WantState(id, state.StateListed)
	}
}
