// Package integration_test runs the real archiverd against a simulated Genesys Cloud
// and S3 servers, and checks what its user can see: exit codes, output, the bucket, the
// ledger and the requests to Genesys.
//
// Every test has a cloud, a bucket, a configuration and a ledger of its own. At its end
// it checks that archiverd broke no rule for clients of Genesys, that only recordings
// were deleted that the bucket held, and that the ledger is sound.
package integration_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the archiverd under test.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "archiverd-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "archiverd")
	build := exec.Command("go", "build", "-o", binary, "../cmd/archiverd")
	build.Stderr = os.Stderr
	if err := errors.Join(build.Run(), os.Chmod(dir, 0o755)); err != nil { // other users run it too
		fmt.Fprintln(os.Stderr, "build archiverd:", err)
		return 1
	}
	return m.Run()
}

// commandTimeout ends a command that hangs. No test waits for it to pass.
const commandTimeout = 3 * time.Minute

// result is how a command ended.
type result struct {
	code           int // -1: by a signal
	stdout, stderr string
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout:\n%s\nstderr:\n%s", r.code, tail(r.stdout), tail(r.stderr))
}

// tail cuts text, to keep the output of a failed test readable.
func tail(s string) string {
	const most = 6000
	if len(s) <= most {
		return s
	}
	return "…" + s[len(s)-most:]
}

// process is a running archiverd.
type process struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer // read only once it has ended
	stderr transcript
	ended  chan struct{}
	ahead  time.Duration // its clock before the machine's
}

// startBinary starts archiverd; edit may change the command first.
func startBinary(t *testing.T, env []string, edit func(*exec.Cmd), args ...string) *process {
	t.Helper()
	return startThen(t, env, edit, func(pid int) error { return nil }, args...)
}

// startThen is startBinary that calls then before anything waits for the process.
func startThen(t *testing.T, env []string, edit func(*exec.Cmd), then func(pid int) error, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandTimeout)
	p := &process{cmd: exec.CommandContext(ctx, binary, args...), ended: make(chan struct{})}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, &p.stdout, &p.stderr
	if edit != nil {
		edit(p.cmd)
	}
	err := p.cmd.Start()
	if err == nil {
		err = then(p.cmd.Process.Pid)
	}
	if err != nil {
		cancel()
		t.Fatalf("start archiverd: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is in ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() { // a failed test may leave it running
		cancel()
		<-p.ended
	})
	return p
}

// transcript collects output and lets tests wait for text in it.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed, and replaced, with each write
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await waits for n occurrences of the text. It returns false if the process ends first.
func (t *transcript) await(text string, n int, ended <-chan struct{}) bool {
	for last := false; ; {
		t.mu.Lock()
		if t.more == nil {
			t.more = make(chan struct{})
		}
		more, have := t.more, strings.Count(t.text.String(), text)
		t.mu.Unlock()
		if have >= n || last {
			return have >= n
		}
		select {
		case <-more:
		case <-ended:
			last = true
		}
	}
}

func (p *process) wait() result {
	<-p.ended
	return result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.stderr.String()}
}

// kill ends the process as a power failure would, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.ended
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
}
