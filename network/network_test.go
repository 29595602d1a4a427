package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func transport(t *testing.T, o Options, proxy proxyFunc) *Transport {
	t.Helper()
	tr, err := newTransport(o, proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

// get returns the body, or the error.
func get(t *testing.T, tr http.RoundTripper, link string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", link, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestPublicOnly(t *testing.T) {
	sent := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { sent++; io.WriteString(w, "ok") }))
	defer s.Close()
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for _, tt := range []struct {
		host  string
		o     Options
		allow bool
	}{
		{"127.0.0.1", Options{}, true},
		{"127.0.0.1", Options{PublicOnly: true}, false},
		{"localhost", Options{PublicOnly: true}, false},
		{"[::ffff:127.0.0.1]", Options{PublicOnly: true}, false},
		{"127.0.0.1", Options{PublicOnly: true, Allow: []string{"127.0.0.0/8"}}, true},
		{"[::ffff:127.0.0.1]", Options{PublicOnly: true, Allow: []string{"127.0.0.0/8"}}, true},
		{"127.0.0.1", Options{PublicOnly: true, Allow: []string{"127.0.0.1"}}, true},
		{"127.0.0.1", Options{PublicOnly: true, Allow: []string{"127.0.0.2", "10.0.0.0/8", "localhost"}}, false},
		{"LocalHost", Options{PublicOnly: true, Allow: []string{"localhost."}}, true},
		{"localhost", Options{PublicOnly: true, Allow: []string{"127.0.0.1"}}, true}, // by the resolved address
		{"localhost", Options{PublicOnly: true, Allow: []string{"host"}}, false},
	} {
		before := sent
		body, err := get(t, transport(t, tt.o, noProxy), "http://"+tt.host+port+"/")
		if tt.allow && (err != nil || body != "ok") {
			t.Errorf("%s, %+v: %v", tt.host, tt.o, err)
		}
		var p interface{ Permanent() bool }
		if !tt.allow && (!errors.Is(err, ErrAddressRefused) || !errors.As(err, &p) || !p.Permanent() || sent != before) {
			t.Errorf("%s, %+v: %v, %d sent", tt.host, tt.o, err, sent-before)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, tt := range []struct {
		addrs  string
		public bool
	}{
		{"1.1.1.1 8.8.8.8 52.216.0.1 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 198.17.255.255 223.255.255.255", true},
		{"2606:4700:4700::1111 2a05:d018::1 64:ff9b::808:808 ::ffff:8.8.8.8 2001:4860:4860::8888", true},
		{"0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254 172.16.0.1 172.31.255.255 192.168.1.1", false},
		{"192.0.0.192 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255", false},
		{":: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 fe80::1 fe80::1%eth0 fec0::1 fc00::1 fd00:ec2::254 ff02::1", false},
		{"64:ff9b::a00:1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:db8::1 2002:7f00:1::1 2002:808:808::1 3fff::1 4000::1", false},
	} {
		g, err := newGuard(Options{PublicOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		for s := range strings.FieldsSeq(tt.addrs) {
			err := g.control(t.Context(), "tcp", net.JoinHostPort(s, "443"), nil)
			if (err == nil) != tt.public {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
	g, _ := newGuard(Options{PublicOnly: true})
	if err := g.control(t.Context(), "unix", "/run/x", nil); !errors.Is(err, ErrAddressRefused) {
		t.Errorf("text that is not an address: %v", err)
	}
}

func TestAllowIsChecked(t *testing.T) {
	for _, s := range []string{"", "10.0.0.0/33", "10.0.0/8", "host:443", "https://host", "a b"} {
		if _, err := NewTransport(Options{Allow: []string{s}}); err == nil {
			t.Errorf("%q accepted", s)
		}
	}
}

// proxyServer is an HTTP proxy on loopback that answers every request, or tunnels it to target.
type proxyServer struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	target string
}

func newProxy(t *testing.T, target string) *proxyServer {
	p := &proxyServer{target: target}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		io.WriteString(w, "by proxy")
		return
	}
	out, err := net.Dial("tcp", p.target)
	if err != nil {
		panic(err)
	}
	defer out.Close()
	in, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer in.Close()
	rw.WriteString("HTTP/1.1 200 OK\r\n\r\n")
	rw.Flush()
	go func() {
		defer out.Close()
		io.Copy(out, rw)
	}()
	io.Copy(in, out)
}

// via is the environment's choice of proxy: p, except for the hosts in noProxy.
func (p *proxyServer) via(noProxy ...string) proxyFunc {
	u, _ := url.Parse(p.URL)
	return func(r *http.Request) (*url.URL, error) {
		for _, h := range noProxy {
			if r.URL.Hostname() == h {
				return nil, nil
			}
		}
		return u, nil
	}
}

// With a proxy, the request's host is checked, not the proxy's address, which is usually private.
func TestPublicOnlyBehindProxy(t *testing.T) {
	p := newProxy(t, "")
	for _, tt := range []struct {
		link  string
		allow []string
		want  []string
	}{
		{"http://8.8.8.8/x", nil, []string{"GET http://8.8.8.8/x"}},
		{"http://10.0.0.1/x", nil, nil},
		{"https://10.0.0.1/x", nil, nil},
		{"http://localhost/x", nil, nil},
		{"http://[::ffff:10.0.0.1]/x", nil, nil},
		{"http://[fe80::1%25eth0]/x", nil, nil},
		{p.URL + "/x", nil, nil},
		{"http://10.0.0.1/x", []string{"10.0.0.0/8"}, []string{"GET http://10.0.0.1/x"}},
		{"http://only-the-proxy-knows.invalid/x", []string{"only-the-proxy-knows.invalid"}, []string{"GET http://only-the-proxy-knows.invalid/x"}},
	} {
		p.asked = nil
		body, err := get(t, transport(t, Options{PublicOnly: true, Allow: tt.allow}, p.via()), tt.link)
		if tt.want == nil && !errors.Is(err, ErrAddressRefused) || tt.want != nil && (err != nil || body != "by proxy") {
			t.Errorf("%s: %q %v", tt.link, body, err)
		}
		if strings.Join(p.asked, ",") != strings.Join(tt.want, ",") {
			t.Errorf("%s: the proxy was asked for %q, want %q", tt.link, p.asked, tt.want)
		}
	}
}

// Only requests through the proxy may use the proxy's address.
func TestProxyItselfIsNoTarget(t *testing.T) {
	p := newProxy(t, "")
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	tr := transport(t, Options{PublicOnly: true}, p.via("127.0.0.1"))
	if _, err := get(t, tr, "http://8.8.8.8/"); err != nil {
		t.Error(err)
	}
	for _, link := range []string{p.URL, other.URL} {
		if _, err := get(t, tr, link); !errors.Is(err, ErrAddressRefused) {
			t.Errorf("direct to %s: %v", link, err)
		}
	}
	if len(p.asked) != 1 {
		t.Errorf("the proxy was asked %q", p.asked)
	}
}

func TestUnresolvableBehindProxy(t *testing.T) {
	p := newProxy(t, "")
	if _, err := get(t, transport(t, Options{PublicOnly: true}, p.via()), "http://a..b/"); err == nil || len(p.asked) != 0 {
		t.Errorf("%v, the proxy was asked %q", err, p.asked)
	}
	if _, err := get(t, transport(t, Options{}, p.via()), "http://a..b/"); err != nil {
		t.Errorf("without PublicOnly the proxy resolves: %v", err)
	}
}

func TestProxyErrorShowsNoPassword(t *testing.T) {
	bad := func(*http.Request) (*url.URL, error) { return nil, errors.New("http://u:secret@h") }
	if _, err := get(t, transport(t, Options{}, bad), "http://8.8.8.8/"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// authority starts a TLS server whose certificate, for 8.8.8.8 and 127.0.0.1, is trusted only with the returned CA file.
func authority(t *testing.T, version uint16) (*httptest.Server, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(8, 8, 8, 8), net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) }))
	s.Config.ErrorLog = nil
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS10, MaxVersion: version}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, file
}

func TestTLS(t *testing.T) {
	s, ca := authority(t, tls.VersionTLS13)
	if body, err := get(t, transport(t, Options{CAFile: ca}, noProxy), s.URL); err != nil || body != "HTTP/1.1" {
		t.Errorf("%q %v", body, err)
	}
	if _, err := get(t, transport(t, Options{}, noProxy), s.URL); err == nil {
		t.Error("trusted an unknown authority")
	}
	p := newProxy(t, s.Listener.Addr().String())
	if body, err := get(t, transport(t, Options{CAFile: ca, PublicOnly: true}, p.via()), "https://8.8.8.8/"); err != nil || body != "HTTP/1.1" {
		t.Errorf("through a proxy: %q %v", body, err)
	}
	old, ca := authority(t, tls.VersionTLS11)
	if _, err := get(t, transport(t, Options{CAFile: ca}, noProxy), old.URL); err == nil {
		t.Error("spoke TLS 1.1")
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	os.WriteFile(empty, []byte("no certificate"), 0o600)
	for _, file := range []string{empty, "no/such/file"} {
		if _, err := NewTransport(Options{CAFile: file}); err == nil {
			t.Errorf("accepted %s", file)
		}
	}
}

// TestAuthorityReplaced wants the CA file read again when a certificate is refused, every request
// repeated that can be sent again, and no request repeated if the file has not changed.
func TestAuthorityReplaced(t *testing.T) {
	was, old := authority(t, tls.VersionTLS13)
	is, replacement := authority(t, tls.VersionTLS13)
	file := filepath.Join(t.TempDir(), "ca.pem")
	replace := func(by string) {
		pem, err := os.ReadFile(by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, pem, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(old)
	tr := transport(t, Options{CAFile: file}, noProxy)
	if _, err := get(t, tr, was.URL); err != nil {
		t.Fatal(err)
	}
	before := tr.Current()
	if _, err := get(t, tr, is.URL); err == nil || tr.Current() != before {
		t.Errorf("a stranger's certificate: %v", err)
	}
	replace(replacement)
	for _, body := range []io.Reader{strings.NewReader("x"), nil} { // the first can be sent again
		req, err := http.NewRequestWithContext(t.Context(), "PUT", is.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if _, err := get(t, tr, was.URL); err == nil {
		t.Error("the authority that was replaced is still believed")
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, tr, was.URL); err == nil {
		t.Error("without an authority")
	}
	if _, err := get(t, tr, is.URL); err != nil {
		t.Errorf("a file that is being written takes the authority away: %v", err)
	}
}

// A request to a server that accepts it and never answers ends with a timeout.
func TestIdleTimeoutIsWired(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	_, err := get(t, transport(t, Options{IdleTimeout: 50 * time.Millisecond}, noProxy), s.URL)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Error(err)
	}
}

func TestNewTransportUsesTheEnvironment(t *testing.T) {
	renewing, err := NewTransport(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if tr := renewing.Current(); tr.Proxy == nil || tr.ForceAttemptHTTP2 || tr.Protocols.HTTP2() || !tr.Protocols.HTTP1() || tr.MaxIdleConnsPerHost < 64 {
		t.Errorf("%+v", tr)
	}
}

func TestZeroAddressIsNotPublic(t *testing.T) {
	if public(netip.Addr{}) {
		t.Error("it is")
	}
}
