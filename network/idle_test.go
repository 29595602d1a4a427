package network

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

const idle = time.Minute

// pipe returns an idleConn and its other end.
func pipe(t *testing.T) (net.Conn, net.Conn) {
	here, there := net.Pipe()
	c, err := newIdleConn(here, idle, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); there.Close() })
	return c, there
}

func TestIdleRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, there := pipe(t)
		start := time.Now()
		go func() {
			for range 10 {
				time.Sleep(idle - time.Second)
				there.Write([]byte("x"))
			}
		}()
		n, err := io.Copy(io.Discard, c)
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != 10 || time.Since(start) != 10*(idle-time.Second)+idle {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
		}
	})
}

func TestIdleWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, there := pipe(t)
		start := time.Now()
		go func() { // takes a step of the Write at a time
			for range 10 {
				time.Sleep(idle - time.Second)
				io.ReadFull(there, make([]byte, writeStep))
			}
		}()
		n, err := c.Write(make([]byte, 20*writeStep))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n != 10*writeStep || time.Since(start) != 10*(idle-time.Second)+idle {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
		}
	})
}

// While a body is sent nothing needs to be received: the pending Read goes on as long as the Writes move.
func TestWritesKeepReadsAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, there := pipe(t)
		start := time.Now()
		go io.Copy(io.Discard, there)
		go func() {
			for range 10 {
				time.Sleep(idle - time.Second)
				c.Write([]byte("x"))
			}
		}()
		_, err := c.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 10*(idle-time.Second)+idle {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// Only progress extends a deadline that the caller set, not an attempt.
func TestDeadlineFromAboveHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t)
		start := time.Now()
		c.SetWriteDeadline(start.Add(5 * time.Second))
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestIdleConnPassesDataThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, there := pipe(t)
		data := make([]byte, 3*writeStep+17)
		for i := range data {
			data[i] = byte(i / 7)
		}
		go func() {
			c.Write(nil)
			c.Write(data)
			c.Close()
		}()
		if got, err := io.ReadAll(there); err != nil || string(got) != string(data) {
			t.Errorf("%d bytes of %d, %v", len(got), len(data), err)
		}
	})
}
