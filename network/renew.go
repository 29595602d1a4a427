package network

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

// Transport is an http.RoundTripper that keeps the promises of the package. It is safe for
// concurrent use. The caller closes its idle connections.
type Transport struct {
	caFile string
	build  func(*x509.CertPool) *http.Transport

	renewing sync.Mutex
	pem      []byte // content of caFile when it was last read
	current  atomic.Pointer[http.Transport]
}

// RoundTrip implements http.RoundTripper. If a host's certificate is refused, it reads
// CAFile again, and repeats the request if the file has changed. A request whose body
// cannot be sent again fails this once.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	used := t.current.Load()
	resp, err := used.RoundTrip(req)
	if _, refused := errors.AsType[*tls.CertificateVerificationError](err); !refused || !t.renew(used) {
		return resp, err
	}
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, err
		}
		body, failed := req.GetBody()
		if failed != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
	return t.current.Load().RoundTrip(req)
}

// renew reads CAFile again, and reports whether its authorities differ from those used.
func (t *Transport) renew(used *http.Transport) bool {
	if t.caFile == "" {
		return false
	}
	t.renewing.Lock()
	defer t.renewing.Unlock()
	if t.current.Load() != used {
		return true // another request has renewed it
	}
	pem, err := os.ReadFile(t.caFile)
	if err != nil || bytes.Equal(pem, t.pem) || t.read(pem) != nil {
		return false
	}
	used.CloseIdleConnections()
	return true
}

// read adds the authorities in pem, the content of CAFile, to the system's.
func (t *Transport) read(pem []byte) error {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return fmt.Errorf("load the system's roots: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read CA file: %s holds no certificate in PEM", t.caFile)
	}
	t.pem = pem
	t.current.Store(t.build(roots))
	return nil
}

// Current returns the transport with the authorities last read.
func (t *Transport) Current() *http.Transport { return t.current.Load() }

// CloseIdleConnections closes connections that no request uses.
func (t *Transport) CloseIdleConnections() { t.current.Load().CloseIdleConnections() }
