package network

import (
	"fmt"
	"net"
	"time"
)

// writeStep is the number of bytes written before the deadline is extended. Without steps a Write of megabytes over a
// slow line would look idle while bytes move.
const writeStep = 32 << 10

// idleConn is a connection on which every byte that moves extends the deadline of both directions: while a request's body
// is sent, nothing needs to be received, and the reverse. Only progress extends the deadline, never an attempt. So a
// deadline that the caller sets (crypto/tls sets one for its close message) stays in force while nothing moves.
type idleConn struct {
	net.Conn
	idle time.Duration
	told func() // called whenever bytes move; may be nil
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

// moved extends the deadline if n bytes moved. It returns the connection's own error first.
func (c *idleConn) moved(n int, err error) error {
	if n == 0 || err != nil {
		return err
	}
	if c.told != nil {
		c.told()
	}
	return c.SetDeadline(time.Now().Add(c.idle))
}
