package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
)

// ErrAddressRefused is wrapped by every error of a request that PublicOnly stopped.
var ErrAddressRefused = errors.New("address refused: not public")

// refusedError is an ErrAddressRefused with the refused address. Its method Permanent tells callers, without an import of
// this package, that nothing was sent and another try would end the same way.
type refusedError struct {
	host string
	addr netip.Addr
}

func (e *refusedError) Error() string {
	if e.host != "" {
		return fmt.Sprintf("%v: %s (%s)", ErrAddressRefused, e.addr, e.host)
	}
	return fmt.Sprintf("%v: %s", ErrAddressRefused, e.addr)
}
func (e *refusedError) Unwrap() error   { return ErrAddressRefused }
func (e *refusedError) Permanent() bool { return true }

// guard decides which addresses may be dialled. It is immutable.
type guard struct {
	publicOnly bool
	prefixes   []netip.Prefix
	hosts      map[string]bool
}

func newGuard(o Options) (*guard, error) {
	g := &guard{publicOnly: o.PublicOnly, hosts: map[string]bool{}}
	for _, s := range o.Allow {
		if p, err := netip.ParsePrefix(s); err == nil {
			g.prefixes = append(g.prefixes, p.Masked())
		} else if a, err := netip.ParseAddr(s); err == nil {
			g.prefixes = append(g.prefixes, netip.PrefixFrom(a, a.BitLen()))
		} else if s == "" || strings.ContainsAny(s, "/: ") {
			return nil, fmt.Errorf("allow %q: neither a CIDR nor a host name", s)
		} else {
			g.hosts[plainName(s)] = true
		}
	}
	return g, nil
}

func plainName(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// allowsHost reports whether connections to host are allowed at any address.
func (g *guard) allowsHost(host string) bool {
	return !g.publicOnly || g.hosts[plainName(host)]
}

// control is a net.Dialer's ControlContext. It gets the resolved address right before the connection is made, so a name
// that resolves differently the second time does not get around it.
func (g *guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrAddressRefused, err)
	}
	return g.judge("", ap.Addr())
}

// judgeHost resolves host and refuses it if any of its addresses is refused, because the proxy will choose among them.
func (g *guard) judgeHost(ctx context.Context, host string) error {
	if g.allowsHost(host) {
		return nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("resolve before use of the proxy (a host that only the proxy can resolve has to be allowed by name): %w", err)
	}
	for _, a := range addrs {
		if err := g.judge(host, a); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) judge(host string, a netip.Addr) error {
	a = a.Unmap().WithZone("")
	for _, p := range g.prefixes {
		if p.Contains(a) {
			return nil
		}
	}
	if public(a) {
		return nil
	}
	return &refusedError{host: host, addr: a}
}

// public reports whether a is a unicast address of the public internet, by IANA's special-purpose registries
// (RFC 6890 and its successors). Of IPv6 it accepts IANA's global unicast range (2000::/3), and addresses with the
// well-known NAT64 prefix if the embedded IPv4 address is public. It refuses other forms of embedded IPv4 addresses
// (6to4, Teredo, IPv4-compatible, local NAT64).
func public(a netip.Addr) bool {
	if a.Is4() {
		return a.IsGlobalUnicast() && !a.IsPrivate() && !within(a,
			"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
			"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4")
	}
	if within(a, "64:ff9b::/96") {
		b := a.As16()
		return public(netip.AddrFrom4([4]byte(b[12:])))
	}
	return within(a, "2000::/3") && !within(a, "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
}

func within(a netip.Addr, prefixes ...string) bool {
	for _, p := range prefixes {
		if netip.MustParsePrefix(p).Contains(a) {
			return true
		}
	}
	return false
}
