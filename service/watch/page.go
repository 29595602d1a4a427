package watch

import (
	"bytes"
	"context"
	"embed"
	"html/template"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/tally"
	"github.com/archiverd/archiverd/workers"
)

//go:embed page
var assets embed.FS

// pageLedger is what the page asks of a ledger.
type pageLedger interface {
	ledger
	Runs(ctx context.Context, limit int) ([]state.Run, error)
	Waiting(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error)
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error)
}

// PageOptions say what the page shows. All but Team are required; the functions are called
// for each picture.
type PageOptions struct {
	Ledger   pageLedger
	Version  string
	Status   func() service.Status
	Progress func() *tally.Tally // of the run under way, or the last one
	Deletion func() archiver.Deletion
	Zone     func() *time.Location // in which people read times
	// Team returns what the processes are doing that share the ledger; nil: it is a file.
	Team func(context.Context) (workers.Team, error)
}

// Page is the status page. It needs no JavaScript; with it, it renews itself.
type Page struct {
	o        PageOptions
	template *template.Template
	drawing  sync.Mutex // one picture at a time: many viewers must not slow down a run
}

// NewPage returns the status page.
func NewPage(o PageOptions) *Page {
	p := &Page{o: o}
	p.template = template.Must(template.New("page.html").Funcs(template.FuncMap{
		"time": p.stamp, "bytes": bytesText, "number": Number[int64], "count": Number[int], "took": tookText, "holds": Holds, "words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}).ParseFS(assets, "page/*.html"))
	return p
}

// ServeHTTP answers for /, for /inboxes, which lists every inbox, and for the two files
// that both need.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	draw := p.picture
	switch r.URL.Path {
	case "/":
	case "/inboxes":
		draw = p.inboxes
	default:
		http.ServeFileFS(w, r, assets, "page"+r.URL.Path)
		return
	}
	body, err := draw(r.Context(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body) // the viewer is gone
}

func (p *Page) picture(ctx context.Context, now time.Time) ([]byte, error) {
	p.drawing.Lock()
	defer p.drawing.Unlock()
	v, err := p.view(ctx, now)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.template.Execute(&b, v)
	return b.Bytes(), err
}

// inboxes draws every inbox as it is at the moment. This page does not renew itself: it
// is as long as there are inboxes.
func (p *Page) inboxes(ctx context.Context, now time.Time) ([]byte, error) {
	p.drawing.Lock()
	defer p.drawing.Unlock()
	inboxes, err := p.o.Ledger.Inboxes(ctx, "")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	zone := p.o.Zone()
	err = p.template.ExecuteTemplate(&b, "inboxes.html", view{Now: now.In(zone), Zone: zone.String(), Overview: NewOverview(inboxes, now)})
	return b.Bytes(), err
}
