package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listenFor serves handle at a socket until the test ends.
func listenFor(t *testing.T, handle Handler) (path string, stop func()) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	s, err := Listen(path, handle, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Serve(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return path, stop
}

// memory is a File of the test.
type memory struct {
	bytes.Buffer
	full          error
	kept, dropped bool
}

func (m *memory) Write(p []byte) (int, error) {
	if m.full != nil {
		return 0, m.full
	}
	return m.Buffer.Write(p)
}
func (m *memory) Keep() error { m.kept = true; return nil }
func (m *memory) Drop() error { m.dropped = true; return nil }

// ends are a caller's.
type ends struct {
	stdin          io.Reader
	stdout, stderr bytes.Buffer
	file           memory
	created        string
	files          map[string]string // that can be read
}

func (e *ends) call(ctx context.Context, path string, args ...string) (int, error) {
	return Call(ctx, path, Request{Version: "v1", Config: "/c", Args: args, StderrTerminal: true}, Local{
		Stdin: e.stdin, Stdout: &e.stdout, Stderr: &e.stderr,
		Create: func(path string) (File, error) {
			if e.created != "" {
				return nil, errors.New("there is one")
			}
			e.created = path
			return &e.file, nil
		},
		Open: func(path string) (io.ReadCloser, error) {
			text, ok := e.files[path]
			if !ok {
				return nil, fs.ErrNotExist
			}
			torn := strings.HasPrefix(path, "torn")
			return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(map[bool]error{true: errors.New("torn"), false: io.EOF}[torn]))), nil
		},
	})
}

func TestCommandTravels(t *testing.T) {
	t.Parallel()
	media := bytes.Repeat([]byte("media"), 100_000)
	path, _ := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		in, err := io.ReadAll(c.Stdin())
		fmt.Fprintf(c.Stdout(), "%q %q %v\n", r.Args, in, err)
		fmt.Fprintf(c.Stderr(), "%s %s %v %v\n", r.Version, r.Config, c.Stdout().Terminal(), c.Stderr().Terminal())
		f, err := c.Create("rel/file")
		if err != nil {
			return 1
		}
		if _, err := f.Write(media); err != nil || f.Keep() != nil {
			return 2
		}
		if _, err := c.Create("another"); err == nil || !strings.Contains(err.Error(), "there is one") {
			return 3
		}
		return 42
	})
	if info, err := os.Stat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	e := ends{stdin: strings.NewReader("typed\n")}
	code, err := e.call(t.Context(), path, "a", "b c")
	if code != 42 || err != nil {
		t.Fatalf("got %d, %v", code, err)
	}
	if have, want := e.stdout.String(), `["a" "b c"] "typed\n" <nil>`+"\n"; have != want {
		t.Errorf("stdout %q, want %q", have, want)
	}
	if have, want := e.stderr.String(), "v1 /c false true\n"; have != want {
		t.Errorf("stderr %q, want %q", have, want)
	}
	if e.created != "rel/file" || !e.file.kept || !bytes.Equal(e.file.Bytes(), media) {
		t.Errorf("file %q, kept %v, %d bytes", e.created, e.file.kept, e.file.Len())
	}
}

// TestFilesAreRead has a command read its caller's files beside stdin.
func TestFilesAreRead(t *testing.T) {
	t.Parallel()
	list := strings.Repeat("a line\n", 100_000)
	path, _ := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		for name, want := range map[string]string{"list": list, "empty": ""} {
			if text, err := c.ReadFile(name, len(list)); err != nil || string(text) != want {
				return 1
			}
		}
		if _, err := c.ReadFile("list", len(list)-1); err == nil || !strings.Contains(err.Error(), "more than") {
			return 2
		}
		if _, err := c.ReadFile("none", 10); err == nil || !strings.Contains(err.Error(), "not exist") {
			return 3
		}
		if in, err := io.ReadAll(c.Stdin()); err != nil || string(in) != "yes\n" {
			return 4
		}
		return 42
	})
	e := ends{stdin: strings.NewReader("yes\n"), files: map[string]string{"list": list, "empty": ""}}
	if code, err := e.call(t.Context(), path); code != 42 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
}

// TestTornFileEndsTheCommand wants no part of a file taken for all of it.
func TestTornFileEndsTheCommand(t *testing.T) {
	t.Parallel()
	read := make(chan error, 1)
	path, stop := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		_, err := c.ReadFile("torn", 1<<20)
		read <- err
		return 0
	})
	e := ends{files: map[string]string{"torn": strings.Repeat("a line\n", 100_000)}}
	if _, err := e.call(t.Context(), path); err == nil || !strings.Contains(err.Error(), "torn") {
		t.Errorf("the call ended with %v", err)
	}
	if err := <-read; err == nil {
		t.Error("a torn file was read")
	}
	stop()
}

func TestNobody(t *testing.T) {
	t.Parallel()
	dead := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	for _, path := range []string{dead, dead + "none", "/" + strings.Repeat("long", 50)} {
		var e ends
		if _, err := e.call(t.Context(), path); !errors.Is(err, ErrNobody) {
			t.Errorf("%.20s…: %v, want ErrNobody", path, err)
		}
	}
	s, err := Listen(dead, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("a dead service's socket is in the way: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Serve(ctx)
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
	if left, _ := filepath.Glob(dead + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := Listen("/tmp/"+strings.Repeat("long", 50), nil, nil); err == nil || !strings.Contains(err.Error(), "shorter state.path") {
		t.Errorf("a path too long: %v", err)
	}
}

// TestFileFails wants a caller's failure to reach the command, and what is half
// written dropped.
func TestFileFails(t *testing.T) {
	t.Parallel()
	said := make(chan error, 1)
	path, _ := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		f, err := c.Create("file")
		if err == nil {
			_, err = f.Write([]byte("x"))
		}
		said <- err
		return 1
	})
	e := ends{file: memory{full: errors.New("the disk is full")}}
	if code, err := e.call(t.Context(), path); code != 1 || err != nil {
		t.Errorf("got %d, %v", code, err)
	}
	if err := <-said; err == nil || err.Error() != "the disk is full" {
		t.Errorf("the command heard %v", err)
	}
	if !e.file.dropped || e.file.kept {
		t.Error("what is half written was not dropped")
	}
}

// TestStops wants a command told to stop by a signal to its caller, by the caller's
// end, and by the service's own, while it waits for input that never comes.
func TestStops(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	ended := make(chan error)
	path, stop := listenFor(t, func(ctx context.Context, r Request, c *Caller) int {
		began <- struct{}{}
		_, err := c.Stdin().Read(make([]byte, 1))
		<-ctx.Done()
		ended <- err
		return 5
	})
	t.Run("signal", func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		ctx, signal := context.WithCancel(t.Context())
		code := make(chan int)
		go func() {
			n, _ := (&ends{stdin: r}).call(ctx, path)
			code <- n
		}()
		<-began
		signal()
		<-ended
		if n := <-code; n != 5 {
			t.Errorf("exit code %d, want the command's own", n)
		}
	})
	t.Run("vanished", func(t *testing.T) {
		conn := dial(t, path)
		send(t, conn, kindRequest, []byte(`{"protocol":2}`))
		<-began
		conn.Close()
		if err := <-ended; err == nil {
			t.Error("no error for the command")
		}
	})
	t.Run("half closed", func(t *testing.T) {
		conn := dial(t, path)
		send(t, conn, kindRequest, []byte(`{"protocol":2}`))
		<-began
		conn.CloseWrite()
		<-ended
	})
	t.Run("service", func(t *testing.T) {
		r, w := io.Pipe()
		defer w.Close()
		code := make(chan int)
		go func() {
			n, _ := (&ends{stdin: r}).call(t.Context(), path)
			code <- n
		}()
		<-began
		go func() { <-ended }()
		stop()
		if n := <-code; n != 5 {
			t.Errorf("exit code %d, want the command's own", n)
		}
	})
}
