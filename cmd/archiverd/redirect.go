package main

import (
	"cmp"
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

// redirectListener listens at the address to which Genesys sends the browser after a login.
type redirectListener struct {
	net.Listener
	path string
}

// listenForRedirect listens at a redirect URL, which has to be on loopback.
func listenForRedirect(redirectURL string) (*redirectListener, error) {
	u, err := url.Parse(redirectURL)
	if err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "http" || u.Hostname() != "localhost" && (err != nil || !addr.IsLoopback()) {
		return nil, fmt.Errorf("redirect_url %s is not an http address of this machine, so archiverd can't listen there: use --no-browser", redirectURL)
	}
	port := cmp.Or(u.Port(), "80")
	l, err := net.Listen("tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("listen for the redirect: %w; stop the program that uses the port, or use --no-browser", err)
	}
	return &redirectListener{l, cmp.Or(u.Path, "/")}, nil
}

var redirectPage = template.Must(template.New("").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>archiverd</title>
<body style="font: 1.1rem/1.5 sans-serif; max-width: 36rem; margin: 4rem auto; padding: 0 1rem"><h1>archiverd</h1><p>{{.}}</p>
`))

// serve calls take with the query of each redirect, and shows take's text in the browser. Redirects for which take returns
// ErrNotThisLogin are ignored; the first other one ends the login, and serve returns its error.
func (l *redirectListener) serve(ctx context.Context, take func(url.Values) (text string, err error)) error {
	var one sync.Mutex
	over := make(chan error, 1)
	done := false
	s := &http.Server{
		ReadTimeout: 10 * time.Second,
		ErrorLog:    log.New(io.Discard, "", 0), // it would log clients' mistakes
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
	closing, cancel := context.WithTimeout(context.Background(), 5*time.Second) // enough to send the page
	defer cancel()
	_ = s.Shutdown(closing)
	<-served
	return err
}

// showPage shows one sentence. The page's address contains the authorization code, so the browser must not send it to
// another page as referrer.
func showPage(w http.ResponseWriter, status int, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close")
	w.WriteHeader(status)
	_ = redirectPage.Execute(w, text) // the browser may be gone
}
