package archiver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"

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

// walker walks an inbox's pages. Pages shift while recordings arrive and vanish,
// so a walk proves nothing by its end alone: see believed.
type walker struct {
	*pass
	sink     func(ctx context.Context, page []genesys.Recording) error
	pageSize int // asked for
	number   uint8

	// of the present walk
	size        int // of its pages, by the replies
	distinct    int64
	unreadable  int    // entities without an id
	first, last *int64 // total by the first and the last page
	broken      []brokenPage
	inRow       int   // broken pages since the last good one
	gaps        []gap // that the broken pages leave
	newOld      int   // recordings no walk of this pass saw before, older than the pass
}

// walk lists the inbox, handing each recording to sink once, until a walk is
// believed or three repeats were not. Pages that show fewer recordings than Genesys
// counts are asked for in halves: some listings hold back what is beyond a depth, or
// beyond a size. It fails with what stopped a walk; what was seen before has reached sink.
func (p *pass) walk(ctx context.Context, sink func(context.Context, []genesys.Recording) error) error {
	if err := p.summary(ctx); err != nil {
		return err
	}
	w := &walker{pass: p, sink: sink, pageSize: p.in.PageSize}
	p.expanded = true
	for restarts := 0; p.record.Walks <= maxRepeats; {
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
		p.record.Walks++
		if len(w.gaps) > 0 {
			return w.gapsError(ctx)
		}
		if p.record.Missing, err = w.missing(ctx); err != nil {
			return err
		}
		if w.believed(ctx) {
			p.believed, p.record.Complete = true, p.record.Missing == 0
			return nil
		}
		if p.record.Missing > 0 {
			w.pageSize = max(1, w.size/2)
		}
	}
	return nil
}

// summary asks for the inbox's own count: a cross-check for the reader of the
// log, since neither it nor the listing's total is documented to be exact.
func (p *pass) summary(ctx context.Context) error {
	var s *genesys.Summary
	err := p.retry(ctx, func() (err error) { s, err = p.in.API.Summary(ctx); return err })
	if err != nil {
		if failsPass(err) || temporary(err) {
			return err
		}
		p.log.Warn("no summary of the inbox", ErrorAttr(err))
		return nil
	}
	if p.summarized = s.TotalCount; s.TotalCount != nil {
		p.log.Debug("summary", "total", *s.TotalCount)
	}
	return nil
}

// once walks all pages.
func (w *walker) once(ctx context.Context) error {
	w.number++
	w.size, w.distinct, w.unreadable, w.newOld, w.first, w.last = 0, 0, 0, 0, nil, nil
	w.broken, w.inRow, w.gaps = nil, 0, nil
	barren := 0
	for page := 1; ; page++ {
		if err := w.stopped(); err != nil {
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

// halfway tells that a part of the listing was shown.
func halfway(err error) bool {
	var page *pageError
	var gaps *gapError
	return errors.As(err, &page) || errors.As(err, &gaps)
}

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
// for the rest of the pass and asks for the walk to begin again.
func (w *walker) page(ctx context.Context, number int) (*genesys.Listing, error) {
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
func (w *walker) ask(ctx context.Context, size, number int, hasty bool) (l *genesys.Listing, err error) {
	params := genesys.ListParams{PageSize: size, PageNumber: number}
	if w.expanded {
		params.Expand = []string{"conversation"}
	}
	var broken error
	err = w.retry(ctx, func() (err error) {
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

// take marks a page's recordings as seen, hands those that are new in this pass to
// the sink and counts those that are new in this walk.
func (w *walker) take(ctx context.Context, page []genesys.Recording) (fresh int, err error) {
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
			if !w.youngerThanPass(r) {
				w.newOld++
			}
		}
	}
	w.count(func(r *state.Pass) { r.Listed += int64(len(unseen)) })
	if len(unseen) == 0 {
		return fresh, nil
	}
	return fresh, w.sink(ctx, unseen)
}

func (w *walker) youngerThanPass(r genesys.Recording) bool {
	t, ok := genesys.ParseTime(r.DateCreated)
	return ok && t.After(w.record.Start)
}

// missing is how many recordings Genesys counts beyond those that the pass was shown,
// by the listing or by the summary. Neither count is documented to be exact; each is
// taken at its lowest, and deletions under way may still be counted.
func (w *walker) missing(ctx context.Context) (int64, error) {
	w.pass.unreadable, w.pass.total = w.unreadable, w.last
	shown, counted := w.record.Listed+int64(w.unreadable), int64(0)
	if w.first != nil && w.last != nil {
		counted = min(*w.first, *w.last)
	}
	if before := w.summarized; before != nil && *before > shown {
		if err := w.summary(ctx); err != nil {
			return 0, err
		}
		if now := w.summarized; now != nil {
			counted = max(counted, min(*before, *now))
		}
	}
	if counted <= shown {
		return 0, nil
	}
	err := w.eachLive(ctx, w.saw, func(e state.KeyedEntry) error {
		if e.Entry.State == state.StateDeleteRequested {
			counted--
		}
		return nil
	})
	return max(0, counted-shown), err
}

// believed judges the walk that just reached its end. The first is believed where
// nothing contradicts it: the total stood still, as many distinct recordings came,
// and none that Genesys counts or the ledger knows is missing. A repeat is believed
// where it found nothing that should have been there before.
func (w *walker) believed(ctx context.Context) bool {
	if w.record.Walks > 1 && w.newOld == 0 {
		return true
	}
	steady := w.first != nil && w.last != nil && *w.first == *w.last
	if !steady || w.distinct < *w.last || w.record.Missing > 0 {
		return false
	}
	inbox, err := w.Ledger.Inbox(ctx, w.in.Org, w.in.ID)
	return err == nil && w.known >= live(inbox)
}

// saw tells whether any walk of this pass listed the recording.
func (p *pass) saw(id string) bool {
	_, ok := p.seen[maphash.String(p.seed, id)]
	return ok
}
