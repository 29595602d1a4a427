package statetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

// crashPath is the environment variable that makes a test binary move recordings in the
// ledger that the variable names: see Main.
const crashPath = "STATETEST_CRASH"

// crashWay is the path of states of each recording in moveForEver.
var crashWay = []state.State{state.StateListed, state.StateArchived, state.StateDeleteRequested, state.StateDeleted}

// moveForEver moves recordings, those of each inbox one after the other, and prints every
// acknowledged Move.
func moveForEver(open Open, path string) {
	l, err := open(path, time.Now, false)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for _, inbox := range []string{"u1", "u2", "u3"} {
		wg.Go(func() {
			for n := 0; ; {
				k := state.Key{Org: "acme", Inbox: inbox, Recording: fmt.Sprint("r", n)}
				e, err := l.Entry(context.Background(), k)
				if err != nil && !errors.Is(err, state.ErrNotFound) {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				at := slices.Index(crashWay, e.State) + 1
				if at == len(crashWay) {
					n++
					continue
				}
				_, err = l.Move(context.Background(), k, e.State, crashWay[at], func(e *state.Entry) {
					e.Raw = []byte(strings.Repeat("x", 100*n))
					if at == 1 {
						AddVersion(n)(e)
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

// crash kills a process that moves entries, again and again on the same file: every
// acknowledged Move is in the file, and the file is sound.
func (s suite) crash(t *testing.T) {
	path := newPath(t)
	r := rand.New(rand.NewPCG(3, 4))
	acked := make(map[state.Key]state.State)
	for round := range 12 {
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stderr = append(os.Environ(), crashPath+"="+path), os.Stderr
		out, err := cmd.StdoutPipe()
		Must(t, err)
		Must(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		lines := bufio.NewScanner(out)
		read := func() bool {
			if !lines.Scan() {
				return false
			}
			f := strings.Fields(lines.Text())
			if len(f) != 3 {
				t.Fatalf("the child wrote %q", lines.Text())
			}
			acked[state.Key{Org: "acme", Inbox: f[0], Recording: f[1]}] = state.State(f[2])
			return true
		}
		for range round * r.IntN(12) { // the first round kills it while it makes the file
			if !read() {
				t.Fatal("the child ended by itself")
			}
		}
		Must(t, cmd.Process.Kill())
		for read() { // acknowledged before it died
		}
		if err := cmd.Wait(); err == nil || err.Error() != "signal: killed" {
			t.Fatalf("the child ended with %v", err)
		}

		l := s.open(t, path)
		for k, s := range acked {
			e, err := l.Entry(t.Context(), k)
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
