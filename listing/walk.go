// Package listing lists the recordings of one inbox until the listing proves itself
// complete. Pages shift while recordings arrive and vanish, some listings leave out
// recordings beyond a depth or a size, and one recording can make its page fail. A Walk says
// what it saw, and whether that is everything.
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

// The bounds of a listing.
const (
	MaxRepeats  = 3  // walks after the first before the inbox counts as incomplete
	MaxRestarts = 5  // of one walk, for a page size that changes
	MaxIdle     = 10 // pages without a new recording that still claim a next one
)

// errRestart says that a walk's pages don't belong together. errSmaller says that the pages
// are asked for in a smaller form from now on, which happens a bounded number of times.
var (
	errRestart = errors.New("the page size changed during the listing")
	errSmaller = errors.New("the listing is too large as it was asked for")
)

// Inbox is the inbox to list.
type Inbox struct {
	Org, ID  string
	API      api
	PageSize int // recordings on a page
}

type api interface {
	Recordings(ctx context.Context, p genesys.ListParams) (*genesys.Listing, error)
	Summary(ctx context.Context) (*genesys.Summary, error)
}

type ledger interface {
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error)
}

// Walk lists one inbox. Its exported fields say what List found; they are valid once List
// has returned.
type Walk struct {
	Listed     int64  // recordings shown
	Walks      int    // through the whole listing
	Believed   bool   // the walk saw everything that the listing shows
	Complete   bool   // Believed, and the listing showed all recordings that Genesys counts
	Missing    int64  // recordings that Genesys counts and did not show
	Summary    *int64 // recordings by the inbox's summary, if it said
	Total      *int64 // recordings by the last walk's last page, if it said
	Unreadable int    // recordings without an id, in the last walk
	Known      int64  // of the recordings shown, how many the ledger expected to be listed
	Expanded   bool   // the recordings have their conversations

	in     Inbox
	ledger ledger
	log    *slog.Logger
	again  func(error)
	stop   context.Context // once it ends, no page is requested
	start  time.Time
	sink   Sink
	seed   maphash.Seed
	seen   map[uint64]uint8 // hash of every recording listed → the last walk that saw it
	number uint8            // of the present walk

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

// Sink takes the recordings of a page that the Walk has not shown before, and returns how
// many of them the ledger expected to be listed: see state.State.Expected.
type Sink func(ctx context.Context, page []genesys.Recording) (known int64, err error)

// New prepares a walk through an inbox. Once stop ends, the walk asks for no further page.
// It calls again before it repeats a request that failed.
func New(stop context.Context, in Inbox, l ledger, log *slog.Logger, again func(error)) *Walk {
	return &Walk{
		in: in, ledger: l, log: log, again: again, stop: stop, start: time.Now().UTC(),
		seed: maphash.MakeSeed(), seen: map[uint64]uint8{}, Expanded: true,
	}
}

// List lists the inbox until a walk is believed, or three repeats were not. It gives sink
// each recording once. If the pages show fewer recordings than Genesys counts, List asks
// for pages of half the size: some listings hold back what lies beyond a depth or a size.
// The error is what ended a walk early; sink has had the recordings seen until then. The
// error is failure.ErrPartial if the listing began well.
func (w *Walk) List(ctx context.Context, sink Sink) error {
	if err := w.summary(ctx); err != nil {
		return err
	}
	w.sink = sink
	for restarts := 0; w.Walks <= MaxRepeats; {
		err := w.once(ctx)
		if errors.Is(err, errSmaller) {
			continue
		}
		if errors.Is(err, errRestart) {
			if restarts++; restarts > MaxRestarts {
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
			w.Believed, w.Complete = true, w.Missing == 0
			return nil
		}
		if w.Missing > 0 {
			w.in.PageSize = max(1, w.size/2)
		}
	}
	return nil
}

// summary asks for the inbox's own count: a cross-check for the reader of the
// log, since neither it nor the listing's total is documented to be exact.
func (w *Walk) summary(ctx context.Context) error {
	var s *genesys.Summary
	err := failure.Retry(ctx, w.again, func() (err error) { s, err = w.in.API.Summary(ctx); return err })
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
	idle := 0
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
			w.size, w.first = cmp.Or(l.PageSize, w.in.PageSize), l.Total
		} else if l.PageSize != 0 && l.PageSize != w.size {
			return errRestart
		}
		w.last = l.Total
		w.unreadable += l.Unreadable
		fresh, err := w.take(ctx, l.Recordings)
		if err != nil {
			return err
		}
		if idle++; fresh > 0 {
			idle = 0
		}
		if !more(l, page, w.size) || idle >= MaxIdle {
			return w.split(ctx)
		}
	}
}

// A brokenPage is a page of the listing, from 1, that Genesys did not show.
type brokenPage struct {
	page int
	err  error
}

// error returns the page's error. If earlier pages were shown, the error names the page.
func (b brokenPage) error() error {
	if b.page == 1 || errors.Is(b.err, errSmaller) {
		return b.err
	}
	return &pageError{b}
}

// A pageError says at which page a listing broke off after earlier pages were shown.
type pageError struct{ brokenPage }

func (e *pageError) Error() string {
	return fmt.Sprintf("page %d of the listing: %v", e.page, e.err)
}

func (e *pageError) Unwrap() error { return e.err }

// Is reports true for failure.ErrPartial.
func (e *pageError) Is(target error) bool { return target == failure.ErrPartial }

// more reports whether a page says that another follows. An empty page ends the listing,
// whatever it says. A page count may lag behind the total.
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

// page gets one page. If the reply is too large, it chooses a smaller form for all pages from
// then on, and returns errSmaller to start the walk again.
func (w *Walk) page(ctx context.Context, number int) (*genesys.Listing, error) {
	l, err := w.ask(ctx, w.in.PageSize, number, w.inRow > 0)
	if err == nil || !tooLarge(err) {
		return l, err
	}
	switch {
	case w.Expanded:
		w.Expanded = false
	case w.in.PageSize > 1:
		w.in.PageSize /= 2
	default:
		return nil, err
	}
	w.log.Info("the listing is too large, asking for less", "expand", w.Expanded, "page_size", w.in.PageSize)
	return nil, errSmaller
}

// ask gets one page of a size. If hasty, it does not retry an error that a recording on the
// page may cause.
func (w *Walk) ask(ctx context.Context, size, number int, hasty bool) (l *genesys.Listing, err error) {
	params := genesys.ListParams{PageSize: size, PageNumber: number}
	if w.Expanded {
		params.Expand = []string{"conversation"}
	}
	var broken error
	err = failure.Retry(ctx, w.again, func() (err error) {
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
	e := genesys.AsError(err)
	return e != nil &&
		(e.Code == "response.entity.too.large" || e.Status == http.StatusRequestEntityTooLarge || errors.Is(err, genesys.ErrTooLarge))
}

// take marks a page's recordings as seen, gives the new ones to the sink, and counts those
// that are new in this walk.
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
	w.Known += known
	return fresh, err
}

func (w *Walk) younger(r genesys.Recording) bool {
	t, ok := genesys.ParseTime(r.DateCreated)
	return ok && t.After(w.start)
}

// missing returns how many more recordings Genesys counts than were shown, by the listing or
// by the summary. Neither count is documented to be exact, and both may still count deletions
// under way: the lowest value of each is used.
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
	live := func(after string, limit int) ([]state.KeyedEntry, error) {
		return w.ledger.Live(ctx, w.in.Org, w.in.ID, after, limit, w.Saw)
	}
	err := state.Each(live, func(e state.KeyedEntry) error {
		if e.Entry.State == state.StateDeleteRequested {
			counted--
		}
		return nil
	})
	return max(0, counted-shown), failure.OfLedger(err)
}

// believe reports whether the walk that has just ended saw everything that the listing shows.
// A repeated walk did if every recording that only it saw is younger than the Walk. Any walk
// did if its first and its last page name one total, it saw that many recordings, and none is
// missing that Genesys counts or the ledger expects.
func (w *Walk) believe(ctx context.Context) bool {
	if w.Walks > 1 && w.newOld == 0 {
		return true
	}
	steady := w.first != nil && w.last != nil && *w.first == *w.last
	if !steady || w.distinct < *w.last || w.Missing > 0 {
		return false
	}
	inbox, err := w.ledger.Inbox(ctx, w.in.Org, w.in.ID)
	return err == nil && w.Known >= inbox.Expected()
}

// Saw reports whether the recording was listed.
func (w *Walk) Saw(id string) bool {
	_, ok := w.seen[maphash.String(w.seed, id)]
	return ok
}
