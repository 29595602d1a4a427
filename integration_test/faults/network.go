package faults

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
)

// Network is a network in memory. All waits on it are waits on channels, so that
// testing/synctest can let hours pass, which it can't with real sockets.
type Network struct {
	mu    sync.Mutex
	hosts map[string]*listener
	rules map[string]func() error
}

// NewNetwork returns a network without hosts.
func NewNetwork() *Network {
	return &Network{hosts: map[string]*listener{}, rules: map[string]func() error{}}
}

// Listen makes the next host.
func (n *Network) Listen() (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a := address(fmt.Sprintf("10.0.0.%d:80", len(n.hosts)+1))
	l := &listener{address: a, conns: make(chan net.Conn), closed: make(chan struct{})}
	n.hosts[string(a)] = l
	return l, nil
}

// Dial connects to a host.
func (n *Network) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	l, rule := n.hosts[addr], n.rules[addr]
	n.mu.Unlock()
	if rule != nil {
		if err := rule(); err != nil {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
	}
	if l == nil {
		return nil, refused()
	}
	here, there := net.Pipe()
	select {
	case l.conns <- conn{there, l.address}:
		return conn{here, l.address}, nil
	case <-l.closed:
		return nil, refused()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Fail calls rule for each connection to a host, which fails with rule's error. A nil rule
// lets all connections through.
func (n *Network) Fail(addr string, rule func() error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rules[addr] = rule
}

func refused() error {
	return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
}

type listener struct {
	address
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return l.address }

// conn is a connection with the addresses that a server reads.
type conn struct {
	net.Conn
	address
}

func (c conn) LocalAddr() net.Addr  { return c.address }
func (c conn) RemoteAddr() net.Addr { return c.address }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }
