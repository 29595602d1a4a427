package genesystest

import (
	"net"
	"net/http"
	"strconv"
	"time"
)

// shaper changes a reply as it is written.
type shaper struct {
	http.ResponseWriter
	header func(h http.Header)                         // sees the header before it is sent; nil: nothing to do
	body   func(w http.ResponseWriter, p []byte) error // writes p, or something else
	begun  bool
}

func (s *shaper) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *shaper) WriteHeader(status int) {
	if !s.begun && s.header != nil {
		s.header(s.Header())
	}
	s.begun = true
	s.ResponseWriter.WriteHeader(status)
}

func (s *shaper) Write(p []byte) (int, error) {
	if !s.begun {
		s.WriteHeader(http.StatusOK)
	}
	if err := s.body(s.ResponseWriter, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// shaped returns an Effect that makes a shaper for each reply.
func shaped(name string, shape func(r *http.Request) *shaper) Effect {
	return Effect{Name: name, Wrap: func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		s := shape(r)
		s.ResponseWriter = w
		return s
	}}
}

// hangUp closes the connection, and ends the request's goroutine: at once by a reset, or after the written bytes.
func hangUp(w http.ResponseWriter, reset bool) {
	control := http.NewResponseController(w)
	if !reset {
		_ = control.Flush()
	}
	if conn, _, err := control.Hijack(); err == nil {
		raw := conn
		if secure, ok := conn.(interface{ NetConn() net.Conn }); ok {
			raw = secure.NetConn()
		}
		if tcp, ok := raw.(*net.TCPConn); ok && reset {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}

// LoseReply lets the request have its effect, but resets the connection instead of answering.
func LoseReply() Effect {
	return Effect{Name: "reply lost", Wrap: func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
		return &shaper{ResponseWriter: w, header: func(http.Header) { hangUp(w, true) }}
	}}
}

// CutAfter closes the connection after n bytes of the body, if it has more.
func CutAfter(n int64) Effect { return cut("cut", func(int64) int64 { return n }) }

// CutHalf closes the connection after half of the declared length.
func CutHalf() Effect { return cut("cut half", func(declared int64) int64 { return declared / 2 }) }

func cut(name string, at func(declared int64) int64) Effect {
	return shaped(name, func(*http.Request) *shaper {
		var left int64
		return &shaper{
			header: func(h http.Header) { left = at(contentLength(h)) },
			body: func(w http.ResponseWriter, p []byte) error {
				n := min(left, int64(len(p)))
				_, err := w.Write(p[:n])
				if left -= n; n < int64(len(p)) {
					hangUp(w, false)
				}
				return err
			},
		}
	})
}

// Shorten sends and declares only the first half of the body: JSON that ends midway, or media without their end.
func Shorten() Effect {
	return shaped("shorten", func(*http.Request) *shaper {
		var left int64
		return &shaper{
			header: func(h http.Header) {
				left = contentLength(h) / 2
				h.Set("Content-Length", strconv.FormatInt(left, 10))
			},
			body: func(w http.ResponseWriter, p []byte) error {
				n := min(left, int64(len(p)))
				_, err := w.Write(p[:n])
				left -= n
				return err
			},
		}
	})
}

// AlterByte inverts the byte at an offset of the body.
func AlterByte(offset int64) Effect {
	return shaped("altered byte", func(*http.Request) *shaper {
		left := offset
		return &shaper{body: func(w http.ResponseWriter, p []byte) error {
			if left >= 0 && left < int64(len(p)) {
				p = append([]byte(nil), p...)
				p[left] ^= 0xff
			}
			left -= int64(len(p))
			_, err := w.Write(p)
			return err
		}}
	})
}

// Slow sends about so many bytes a second.
func Slow(bytesPerSecond int) Effect {
	return shaped("slow", func(r *http.Request) *shaper {
		return &shaper{body: func(w http.ResponseWriter, p []byte) error {
			step := max(1, bytesPerSecond/20)
			for len(p) > 0 {
				n := min(step, len(p))
				if _, err := w.Write(p[:n]); err != nil {
					return err
				}
				_ = http.NewResponseController(w).Flush()
				p = p[n:]
				select {
				case <-time.After(time.Duration(n) * time.Second / time.Duration(bytesPerSecond)):
				case <-r.Context().Done():
					hangUp(w, true)
				}
			}
			return nil
		}}
	})
}

// StallAfter sends n bytes of the body, then waits as Stall does, then sends the rest.
func (c *Cloud) StallAfter(n int64) Effect {
	wait := c.waiter()
	return shaped("stall after", func(r *http.Request) *shaper {
		left, stalled := n, false
		return &shaper{body: func(w http.ResponseWriter, p []byte) error {
			first := min(left, int64(len(p)))
			_, err := w.Write(p[:first])
			left -= first
			if p = p[first:]; len(p) == 0 || err != nil {
				return err
			}
			if !stalled {
				stalled = true
				_ = http.NewResponseController(w).Flush()
				wait(w, r)
			}
			_, err = w.Write(p)
			return err
		}}
	})
}

func contentLength(h http.Header) int64 {
	n, _ := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	return n
}
