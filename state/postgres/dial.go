package postgres

import (
	"net"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// silence is how long a server may leave unanswered what the network carries. Then it counts as
// vanished, as after a power failure or a failover of the network, and its connections end. The
// system alone would wait a quarter of an hour, and so would each call without a deadline,
// River's among them. It is well below the time that a claim lives.
const silence = 20 * time.Second

// dialer makes connections that end soon when the server vanishes.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: silence / 2, Interval: silence / 4, Count: 2},
		Control: func(network, _ string, c syscall.RawConn) (err error) {
			if runtime.GOOS != "linux" || !strings.HasPrefix(network, "tcp") {
				return nil
			}
			failed := c.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silence.Milliseconds()))
			})
			if failed != nil {
				return failed
			}
			return err
		},
	}
}

// tcpUserTimeout is TCP_USER_TIMEOUT: https://man7.org/linux/man-pages/man7/tcp.7.html. Package
// syscall does not name it. Keepalive alone does not end a connection on which a request waits
// to be acknowledged.
const tcpUserTimeout = 18
