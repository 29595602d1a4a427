package control

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func dial(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, w io.Writer, k kind, payload []byte) {
	t.Helper()
	if err := writeFrame(w, k, payload); err != nil {
		t.Fatal(err)
	}
}

// TestGarbage wants rubbish to end its own connection and nothing else.
func TestGarbage(t *testing.T) {
	t.Parallel()
	path, _ := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		if len(r.Args) > 0 {
			return 0
		}
		<-ctx.Done()
		return 5
	})
	frame := func(k kind, size uint32, payload string) []byte {
		h := append([]byte{byte(k)}, 0, 0, 0, 0)
		binary.BigEndian.PutUint32(h[1:], size)
		return append(h, payload...)
	}
	hello := frame(kindRequest, 14, `{"protocol":2}`)
	for name, input := range map[string][]byte{
		"http":           []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"no kind":        frame(0, 0, ""),
		"unknown kind":   frame(200, 0, ""),
		"huge":           frame(kindRequest, 1<<31, "x"),
		"no JSON":        frame(kindRequest, 3, "{]}"),
		"another first":  frame(kindStop, 0, ""),
		"protocol 1":     frame(kindRequest, 14, `{"protocol":1}`),
		"then rubbish":   append(bytes.Clone(hello), 250, 1, 2, 3, 4),
		"second request": append(bytes.Clone(hello), hello...),
		"many answers":   append(bytes.Clone(hello), bytes.Repeat(frame(kindDone, 0, ""), 100)...),
		"many inputs":    append(bytes.Clone(hello), bytes.Repeat(frame(kindInput, 1, "x"), 100)...),
	} {
		conn := dial(t, path)
		if _, err := conn.Write(input); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil { // only a test that fails waits
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays", name)
		}
	}
	var e ends
	if code, err := e.call(t.Context(), path, "alive"); code != 0 || err != nil {
		t.Errorf("after the rubbish: %d, %v", code, err)
	}
}

// TestSlowReader wants a caller that does not read to hold up its own command alone,
// and the service's end for no longer than the parting time.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	var failed error
	var command sync.WaitGroup
	command.Add(1)
	path, stop := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		if len(r.Args) > 0 {
			return 0
		}
		defer command.Done()
		for failed == nil {
			_, failed = c.Stdout().Write(make([]byte, 1<<20))
		}
		return 1
	})
	conn := dial(t, path)
	send(t, conn, kindRequest, []byte(`{"protocol":2}`))
	for range 10 {
		var e ends
		if code, err := e.call(t.Context(), path, "quick"); code != 0 || err != nil {
			t.Fatalf("another caller: %d, %v", code, err)
		}
	}
	stop()
	command.Wait()
	if !errors.Is(failed, os.ErrDeadlineExceeded) {
		t.Errorf("the command heard %v", failed)
	}
}

// TestServiceLies wants a caller to survive whatever answers at the socket.
func TestServiceLies(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string][]byte{
		"nothing":      nil,
		"rubbish":      []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"long exit":    {byte(kindExit), 0, 0, 0, 2, 0, 0},
		"a request":    {byte(kindRequest), 0, 0, 0, 0},
		"half a frame": {byte(kindStdout), 0, 0, 0, 9, 'x'},
	} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		var server sync.WaitGroup
		server.Go(func() {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _, _ = readFrame(conn)
			_, _ = conn.Write(answer)
		})
		var e ends
		if _, err := e.call(t.Context(), path); err == nil || errors.Is(err, ErrNobody) {
			t.Errorf("%s: %v", name, err)
		}
		l.Close()
		server.Wait()
	}
}

// TestHurry wants a caller that does not read given up, once its command holds up
// others: with progress always, with results where the command says so.
func TestHurry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hurry  bool
		output func(*Caller) *Output
	}{"progress": {false, (*Caller).Stderr}, "results": {true, (*Caller).Stdout}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error)
			path, _ := listenFor(t, func(ctx context.Context, r Request, caller *Caller) int {
				caller.readTimeout = 10 * time.Millisecond
				caller.Hurry(c.hurry)
				var err error
				for err == nil {
					_, err = c.output(caller).Write(make([]byte, 1<<20))
				}
				<-ctx.Done()
				ended <- err
				return 1
			})
			send(t, dial(t, path), kindRequest, []byte(`{"protocol":2}`))
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the command heard %v", err)
			}
		})
	}
}
