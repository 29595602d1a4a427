package main

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/archiverd/archiverd/genesys"
)

// redirectListener waits where Genesys sends the user's browser after a login.
type redirectListener struct {
	net.Listener
	path string
}

// listenForRedirect listens where a redirect URL leads, if that is this machine alone.
func listenForRedirect(redirectURL string) (*redirectListener, error) {
	u, err := url.Parse(redirectURL)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return nil, fmt.Errorf("redirect_url %s does not lead to http on this machine, so archiverd can't listen there: take --no-browser", redirectURL)
	}
	port := or(u.Port(), "80")
	l, err := net.Listen("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("listen for the redirect: %w; end what uses the port, or take --no-browser", err)
	}
	return &redirectListener{l, or(u.Path, "/")}, nil
}

var redirectPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>archiverd</title>
<body style="font: 1.1rem/1.5 sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem"><h1>archiverd</h1><p>{{.}}</p>
`))

// serve hands every answer to take, and its text to the browser, until take has taken one. An error that is not about the
// answer as such is taken too: with it the login is over.
func (l *redirectListener) serve(ctx context.Context, take func(url.Values) (text string, err error)) error {
	var one sync.Mutex
	over := make(chan error, 1)
	done := false
	s := &http.Server{
		ReadTimeout: 10 * time.Second,
		ErrorLog:    log.New(io.Discard, "", 0), // of clients' mistakes
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != l.path {
				http.NotFound(w, r)
				return
			}
			one.Lock()
			defer one.Unlock()
			if done {
				showPage(w, http.StatusConflict, "This login is over.")
				return
			}
			text, err := take(r.URL.Query())
			status := http.StatusOK
			if err != nil {
				status = http.StatusBadRequest
			}
			showPage(w, status, text)
			if done = !errors.Is(err, genesys.ErrNotThisLogin); done {
				over <- err
			}
		}),
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	var err error
	select {
	case err = <-over:
	case err = <-served:
		return fmt.Errorf("listen for the redirect: %w", err)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second) // a page takes no longer
	defer cancel()
	_ = s.Shutdown(closing)
	<-served
	return err
}

// showPage says one sentence. The address holds the code: no page that follows may see it.
func showPage(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	w.WriteHeader(status)
	_ = redirectPage.Execute(w, text) // a browser that has gone
}
