package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxCallers   = 64               // at a time; more wait to be accepted
	helloTimeout = 10 * time.Second // for a request to arrive
	readTimeout  = time.Minute      // for a caller to read logs and progress, and results too while its command blocks others
	fileTimeout  = 2 * time.Minute  // for a caller to answer about its file
	partingTime  = 3 * time.Second  // for a caller to read the rest, once its command was told to stop
)

// Handler runs one command and returns its exit code. ctx ends when the caller is gone
// or got a signal, or when the service stops.
type Handler func(ctx context.Context, r Request, c *Caller) (code int)

// Server answers callers.
type Server struct {
	path     string
	listener *net.UnixListener
	handle   Handler
	log      *slog.Logger
}

// Listen makes the socket at path. Call it only while holding the ledger.
func Listen(path string, handle Handler, log *slog.Logger) (*Server, error) {
	l, err := listen(path)
	if err != nil {
		if errors.Is(err, syscall.EINVAL) {
			err = fmt.Errorf("%w: a socket's path takes 100 bytes at most: choose a shorter state.path", err)
		}
		return nil, fmt.Errorf("listen on the control socket %s: %w", path, err)
	}
	return &Server{path, l, handle, log}, nil
}

// listen makes the socket in a private directory and then moves it to its place, so that
// others can't connect at any moment.
func listen(path string) (*net.UnixListener, error) {
	private := path + ".d"
	if err := os.RemoveAll(private); err != nil {
		return nil, err
	}
	if err := os.Mkdir(private, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	at := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // Close would unlink the old path
	if err := errors.Join(os.Chmod(at, 0o600), os.Rename(at, path)); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Serve answers callers until ctx ends, then asks their commands to stop and waits for
// them. When it returns, the socket is gone.
func (s *Server) Serve(ctx context.Context) {
	release := context.AfterFunc(ctx, func() { s.listener.Close() })
	defer release()
	defer func() {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Warn("the control socket is left behind", "error", err)
		}
	}()
	var callers sync.WaitGroup
	defer callers.Wait()
	free := make(chan struct{}, maxCallers)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := s.listener.AcceptUnix()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return
		}
		if err != nil { // usually too many open files: wait for others to be closed
			s.log.Warn("no caller can be accepted", "error", err)
			<-free
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			continue
		}
		callers.Go(func() {
			defer func() { <-free }()
			s.serve(ctx, conn)
		})
	}
}

// serve runs one caller's command.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	hurry := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	r, err := readRequest(conn)
	hurry()
	if err != nil {
		s.log.Warn("a caller of the control socket sent no request", "error", err)
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &Caller{
		conn:    conn,
		request: r,
		ctx:     ctx,
		input:   make(chan []byte, 1),
		done:    make(chan []byte, 1),
		gone:    make(chan struct{}),

		readTimeout: readTimeout,
	}
	// After the end of ctx, the caller has only partingTime to read.
	defer context.AfterFunc(ctx, func() { conn.SetWriteDeadline(time.Now().Add(partingTime)) })()
	var reader sync.WaitGroup
	reader.Go(func() {
		defer cancel()
		defer close(c.gone)
		c.listen(cancel)
	})
	code := s.handle(ctx, r, c)
	if err := c.send(kindExit, []byte{byte(code)}); err != nil {
		s.log.Debug("a caller left before its command ended", "error", err)
	}
	conn.Close() // ends the reader
	reader.Wait()
}

func readRequest(conn *net.UnixConn) (r Request, err error) {
	if err := conn.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return r, err
	}
	k, payload, err := readFrame(conn)
	if err == nil && k != kindRequest {
		err = errGarbage
	}
	if err == nil {
		err = json.Unmarshal(payload, &r)
	}
	if err != nil {
		return r, err
	}
	if r.Protocol != protocol {
		const text = "archiverd: the service runs another version of archiverd, whose protocol differs: restart the service\n"
		return r, errors.Join(
			fmt.Errorf("the caller's protocol has version %d, this service's %d: restart the service", r.Protocol, protocol),
			writeFrame(conn, kindStderr, []byte(text)))
	}
	return r, conn.SetReadDeadline(time.Time{})
}

// Caller is the far end of a command: its streams and its files. Its methods may be
// called concurrently, but for those of its one file.
type Caller struct {
	conn    *net.UnixConn
	request Request
	ctx     context.Context
	writing sync.Mutex // a frame is written whole; guards broken
	broken  error      // why no more can be written
	hurry   atomic.Bool

	readTimeout time.Duration
	input       chan []byte
	done        chan []byte
	gone        chan struct{} // closed when the caller is gone
}

// listen receives what the caller sends, until the caller is gone.
func (c *Caller) listen(stop context.CancelFunc) {
	for {
		k, payload, err := readFrame(c.conn)
		if err != nil {
			return
		}
		var to chan []byte
		switch k {
		case kindStop:
			stop()
			continue
		case kindInput:
			to = c.input
		case kindDone:
			to = c.done
		default:
			return // garbage: the caller counts as gone
		}
		select {
		case to <- payload:
		default:
			return // an answer without a question
		}
	}
}

func (c *Caller) send(k kind, payload []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.broken != nil {
		return c.broken
	}
	var deadline time.Time // none: a pager may take its time with results
	switch {
	case c.ctx.Err() != nil:
		deadline = time.Now().Add(partingTime)
	case k != kindStdout || c.hurry.Load():
		deadline = time.Now().Add(c.readTimeout)
	}
	if c.broken = c.conn.SetWriteDeadline(deadline); c.broken == nil && deadline.IsZero() && c.ctx.Err() != nil {
		c.broken = c.conn.SetWriteDeadline(time.Now().Add(partingTime)) // ctx ended in between
	}
	if c.broken == nil {
		c.broken = writeFrame(c.conn, k, payload)
	}
	if c.broken != nil {
		c.conn.Close() // the caller counts as gone: the command stops
	}
	return c.broken
}

// Hurry says whether the command blocks others. While it does, a caller that does not
// read results for a minute counts as gone.
func (c *Caller) Hurry(on bool) { c.hurry.Store(on) }

var errGone = errors.New("the caller is gone")

// Stdin reads the caller's stdin. A stop ends the read.
func (c *Caller) Stdin() *Input { return &Input{c: c} }

// Input is a caller's stdin.
type Input struct {
	c    *Caller
	rest []byte
}

func (i *Input) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(i.rest) == 0 {
		if i.rest, err = i.c.next(kindRead); err != nil {
			return 0, err
		}
	}
	n = copy(p, i.rest)
	i.rest = i.rest[n:]
	return n, nil
}

// next asks the caller for more bytes of stdin, or of the open file; io.EOF: there are no
// more.
func (c *Caller) next(k kind) ([]byte, error) {
	if err := c.send(k, nil); err != nil {
		return nil, err
	}
	select {
	case bytes := <-c.input:
		if len(bytes) == 0 {
			return nil, io.EOF
		}
		return bytes, nil
	case <-c.gone:
		return nil, errGone
	case <-c.ctx.Done():
		return nil, c.ctx.Err()
	}
}

// ReadFile reads a file on the caller's side, of at most most bytes; a relative path is
// relative to the caller's directory. The caller opens only files that its command line
// names. The content stays in memory.
func (c *Caller) ReadFile(path string, most int) (text []byte, err error) {
	if err := c.ask(kindOpen, []byte(path)); err != nil {
		return nil, err
	}
	for {
		part, err := c.next(kindPull)
		if err == io.EOF {
			return text, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if text = append(text, part...); len(text) > most {
			return nil, fmt.Errorf("read %s: it has more than %d bytes", path, most)
		}
	}
}

// Stdout and Stderr write to the caller's streams.
func (c *Caller) Stdout() *Output { return &Output{c, kindStdout, c.request.StdoutTerminal} }
func (c *Caller) Stderr() *Output { return &Output{c, kindStderr, c.request.StderrTerminal} }

// Output is a caller's stdout or stderr.
type Output struct {
	c        *Caller
	kind     kind
	terminal bool
}

// Terminal reports whether the stream is a terminal.
func (o *Output) Terminal() bool { return o.terminal }

func (o *Output) Write(p []byte) (int, error) {
	return inChunks(p, func(part []byte) error { return o.c.send(o.kind, part) })
}

func inChunks(p []byte, send func([]byte) error) (n int, err error) {
	for n < len(p) {
		part := p[n:min(n+chunk, len(p))]
		if err := send(part); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// Create makes a file on the caller's side; a relative path is relative to the caller's
// directory.
func (c *Caller) Create(path string) (File, error) {
	if err := c.ask(kindCreate, []byte(path)); err != nil {
		return nil, err
	}
	return farFile{c}, nil
}

// ask sends a request about the caller's file and waits for the answer.
func (c *Caller) ask(k kind, payload []byte) error {
	timeout := time.NewTimer(fileTimeout)
	defer timeout.Stop()
	if err := c.send(k, payload); err != nil {
		return err
	}
	select {
	case answer := <-c.done:
		if len(answer) > 0 {
			return errors.New(string(answer))
		}
		return nil
	case <-c.gone:
		return errGone
	case <-timeout.C:
		c.conn.Close() // a late answer would be taken for the answer to another request
		return errors.New("the caller does not answer")
	}
}

type farFile struct{ c *Caller }

func (f farFile) Write(p []byte) (int, error) {
	return inChunks(p, func(part []byte) error { return f.c.ask(kindWrite, part) })
}
func (f farFile) Keep() error { return f.c.ask(kindKeep, nil) }
func (f farFile) Drop() error { return f.c.ask(kindDrop, nil) }
