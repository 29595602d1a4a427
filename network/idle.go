package network

import (
	"fmt"
	"net"
	"time"
)

// writeStep is how much is written before progress is noted. Without steps one Write of megabytes over a slow line
// would look idle while it moves.
const writeStep = 32 << 10

// idleConn is a connection on which every byte that moves puts off the deadline of both directions: while a request's
// body goes out nothing has to come in, and the reverse. It is only put off by progress, never by an attempt, so that a
// deadline set from above (crypto/tls does it to say goodbye) holds while nothing moves.
type idleConn struct {
	net.Conn
	idle time.Duration
	told func() // of every move; may be nil
}

func newIdleConn(c net.Conn, idle time.Duration, told func()) (net.Conn, error) {
	if err := c.SetDeadline(time.Now().Add(idle)); err != nil {
		c.Close()
		return nil, fmt.Errorf("set idle timeout: %w", err)
	}
	return &idleConn{c, idle, told}, nil
}

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return n, c.moved(n, err)
}

func (c *idleConn) Write(p []byte) (n int, err error) {
	for {
		step := p[n:min(n+writeStep, len(p))]
		m, err := c.Conn.Write(step)
		n += m
		if err = c.moved(m, err); err != nil || n == len(p) {
			return n, err
		}
	}
}

// moved notes that n bytes moved. An error of the connection itself comes before one of the deadline.
func (c *idleConn) moved(n int, err error) error {
	if n == 0 || err != nil {
		return err
	}
	if c.told != nil {
		c.told()
	}
	return c.SetDeadline(time.Now().Add(c.idle))
}
