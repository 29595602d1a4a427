package postgres

import (
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"

	"github.com/archiverd/archiverd/state/statetest"
)

// A connection ends soon when its server vanishes, also while a request waits to be
// acknowledged.
func TestVanishedServer(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems have no TCP_USER_TIMEOUT")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	statetest.Must(t, err)
	defer l.Close()
	config, err := parse("postgres://archiverd@"+l.Addr().String()+"/archiverd", Options{})
	statetest.Must(t, err)
	conn, err := config.ConnConfig.DialFunc(t.Context(), "tcp", l.Addr().String())
	statetest.Must(t, err)
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	statetest.Must(t, err)
	for name, option := range map[string]struct{ level, name, want int }{
		"TCP_USER_TIMEOUT": {syscall.IPPROTO_TCP, tcpUserTimeout, 20_000},
		"SO_KEEPALIVE":     {syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		"TCP_KEEPIDLE":     {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, 10},
	} {
		var got int
		var failed error
		err := raw.Control(func(fd uintptr) { got, failed = syscall.GetsockoptInt(int(fd), option.level, option.name) })
		statetest.Must(t, errors.Join(err, failed))
		if got != option.want {
			t.Errorf("%s is %d, want %d", name, got, option.want)
		}
	}
}
