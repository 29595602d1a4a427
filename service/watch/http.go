package watch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/archiverd/archiverd/service"
)

// Server answers at http.listen: /metrics, /healthz, /readyz, the status page and,
// if configured, /debug/pprof/. It asks for no password: it shows nothing secret and
// changes nothing, and on loopback it answers only requests for a loopback host name.
type Server struct {
	listener net.Listener
	handler  http.Handler
	log      *slog.Logger
}

// Options say what a Server shows.
type Options struct {
	Metrics *Metrics
	Ready   func(context.Context) error // why the service is not ready, or nil
	Page    http.Handler                // the status page; nil: no page
	Pprof   bool
	Log     *slog.Logger
}

// Listen opens the address. Serve answers.
func Listen(address string, o Options) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on http.listen: %w: stop the program that uses the address, set another http.listen, or set it to \"\" to turn metrics and status page off", err)
	}
	return &Server{listener: l, handler: guard(l.Addr(), o.Log, routes(o)), log: o.Log}, nil
}

// Addr is where the Server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// closeGrace is how long requests under way may take at the end.
const closeGrace = 2 * time.Second

// Serve answers until ctx ends, and returns when the address is free again.
func (s *Server) Serve(ctx context.Context) {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      90 * time.Second, // a CPU profile takes 30 s
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	var closing sync.WaitGroup
	closing.Go(func() {
		<-ctx.Done()
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
		defer cancel()
		if srv.Shutdown(limited) != nil {
			_ = srv.Close() // cut off requests that did not end
		}
	})
	if err := srv.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		s.log.Error("metrics and status page are not served any more", "error", err)
	}
	closing.Wait()
}

func routes(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: 4, Timeout: 30 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if err := o.Ready(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if o.Page != nil {
		mux.Handle("GET /{$}", o.Page)
		mux.Handle("GET /inboxes", o.Page)
		mux.Handle("GET /page.css", o.Page)
		mux.Handle("GET /page.js", o.Page)
	}
	if o.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// guard keeps other sites from reading the answers through the browser of a user of
// this page: by a frame, by a script, or by a host name of theirs that resolves to
// loopback. A panic is answered with status 500 and logged.
func guard(at net.Addr, log *slog.Logger, next http.Handler) http.Handler {
	loopback := isLoopback(at.String())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				log.Error("a request hit a bug in archiverd: please report it", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				http.Error(w, "a bug in archiverd; its log says more", http.StatusInternalServerError)
			}
		}()
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if loopback && !isLoopback(r.Host) {
			http.Error(w, "archiverd listens on loopback: ask for it as localhost or 127.0.0.1", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether a host, with or without a port, is a name of loopback.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// lateBy is how long after its time a run must have started: otherwise the schedule is
// not kept.
const lateBy = 5 * time.Minute

// Ready returns the check of /readyz: the ledger can be read, and the schedule is kept.
// Genesys and the store are not checked: a restart does not help if they are down.
func Ready(l inboxLister, status func() service.Status) func(context.Context) error {
	return func(ctx context.Context) error {
		if _, err := l.Inboxes(ctx, ""); err != nil {
			return err
		}
		if s := status(); time.Since(s.Next) > lateBy {
			return fmt.Errorf("the schedule is not kept: a run was due at %s", s.Next.Format(time.RFC3339))
		}
		return nil
	}
}
