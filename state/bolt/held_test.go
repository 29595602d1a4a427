package bolt

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// holdChild holds the ledger until its standard input ends.
func holdChild(path string) {
	l, err := Open(path, Options{Timeout: time.Minute})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	l.Close()
}

func TestHeldByAnotherProcess(t *testing.T) {
	path := newPath(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), holdPath+"="+path), os.Stderr
	out, err := cmd.StdoutPipe()
	statetest.Must(t, err)
	in, err := cmd.StdinPipe()
	statetest.Must(t, err)
	statetest.Must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the child wrote %q", lines.Text())
	}
	for _, readOnly := range []bool{false, true} {
		_, err := Open(path, Options{Timeout: 1, ReadOnly: readOnly})
		if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open beside a writer: %v", err)
		}
	}
	statetest.Must(t, in.Close())
	statetest.Must(t, cmd.Wait())
	open(t, path, Options{Timeout: 1})
}

func TestReadersShare(t *testing.T) {
	path := newPath(t)
	finish(t, open(t, path, Options{}))
	a := open(t, path, Options{ReadOnly: true, Timeout: 1})
	b := open(t, path, Options{ReadOnly: true, Timeout: 1})
	if _, err := Open(path, Options{Timeout: 1}); !errors.Is(err, ErrHeld) {
		t.Errorf("Open beside readers: %v", err)
	}
	if _, err := a.Move(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, "", state.StateListed, nil); err == nil {
		t.Error("a reader wrote")
	}
	finish(t, a)
	finish(t, b)
}
