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
)

//go:embed page
var assets embed.FS

// pageLedger is implemented by *bolt.Ledger.
type pageLedger interface {
	ledger
	Runs(ctx context.Context, limit int) ([]state.Run, error)
	Waiting(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error)
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error)
}

// PageOptions say what the page shows. All are required; the functions are called each
// time that the page is made.
type PageOptions struct {
	Ledger   pageLedger
	Version  string
	Status   func() service.Status
	Progress func() *archiver.Progress // of the run under way, or the last one
	Deletion func() archiver.Deletion
	Zone     func() *time.Location // in which people read times
}

// Page is the status page. It needs no JavaScript; with it, it renews itself.
type Page struct {
	o        PageOptions
	template *template.Template
	making   sync.Mutex // one page at a time: many viewers must not slow down a run
}

// NewPage returns the status page.
func NewPage(o PageOptions) *Page {
	p := &Page{o: o}
	p.template = template.Must(template.New("page.html").Funcs(template.FuncMap{
		"time": p.stamp, "bytes": bytesText, "took": tookText, "words": func(s string) string { return strings.ReplaceAll(s, "_", " ") },
	}).ParseFS(assets, "page/page.html"))
	return p
}

// ServeHTTP answers for / and for the two files that the page needs.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.ServeFileFS(w, r, assets, "page"+r.URL.Path)
		return
	}
	body, err := p.render(r.Context(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body) // on an error, the browser is gone
}

func (p *Page) render(ctx context.Context, now time.Time) ([]byte, error) {
	p.making.Lock()
	defer p.making.Unlock()
	v, err := p.view(ctx, now)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = p.template.Execute(&b, v)
	return b.Bytes(), err
}
