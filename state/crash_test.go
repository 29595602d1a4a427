package state

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashWay is the way of each recording of moveChild.
var crashWay = []State{StateListed, StateArchived, StateDeleteRequested, StateDeleted}

// child runs this test binary as another process; see TestMain.
func child(t *testing.T, role, path string) (*exec.Cmd, *bufio.Scanner, io.WriteCloser) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STATE_TEST_CHILD="+role, "STATE_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out), in
}

func childOpen(path string) *Ledger {
	l, err := Open(path, Options{Timeout: time.Minute})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return l
}

// holdChild holds the ledger until its standard input ends.
func holdChild(path string) {
	l := childOpen(path)
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
	l.Close()
}

// moveChild moves recordings for ever, those of each inbox one after the other,
// and writes every Move that was acknowledged.
func moveChild(path string) {
	l := childOpen(path)
	var wg sync.WaitGroup
	for _, inbox := range []string{"u1", "u2", "u3"} {
		wg.Go(func() {
			for n := 0; ; {
				k := Key{"acme", inbox, fmt.Sprint("r", n)}
				e, err := l.Entry(k)
				if err != nil && !errors.Is(err, ErrNotFound) {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				at := slices.Index(crashWay, e.State) + 1
				if at == len(crashWay) {
					n++
					continue
				}
				_, err = l.Move(k, e.State, crashWay[at], func(e *Entry) {
					e.Raw = []byte(strings.Repeat("x", 100*n))
					if at == 1 {
						addVersion(n)(e)
					}
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("%s %s %s\n", inbox, k.Recording, crashWay[at])
			}
		})
	}
	wg.Wait()
}

// TestCrash kills a process that moves entries, again and again on the same
// file: whatever was acknowledged is there, and the file is whole.
func TestCrash(t *testing.T) {
	path := newPath(t)
	r := rand.New(rand.NewPCG(3, 4))
	acked := make(map[Key]State)
	for round := range 12 {
		cmd, lines, _ := child(t, "move", path)
		read := func() bool {
			if !lines.Scan() {
				return false
			}
			f := strings.Fields(lines.Text())
			if len(f) != 3 {
				t.Fatalf("the child wrote %q", lines.Text())
			}
			acked[Key{"acme", f[0], f[1]}] = State(f[2])
			return true
		}
		for range round * r.IntN(12) { // in the first round, while it makes the file
			if !read() {
				t.Fatal("the child ended by itself")
			}
		}
		must(t, cmd.Process.Kill())
		for read() { // acknowledged before it died
		}
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("the child ended with %v", err)
		}

		l := open(t, path, Options{})
		for k, s := range acked {
			e, err := l.Entry(k)
			if err != nil || slices.Index(crashWay, e.State) < slices.Index(crashWay, s) {
				t.Errorf("%s was acknowledged as %s, is %q, %v", k, s, e.State, err)
			}
		}
		finish(t, l)
	}
	if len(acked) < 10 {
		t.Errorf("only %d entries were made", len(acked))
	}
}

func TestHeldByAnotherProcess(t *testing.T) {
	path := newPath(t)
	cmd, lines, in := child(t, "hold", path)
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the child wrote %q", lines.Text())
	}
	for _, readOnly := range []bool{false, true} {
		_, err := Open(path, Options{Timeout: 1, ReadOnly: readOnly})
		if !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open beside a writer: %v", err)
		}
	}
	must(t, in.Close())
	must(t, cmd.Wait())
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
	if _, err := a.Move(Key{"acme", "u1", "r1"}, "", StateListed, nil); err == nil {
		t.Error("a reader wrote")
	}
	finish(t, a)
	finish(t, b)
}
