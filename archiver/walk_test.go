package archiver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/listing"
	"github.com/archiverd/archiverd/state"
)

// walkRig has no store: a walk and what settles it need none.
func walkRig(t *testing.T, edit func(*genesystest.Options)) *rig {
	r := newRig(t, archivertest.Echoing, false)
	r.Cloud.Configure(edit)
	r.in.PageSize = 2
	return r
}

// walk makes a pass up to the end of its listing.
func (r *rig) walk() *pass {
	r.T.Helper()
	p := r.begin(r.archiver())
	if err := p.list(context.Background()); err != nil {
		r.T.Fatal(err)
	}
	return p
}

// settled walks, and settles where the walk was complete.
func (r *rig) settled() *pass {
	r.T.Helper()
	p := r.walk()
	if p.record.Complete {
		if err := p.settle(context.Background()); err != nil {
			r.T.Fatal(err)
		}
	}
	return p
}

// wantSeen checks that a walk was complete, in so many walks, and saw these.
func wantSeen(t *testing.T, p *pass, walks int, ids []string) {
	t.Helper()
	if !p.record.Complete || p.record.Walks != walks {
		t.Errorf("complete %v after %d walks, want %d", p.record.Complete, p.record.Walks, walks)
	}
	for _, id := range ids {
		if !p.walk.Saw(id) {
			t.Errorf("%s was not seen", id)
		}
	}
}

// Promise 4 in an inbox that stands still, however Genesys lists it. Every
// recording reaches the ledger, and nothing more.
func TestWalkOfAStillInbox(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*genesystest.Options)
		walks int
	}{
		"newest first":           {func(*genesystest.Options) {}, 1},
		"oldest first":           {func(o *genesystest.Options) { o.Order = genesystest.OldestFirst }, 1},
		"shuffled":               {func(o *genesystest.Options) { o.Order = genesystest.Shuffled }, 1},
		"small pages":            {func(o *genesystest.Options) { o.MaxPageSize = 1 }, 1},
		"overlapping pages":      {func(o *genesystest.Options) { o.RepeatAcross = true }, 1},
		"pages that are not":     {func(o *genesystest.Options) { o.PhantomPages = 7 }, 1},
		"a total too small":      {func(o *genesystest.Options) { o.TotalOffset = -1 }, 1},
		"refuses to expand more": {func(o *genesystest.Options) { o.MaxExpanded = 1 }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= 5; n++ {
				r := walkRig(t, c.edit)
				ids := r.Add(n)
				p := r.walk()
				wantSeen(t, p, c.walks, ids)
				for _, id := range ids {
					r.WantState(id, state.StateListed)
				}
				if got := p.record.Listed; got != int64(n) {
					t.Errorf("%d of %d listed", got, n)
				}
			}
		})
	}
}

// Where Genesys counts more than it lists, smaller pages are tried, and the listing is
// not complete.
func TestWalkOfAListingThatCountsMore(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*genesystest.Options){
		"by the total":   func(o *genesystest.Options) { o.TotalOffset = 3 },
		"by the summary": func(o *genesystest.Options) { o.SummaryOffset = 3 },
	} {
		r := walkRig(t, edit)
		r.Add(5)
		if p := r.walk(); p.record.Complete || p.record.Missing != 3 || p.record.Listed != 5 || p.record.Walks != 2 {
			t.Errorf("%s: %+v", name, p.record)
		}
	}
}

// A recording that is deleted or that arrives during the listing does not make it short.
func TestWalkOfADriftingListingIsNotShort(t *testing.T) {
	t.Parallel()
	for name, drift := range map[string]func(*rig){
		"removed": func(r *rig) { r.User.Remove("rec-05") },
		"arrived": func(r *rig) { r.User.Add(genesystest.Recording{ID: "new"}) },
		"both": func(r *rig) {
			r.User.Remove("rec-05")
			r.User.Add(genesystest.Recording{ID: "new"})
		},
	} {
		r := walkRig(t, func(*genesystest.Options) {})
		r.Add(5)
		r.onPages(func(n, _ int) {
			if n == 2 {
				drift(r)
			}
		})
		if p := r.walk(); !p.record.Complete || p.record.Missing != 0 {
			t.Errorf("%s: %+v", name, p.record)
		}
	}
}

func TestWalkOfAnEmptyInbox(t *testing.T) {
	r := walkRig(t, func(*genesystest.Options) {})
	wantSeen(t, r.walk(), 1, nil)
}

// A removal shifts the rest by one, so that the first of the next page is passed
// over. A walk in which that happened is repeated.
func TestRemovalBetweenPagesIsNotMissed(t *testing.T) {
	for name, order := range map[string]genesystest.Order{"newest": genesystest.NewestFirst, "oldest": genesystest.OldestFirst, "shuffled": genesystest.Shuffled} {
		t.Run(name, func(t *testing.T) {
			r := walkRig(t, func(o *genesystest.Options) { o.Order = order })
			r.Add(6)
			ids := r.User.IDs()
			r.onPages(func(n, page int) {
				if n == 1 {
					r.User.Remove(ids[0])
				}
			})
			wantSeen(t, r.walk(), 2, ids)
		})
	}
}

// onPages runs f after the n-th listing request (from 1), for a page.
func (r *rig) onPages(f func(n, page int)) {
	n := 0
	r.Cloud.Configure(func(o *genesystest.Options) {
		o.OnPage = func(i *genesystest.Inbox, page int) {
			if i == r.User {
				n++
				f(n, page)
			}
		}
	})
}

// The page size that counts is the reply's; pages of different sizes don't fit together.
func TestPageSizeThatChangesRestartsTheWalk(t *testing.T) {
	requests := 0
	r := walkRig(t, func(o *genesystest.Options) {
		o.PageSize = func(int, int) int {
			if requests++; requests > 1 {
				return 3
			}
			return 2
		}
	})
	ids := r.Add(7)
	wantSeen(t, r.walk(), 1, ids)
}

// A listing that is too large at every size but one must still be read: asking for
// less is progress, not a page size that flaps.
func TestListingTooLargeIsReadInTheEnd(t *testing.T) {
	r := walkRig(t, func(*genesystest.Options) {})
	r.in.PageSize = 100
	ids := r.Add(3)
	r.in.API = &shapedAPI{recordingsAPI: r.in.API, refuse: func(p genesys.ListParams) error {
		if p.PageSize > 1 || len(p.Expand) > 0 {
			return &genesys.Error{Op: opList, Status: 400, Code: "response.entity.too.large", Parsed: true}
		}
		return nil
	}}
	p := r.walk()
	wantSeen(t, p, 1, ids)
	for _, id := range ids {
		r.WantState(id, state.StateListed)
	}
}

// What can't be listed with its conversation is fetched with it, for the manifest.
func TestConversationIsFetchedSinglyWhereListingsCantHoldIt(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.Cloud.Configure(func(o *genesystest.Options) { o.MaxExpanded = 1 })
	r.Add(2, func(rec *genesystest.Recording) { rec.Participants = []any{map[string]any{"name": "Ann"}} })
	r.passed()
	if e := r.Entry("rec-01"); len(e.Participants) != 1 || e.Participants[0].Name != "Ann" {
		t.Errorf("the ledger has the participants %+v", e.Participants)
	}
	m := r.Manifest(r.WantArchived("rec-01").ManifestKey)
	if !strings.Contains(string(m.Recording), `"Conversation of`) {
		t.Errorf("the manifest's recording lacks the conversation: %s", m.Recording)
	}
}

// shapedAPI changes listings as no well-meaning server would.
type shapedAPI struct {
	recordingsAPI
	refuse func(genesys.ListParams) error
	before func(n int, p *genesys.ListParams)
	after  func(n int, l *genesys.Listing)
	n      int
}

func (a *shapedAPI) Recordings(ctx context.Context, p genesys.ListParams) (*genesys.Listing, error) {
	a.n++
	if a.refuse != nil {
		if err := a.refuse(p); err != nil {
			return nil, err
		}
	}
	if a.before != nil {
		a.before(a.n, &p)
	}
	l, err := a.recordingsAPI.Recordings(ctx, p)
	if err == nil && a.after != nil {
		a.after(a.n, l)
	}
	return l, err
}

// Hostile listings end, within a bound that does not depend on what they claim,
// and none of them makes a recording missing.
func TestHostileListingsEnd(t *testing.T) {
	for name, api := range map[string]shapedAPI{
		"the first page for ever": {
			before: func(_ int, p *genesys.ListParams) { p.PageNumber = 1 },
			after:  func(_ int, l *genesys.Listing) { l.NextURI, l.PageNumber = "/more", 0 },
		},
		"a page count without end": {
			before: func(_ int, p *genesys.ListParams) { p.PageNumber = 1 + p.PageNumber%3 },
			after:  func(n int, l *genesys.Listing) { l.PageCount = n + 1000 },
		},
		"a total that grows": {after: func(n int, l *genesys.Listing) { total := int64(n * 1000); l.Total = &total }},
		"no total":           {after: func(_ int, l *genesys.Listing) { l.Total = nil }},
		"a page size that flaps": {after: func(n int, l *genesys.Listing) {
			l.PageSize = 2 + n%2
		}},
		"nothing but what it lists": {after: func(_ int, l *genesys.Listing) {
			*l = genesys.Listing{Recordings: l.Recordings}
		}},
		"empty pages that promise more": {after: func(_ int, l *genesys.Listing) {
			*l = genesys.Listing{NextURI: "/more", PageCount: 99}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := walkRig(t, func(*genesystest.Options) {})
			ids := r.Add(5)
			r.settled()
			real := r.in.API
			for range 3 {
				a := api
				a.recordingsAPI = real
				r.in.API = &a
				r.settled()
				if most := (1 + listing.MaxRepeats + listing.MaxRestarts) * (3 + listing.MaxIdle); a.n > most {
					t.Errorf("%d requests for three pages, want %d at most", a.n, most)
				}
			}
			for _, id := range ids {
				r.WantState(id, state.StateListed)
			}
		})
	}
}

// A listing of something nobody can archive is not complete in silence.
func TestRecordingWithoutAnIDFailsThePass(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.Add(1)
	r.User.Add(genesystest.Recording{ID: "nameless", RawJSON: []byte(`{"name":"no id"}`)})
	r.options.Delete.Enabled = true
	archivertest.WantErr(t, r.pass().Err, failure.KindFailed, "1 recordings are listed without an id")
	r.WantArchived("rec-01")
	if sent := r.Requests(opDelete); len(sent) != 0 {
		t.Errorf("deleted %q", sent)
	}
}

// A listing that breaks off has still shown recordings that can be saved now; but
// nothing is missing because of it, and nothing is deleted.
func TestListingThatBreaksOffStillArchives(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.in.PageSize = 2
	r.Add(4)
	ids := r.User.IDs()
	r.Cloud.Inject(genesystest.Fault{Op: opList, Skip: 1, Times: genesystest.Always, Effect: genesystest.Status(503, "service.unavailable")})
	archivertest.WantErr(t, r.pass(deleting).Err, failure.KindTemporary)
	r.WantArchived(ids[0])
	r.WantArchived(ids[1])
	if sent := r.Requests(opDelete); len(sent) != 0 {
		t.Errorf("deleted %q", sent)
	}
	r.Cloud.ClearFaults()
	r.passed()
	for _, id := range ids {
		r.WantArchived(id)
	}
}

// The complete walk's limit, written down. Completeness of a repeat is not proof:
// a recording that slips between two pages in every walk of a pass is not seen,
// although the pass calls its listing complete. What Promise 4 then rests on is
// that nothing follows from it: two passes have to miss it, and Genesys itself
// has to answer 404 for it.
func TestRecordingThatSlipsThroughEveryWalkIsNotLost(t *testing.T) {
	r := walkRig(t, func(*genesystest.Options) {})
	begun := time.Now().Add(-time.Hour)
	for i, id := range []string{"f", "e", "d", "c", "b", "a"} { // a is the newest
		r.User.Add(genesystest.Recording{ID: id, DateCreated: begun.Add(time.Duration(i) * time.Second)})
	}
	wantSeen(t, r.settled(), 1, []string{"a", "b", "c", "d", "e", "f"})
	head, tail := "a", "f"
	for pass := range 3 {
		newest := fmt.Sprintf("young-%d", pass)
		r.onPages(func(n, page int) {
			switch n {
			case 1: // pages 2 and 3 shift: c is passed over
				r.User.Remove(head)
			case 3: // and back again before the repeat, by one that no walk has to have seen; the count is right
				r.User.Remove(tail)
				r.User.Add(genesystest.Recording{ID: newest, DateCreated: time.Now().Add(time.Minute)})
			case 4:
				r.User.Remove(newest)
			}
		})
		p := r.settled()
		if !p.record.Complete || p.walk.Saw("c") {
			t.Fatalf("pass %d: complete %v, saw c %v: this drift no longer hides c, so promise 4 became stronger", pass, p.record.Complete, p.walk.Saw("c"))
		}
		r.WantState("c", state.StateListed)
		head = fmt.Sprintf("old-%d", pass)
		r.User.Add(genesystest.Recording{ID: head, DateCreated: begun.Add(time.Minute)})
		tail = fmt.Sprintf("oldest-%d", pass)
		r.User.Add(genesystest.Recording{ID: tail, DateCreated: begun.Add(-time.Minute)})
	}
	if !slices.Contains(r.Requests(opGet), "c") {
		t.Error("Genesys was never asked about c")
	}
}
