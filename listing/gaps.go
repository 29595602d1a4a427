package listing

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
)

// The bounds of the requests that broken pages cause.
const (
	MaxBroken = 3   // this many broken pages in a row mean that the service is down
	MaxParts  = 100 // smaller pages requested in place of broken ones, in one walk
	MaxNamed  = 5   // gaps described in an error
)

// A gap is a stretch of the listing that Genesys fails to show.
type gap struct {
	from, size int // recordings; the first of the listing is 0
	page       int // size of the page that failed to show them
	err        error
}

// A gapError says that the listing was complete except for some gaps. It does not wrap the
// gaps' errors: a gap that stays is no failure of the service.
type gapError struct{ text string }

func (e *gapError) Error() string { return e.text }

// Is reports true for failure.ErrPartial.
func (e *gapError) Is(target error) bool { return target == failure.ErrPartial }

// errOtherPart says that Genesys showed pages of another size than was asked for, and so
// perhaps another part.
var errOtherPart = errors.New("the listing has pages of another size")

// breaksPage reports whether one recording on a page may cause this error of the page.
func breaksPage(err error) bool {
	e := genesys.AsError(err)
	if e == nil || e.Op != "get_userrecordings" {
		return false
	}
	switch e.Status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return e.Status/100 == 2 // a good status with an unreadable body
}

// passOver leaves a broken page to split. After MaxBroken in a row it returns the first one's
// error: the service is down, or it refuses all pages beyond a depth. If that error is not
// temporary it calls split first: smaller pages may reach further.
func (w *Walk) passOver(ctx context.Context, page int, err error) error {
	w.broken = append(w.broken, brokenPage{page, err})
	if w.inRow++; w.inRow < MaxBroken {
		return nil
	}
	w.broken = w.broken[:len(w.broken)-MaxBroken+1]
	first := w.broken[len(w.broken)-1]
	if !failure.Temporary(first.err) && w.size > 0 {
		if err := w.split(ctx); err != nil {
			return err
		}
	}
	return first.error()
}

// split requests the broken pages in smaller and smaller parts, until each recording that
// breaks a page is alone on one. A part is a page of half the size, and may reach beyond the
// end of the larger page.
func (w *Walk) split(ctx context.Context) error {
	var todo []gap
	for _, b := range w.broken {
		todo = append(todo, gap{(b.page - 1) * w.size, w.size, w.size, b.err})
	}
	for asked := 0; len(todo) > 0; {
		whole := todo[0]
		todo = todo[1:]
		end, size := whole.from+whole.size, (whole.size+1)/2
		first, last := whole.from/size, (end-1)/size
		if whole.page == 1 || asked+last-first >= MaxParts {
			w.gaps = append(w.gaps, whole)
			continue
		}
		for n := first; n <= last; n++ {
			asked++
			err := w.takePart(ctx, n, size)
			if errors.Is(err, errOtherPart) {
				w.gaps = append(w.gaps, whole)
				break
			}
			if breaksPage(err) {
				from := max(whole.from, n*size)
				todo = append(todo, gap{from, min(end, n*size+size) - from, size, err})
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// takePart takes the nth page of a size, from 0. It does not retry a larger part that fails,
// because smaller parts follow.
func (w *Walk) takePart(ctx context.Context, n, size int) error {
	if err := failure.Stopped(w.stop); err != nil {
		return err
	}
	l, err := w.ask(ctx, size, n+1, size > 1)
	if err != nil {
		return err
	}
	w.unreadable += l.Unreadable
	if _, err := w.take(ctx, l.Recordings); err != nil {
		return err
	}
	if l.PageSize != 0 && l.PageSize != size {
		return errOtherPart
	}
	return nil
}

// gapsError describes the gaps by their places in the listing and their neighbours.
func (w *Walk) gapsError(ctx context.Context) error {
	var places []string
	gaps := joined(w.gaps)
	for _, g := range gaps[:min(len(gaps), MaxNamed)] {
		place := fmt.Sprintf("number %d", g.from+1)
		if g.size > 1 {
			place = fmt.Sprintf("numbers %d to %d", g.from+1, g.from+g.size)
		}
		if id := w.neighbour(ctx, g.from-1); id != "" {
			place += ", after recording " + id
		}
		if id := w.neighbour(ctx, g.from+g.size); id != "" {
			place += ", before recording " + id
		}
		places = append(places, fmt.Sprintf("%s: %v", place, g.err))
	}
	if more := len(gaps) - len(places); more > 0 {
		places = append(places, fmt.Sprintf("and %d more", more))
	}
	return &gapError{"Genesys fails to list some recordings; give its support these places of the inbox's listing and the correlation ids: " + strings.Join(places, "; ")}
}

// joined merges adjacent gaps.
func joined(gaps []gap) (all []gap) {
	slices.SortFunc(gaps, func(a, b gap) int { return a.from - b.from })
	for _, g := range gaps {
		if last := len(all) - 1; last >= 0 && all[last].from+all[last].size == g.from {
			all[last].size += g.size
		} else {
			all = append(all, g)
		}
	}
	return all
}

// neighbour returns the id of the recording at a place of the listing, or "".
func (w *Walk) neighbour(ctx context.Context, at int) string {
	if at < 0 {
		return ""
	}
	l, err := w.ask(ctx, 1, at+1, true)
	if err != nil || len(l.Recordings) != 1 {
		return ""
	}
	return l.Recordings[0].ID
}
