// Package network makes the HTTP transports with which archiverd reaches other hosts.
//
// What it promises of every connection:
//
//   - It speaks HTTP/1.1, over TLS 1.2 or later where the URL is https, so that a connection carries one request at a time.
//   - It is cut once nothing has moved on it, in either direction, for the idle timeout. There is no limit on a
//     transfer as a whole: a slow one that moves goes on.
//   - With PublicOnly it leads to no address of this machine, this network or any other private place, whatever a name
//     resolves to: the address is judged when it is dialled. Behind a proxy, which does the dialling, the request's host is
//     resolved and judged before the proxy hears of it.
//
// Proxies are those of the usual environment variables (HTTP_PROXY, HTTPS_PROXY, NO_PROXY).
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

// Options says how to dial. The zero value dials anything.
type Options struct {
	CAFile      string        // PEM; added to the system's roots, and read again where a certificate is refused
	IdleTimeout time.Duration // a connection on which nothing moves, in either direction, for this long is cut; 0: 60 s
	Moved       func()        // told whenever bytes move on a connection; may be nil
	PublicOnly  bool          // refuse loopback, link-local, private, shared (CGNAT), multicast, reserved and unspecified addresses, also where IPv6 embeds them...
	Allow       []string      // ...unless in one of these CIDRs (or equal to one of these addresses), or the host dialled is one of these names

	// Dial opens connections instead of a net.Dialer: a network of its own, as one in memory is. What it dials is not judged.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// NewTransport returns a transport. The error is about CAFile or Allow.
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

// transport is net/http's, which takes the system's authorities where roots is nil.
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

// route decides for each request whether a proxy carries it, and dials. Every request's target is judged exactly where
// it can be: in dial, by the address; or in choose, by name, if dial will only see the proxy.
type route struct {
	guard   *guard
	proxy   proxyFunc
	proxies map[string]bool // host:port of the environment's proxies, the only addresses that dial does not judge
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

// proxyAddrs asks once which proxies the environment names: one for http at most, and one for https.
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

// hostPort is what http.Transport dials for u.
func hostPort(u *url.URL) string {
	ports := map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), ports[u.Scheme]))
}
