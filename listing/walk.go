package listing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

const (
	maxRepeats  = 3  // walks beyond the first before the inbox counts as incomplete
	maxRestarts = 5  // of one walk, for a page size that changes
	maxBarren   = 10 // pages without anything new that still claim a next one
)

// errRestart says that a walk's pages don't belong together; errSmaller, that they
// are asked for in a smaller form from here on, which ends by itself.
var (
	errRestart = errors.New("the page size changed during the listing")
	errSmaller = errors.New("the listing is too large as it was asked for")
)

// A Walk lists one inbox until the listing proves itself complete. Pages shift while
// recordings arrive and vanish, so a walk proves nothing by its end alone: see believed.
// The exported fields say what List has found; they are valid once List has returned.
type Walk struct {
	Listed     int64  // recordings shown
	Walks      int    // through the listing, made to its end
	Complete   bool   // the listing showed all recordings that Genesys counts
	Missing    int64  // recordings that Genesys counts and did not show
	Summary    *int64 // recordings by the inbox's summary, if it said
	Total      *int64 // recordings by the last walk's last page, if it said
	Unreadable int    // recordings without an id, in the last walk

	a        *Archiver
	in       Inbox
	stop     context.Context // once it ends no page is asked for
	log      *slog.Logger
	start    time.Time
	sink     sink
	seed     maphash.Seed
	seen     map[uint64]uint8 // hash of every recording listed → the last walk that saw it
	known    int64            // of those, how many should be listed by the ledger
	believed bool             // the walk showed all that the listing shows
	expanded bool             // the listing is asked for with expand=conversation
	pageSize int              // asked for
	number   uint8

	// of the present walk
	size        int // of its pages, by the replies
	distinct    int64
	unreadable  int    // entities without an id
	first, last *int64 // total by the first and the last page
	broken      []brokenPage
	inRow       int   // broken pages since the last good one
	gaps        []gap // that the broken pages leave
	newOld      int   // recordings no walk saw before, older than start
}

// A sink takes the recordings of a page that the Walk has not shown before, and says how
// many of them the ledger holds as listed, failed or archived.
type sink func(ctx context.Context, page []genesys.Recording) (known int64, err error)

// NewWalk prepares a walk through an inbox.
func (a *Archiver) NewWalk(stop context.Context, in Inbox) *Walk {
	return &Walk{
		a: a, in: in, stop: stop, log: a.Log.With("org", in.Org, "inbox", in.ID), start: time.Now().UTC(),
		seed: maphash.MakeSeed(), seen: map[uint64]uint8{}, expanded: true, pageSize: in.PageSize,
	}
}

// List lists the inbox, handing each recording to sink once, until a walk is believed or
// three repeats were not. Pages that show fewer recordings than Genesys counts are asked
// for in halves: some listings hold back what is beyond a depth, or beyond a size. List
// fails with what stopped a walk; what was seen before has reached sink.
func (w *Walk) List(ctx context.Context, sink func(ctx context.Context, page []genesys.Recording) (known int64, err error)) error {
	if err := w.summary(ctx); err != nil {
		return err
	}
	w.sink = sink
	for restarts := 0; w.Walks <= maxRepeats; {
		err := w.once(ctx)
		if errors.Is(err, errSmaller) {
			continue
		}
		if errors.Is(err, errRestart) {
			if restarts++; restarts > maxRestarts {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		w.Walks++
		if len(w.gaps) > 0 {
			return w.gapsError(ctx)
		}
		if w.Missing, err = w.missing(ctx); err != nil {
			return err
		}
		if w.believe(ctx) {
			w.believed, w.Complete = true, w.Missing == 0
			return nil
		}
		if w.Missing > 0 {
			w.pageSize = max(1, w.size/2)
		}
	}
	return nil
}

// summary asks for the inbox's own count: a cross-check for the reader of the
// log, since neither it nor the listing's total is documented to be exact.
func (w *Walk) summary(ctx context.Context) error {
	var s *genesys.Summary
	err := w.a.retry(ctx, func() (err error) { s, err = w.in.API.Summary(ctx); return err })
	if err != nil {
		if failure.EndsPass(err) || failure.Temporary(err) {
			return err
		}
		w.log.Warn("no summary of the inbox", failure.Attr(err))
		return nil
	}
	if w.Summary = s.TotalCount; s.TotalCount != nil {
		w.log.Debug("summary", "total", *s.TotalCount)
	}
	return nil
}

// once walks all pages.
func (w *Walk) once(ctx context.Context) error {
	w.number++
	w.size, w.distinct, w.unreadable, w.newOld, w.first, w.last = 0, 0, 0, 0, nil, nil
	w.broken, w.inRow, w.gaps = nil, 0, nil
	barren := 0
	for page := 1; ; page++ {
		if err := failure.Stopped(w.stop); err != nil {
			return err
		}
		l, err := w.page(ctx, page)
		if breaksPage(err) {
			if err := w.passOver(ctx, page, err); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return brokenPage{page, err}.error()
		}
		w.inRow = 0
		if w.size == 0 {
			w.size, w.first = cmp.Or(l.PageSize, w.pageSize), l.Total
		} else if l.PageSize != 0 && l.PageSize != w.size {
			return errRestart
		}
		w.last = l.Total
		w.unreadable += l.Unreadable
		fresh, err := w.take(ctx, l.Recordings)
		if err != nil {
			return err
		}
		if barren++; fresh > 0 {
			barren = 0
		}
		if !more(l, page, w.size) || barren >= maxBarren {
			return w.split(ctx)
		}
	}
}

// A brokenPage is a page of the listing, from 1, that could not be had.
type brokenPage struct {
	page int
	err  error
}

// error names the page where the listing began well.
func (b brokenPage) error() error {
	if b.page == 1 || errors.Is(b.err, errSmaller) {
		return b.err
	}
	return &pageError{b}
}

// A pageError says at which page a listing broke off that began well.
type pageError struct{ brokenPage }

func (e *pageError) Error() string {
	return fmt.Sprintf("page %d of the listing: %v", e.page, e.err)
}

func (e *pageError) Unwrap() error { return e.err }

// Is says that a part of the listing was shown.
func (e *pageError) Is(target error) bool { return target == failure.ErrPartial }

// more tells whether a page claims another after it. An empty page ends the
// listing whatever it claims. A page count may lag behind the total.
func more(l *genesys.Listing, page, size int) bool {
	n := len(l.Recordings) + l.Unreadable
	switch {
	case n == 0:
		return false
	case l.NextURI != "" || page < l.PageCount:
		return true
	case l.PageCount != 0 && (l.Total == nil || *l.Total <= int64(page)*int64(size)):
		return false
	}
	return n >= size
}

// page gets one page. Where the reply would be too large it turns to smaller means
// from then on and asks for the walk to begin again.
func (w *Walk) page(ctx context.Context, number int) (*genesys.Listing, error) {
	l, err := w.ask(ctx, w.pageSize, number, w.inRow > 0)
	if err == nil || !tooLarge(err) {
		return l, err
	}
	switch {
	case w.expanded:
		w.expanded = false
	case w.pageSize > 1:
		w.pageSize /= 2
	default:
		return nil, err
	}
	w.log.Info("the listing is too large, asking for less", "expand", w.expanded, "page_size", w.pageSize)
	return nil, errSmaller
}

// ask gets one page of a size. A hasty one is not tried again where the page may be
// what breaks it.
func (w *Walk) ask(ctx context.Context, size, number int, hasty bool) (l *genesys.Listing, err error) {
	params := genesys.ListParams{PageSize: size, PageNumber: number}
	if w.expanded {
		params.Expand = []string{"conversation"}
	}
	var broken error
	err = w.a.retry(ctx, func() (err error) {
		l, err = w.in.API.Recordings(ctx, params)
		if hasty && breaksPage(err) {
			broken = err
			return nil
		}
		return err
	})
	return l, cmp.Or(err, broken)
}

func tooLarge(err error) bool {
	var e *genesys.Error
	return errors.As(err, &e) &&
		(e.Code == "response.entity.too.large" || e.Status == http.StatusRequestEntityTooLarge || errors.Is(err, genesys.ErrTooLarge))
}

// take marks a page's recordings as seen, hands those that are new to
// the sink and counts those that are new in this walk.
func (w *Walk) take(ctx context.Context, page []genesys.Recording) (fresh int, err error) {
	var unseen []genesys.Recording
	for _, r := range page {
		h := maphash.String(w.seed, r.ID)
		last, before := w.seen[h]
		if last == w.number {
			continue // pages shifted, or repeat one
		}
		w.seen[h] = w.number
		w.distinct++
		fresh++
		if !before {
			unseen = append(unseen, r)
			if !w.younger(r) {
				w.newOld++
			}
		}
	}
	w.Listed += int64(len(unseen))
	if len(unseen) == 0 {
		return fresh, nil
	}
	known, err := w.sink(ctx, unseen)
	w.known += known
	return fresh, err
}

func (w *Walk) younger(r genesys.Recording) bool {
	t, ok := genesys.ParseTime(r.DateCreated)
	return ok && t.After(w.start)
}

// missing is how many recordings Genesys counts beyond those that were shown,
// by the listing or by the summary. Neither count is documented to be exact; each is
// taken at its lowest, and deletions under way may still be counted.
func (w *Walk) missing(ctx context.Context) (int64, error) {
	w.Unreadable, w.Total = w.unreadable, w.last
	shown, counted := w.Listed+int64(w.unreadable), int64(0)
	if w.first != nil && w.last != nil {
		counted = min(*w.first, *w.last)
	}
	if before := w.Summary; before != nil && *before > shown {
		if err := w.summary(ctx); err != nil {
			return 0, err
		}
		if now := w.Summary; now != nil {
			counted = max(counted, min(*before, *now))
		}
	}
	if counted <= shown {
		return 0, nil
	}
	err := w.a.eachLive(ctx, w.in, w.saw, func(e state.KeyedEntry) error {
		if e.Entry.State == state.StateDeleteRequested {
			counted--
		}
		return nil
	})
	return max(0, counted-shown), err
}

// believe judges the walk that just reached its end. The first is believed where
// nothing contradicts it: the total stood still, as many distinct recordings came,
// and none that Genesys counts or the ledger knows is missing. A repeat is believed
// where it found nothing that should have been there before.
func (w *Walk) believe(ctx context.Context) bool {
	if w.Walks > 1 && w.newOld == 0 {
		return true
	}
	steady := w.first != nil && w.last != nil && *w.first == *w.last
	if !steady || w.distinct < *w.last || w.Missing > 0 {
		return false
	}
	inbox, err := w.a.Ledger.Inbox(ctx, w.in.Org, w.in.ID)
	return err == nil && w.known >= live(inbox)
}

// saw reports whether the recording was listed.
func (w *Walk) saw(id string) bool {
	_, ok := w.seen[maphash.String(w.seed, id)]
	return ok
}
