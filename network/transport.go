// Package network makes the HTTP transports with which archiverd reaches other hosts.
//
// It promises for every connection:
//
//   - The connection uses HTTP/1.1, so that it carries one request at a time, and TLS 1.2 or later for an https URL.
//   - The connection is cut once no byte has moved on it, in either direction, for the idle timeout. There is no limit on
//     the time of a whole transfer: a slow transfer continues.
//   - With PublicOnly the connection never leads to an address of this machine, this network or another private network,
//     whatever a name resolves to: the address is checked when it is dialled. If a proxy dials, the request's host is
//     resolved and checked before the request reaches the proxy.
//
// The usual environment variables name the proxies (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
package network

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	defaultIdleTimeout = 60 * time.Second
	dialTimeout        = 30 * time.Second
	idlePerHost        = 64 // more than the workers that talk to one host
	maxHeaderBytes     = 256 << 10
)

// Options says how to dial. The zero value dials any address.
type Options struct {
	CAFile      string        // PEM; added to the system's roots, and read again when a certificate is refused
	IdleTimeout time.Duration // a connection on which no byte moves, in either direction, for this long is cut; 0: 60 s
	Moved       func()        // called whenever bytes move on a connection; may be nil
	PublicOnly  bool          // refuse loopback, link-local, private, shared (CGNAT), multicast, reserved and unspecified addresses, also embedded in IPv6
	Allow       []string      // exceptions from PublicOnly: CIDRs, addresses, and names of hosts

	// Dial opens connections instead of a net.Dialer, for example in memory. Its connections are not checked by PublicOnly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewTransport returns a transport. It fails if CAFile or Allow is faulty.
func NewTransport(o Options) (*Transport, error) {
	return newTransport(o, http.ProxyFromEnvironment)
}

type proxyFunc func(*http.Request) (*url.URL, error)

func newTransport(o Options, proxy proxyFunc) (*Transport, error) {
	g, err := newGuard(o)
	if err != nil {
		return nil, err
	}
	idle := cmp.Or(o.IdleTimeout, defaultIdleTimeout)
	r := &route{guard: g, proxy: proxy, proxies: proxyAddrs(proxy), idle: idle, moved: o.Moved, open: o.Dial}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &Transport{caFile: o.CAFile, build: func(roots *x509.CertPool) *http.Transport { return r.transport(roots, &protocols) }}
	if o.CAFile == "" {
		t.current.Store(t.build(nil))
		return t, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read CA file: %w", err)
	}
	return t, t.read(pem)
}

// transport returns a transport of net/http. With roots nil it uses the system's authorities.
func (r *route) transport(roots *x509.CertPool, protocols *http.Protocols) *http.Transport {
	return &http.Transport{
		Proxy:                  r.choose,
		DialContext:            r.dial,
		Protocols:              protocols,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    r.idle,
		MaxIdleConns:           2 * idlePerHost,
		MaxIdleConnsPerHost:    idlePerHost,
		IdleConnTimeout:        r.idle / 2, // so that no request starts on a connection about to be cut
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
}

// route decides for each request whether it goes through a proxy, and dials. It checks a request's target in dial, by the
// address, or in choose, by the host's name, if dial gets only the address of the proxy.
type route struct {
	guard   *guard
	proxy   proxyFunc
	proxies map[string]bool // host:port of the environment's proxies, the only addresses that dial does not check
	idle    time.Duration
	moved   func()
	open    func(ctx context.Context, network, address string) (net.Conn, error) // nil: a net.Dialer's
}

func (r *route) choose(req *http.Request) (*url.URL, error) {
	p, err := r.proxy(req)
	if err != nil { // its text holds the proxy's URL, and with it a password
		return nil, errors.New("choose proxy: the environment names no valid proxy address")
	}
	if p != nil || r.proxies[hostPort(req.URL)] {
		if err := r.guard.judgeHost(req.Context(), req.URL.Hostname()); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (r *route) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, min(dialTimeout, r.idle))
	defer cancel()
	open := r.open
	if open == nil {
		var d net.Dialer
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if !r.proxies[addr] && !r.guard.allowsHost(host) {
			d.ControlContext = r.guard.control
		}
		open = d.DialContext
	}
	c, err := open(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return newIdleConn(c, r.idle, r.moved)
}

// proxyAddrs returns the addresses of the proxies in the environment: at most one for http, and one for https.
func proxyAddrs(proxy proxyFunc) map[string]bool {
	addrs := map[string]bool{}
	for _, scheme := range []string{"http", "https"} {
		p, err := proxy(&http.Request{URL: &url.URL{Scheme: scheme, Host: "any.invalid"}})
		if err == nil && p != nil {
			addrs[hostPort(p)] = true
		}
	}
	return addrs
}

// hostPort returns the address that http.Transport dials for u.
func hostPort(u *url.URL) string {
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), ports[u.Scheme]))
}
