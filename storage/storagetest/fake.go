package storagetest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// Fake starts gofakes3 for a test: see [StartFake].
func Fake(t testing.TB, wrap ...func(http.Handler) http.Handler) *Server {
	t.Helper()
	return run(t, func() (*Server, error) { return StartFake(wrap...) })
}

// StartFake starts gofakes3 in this process, in memory. Each wrap encloses the
// server, the last one outermost. With a wrap a test makes requests fail, before or
// after their effect.
func StartFake(wrap ...func(http.Handler) http.Handler) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return ServeFake(l, (&net.Dialer{}).DialContext, wrap...), nil
}

// ServeFake is StartFake on a given listener, with the transport that reaches it.
func ServeFake(l net.Listener, dial func(ctx context.Context, network, address string) (net.Conn, error), wrap ...func(http.Handler) http.Handler) *Server {
	// gofakes3's own limit on metadata counts all headers, not only the user's.
	handler := gofakes3.New(s3mem.New(), gofakes3.WithMetadataSizeLimit(0)).Server()
	for _, w := range wrap {
		handler = w(handler)
	}
	s := newServer("gofakes3", l.Addr().String(), Capabilities{ConditionalVersions: true, AbortedUploads: true, UploadsListed: true, Echoes: true})
	s.transport.DialContext = dial
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	s.close = func() error {
		err := srv.Close()
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return err
	}
	return s
}
