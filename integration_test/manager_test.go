package integration_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// manager is the service manager's end of NOTIFY_SOCKET.
type manager struct {
	*transcript
	conn *net.UnixConn
}

func (w *world) manager() *manager {
	w.Helper()
	path := filepath.Join(w.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		w.Fatal(err)
	}
	m := &manager{&transcript{}, conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			fmt.Fprintf(m, "%s\n", buf[:n])
		}
	}()
	w.Cleanup(func() { conn.Close(); <-done })
	w.env = append(w.env, "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	return m
}

// TestServiceManager wants the service manager told of all that happens, and its
// disappearance without effect.
func TestServiceManager(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	m := w.manager()
	fill(w.cloud.ClientInbox(), 2)
	w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: w.cloud.Stall()})
	p := w.start("run")
	w.await(opLink, 1)
	told := func(text string, n int) {
		t.Helper()
		if !m.await(text, n, p.ended) {
			t.Fatalf("the service manager was never told %q %d times but:\n%s", text, n, m)
		}
	}
	told("READY=1", 1)
	told("STATUS=running since", 1)
	told("WATCHDOG=1", 3)
	w.reload(p, "takes effect with the next run", 1)
	told("RELOADING=1\nMONOTONIC_USEC=", 1)
	told("READY=1", 2)
	w.cloud.Release()
	told("STATUS=waiting until", 1)
	if strings.Index(m.String(), "READY=1") > strings.Index(m.String(), "STATUS=running") {
		t.Errorf("ready only after the first run began:\n%s", m)
	}
	m.conn.Close()
	w.awaitLog(p, "service manager can't be reached", 1)
	w.expect(0, "status")
	w.ends(p)
}

// TestServiceManagerHearsStop wants it told before what is under way has ended.
func TestServiceManagerHearsStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	m := w.manager()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 1)
	w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: w.cloud.Stall()})
	p := w.start("run")
	w.await(opLink, 1)
	p.terminate(t)
	for _, text := range []string{"STOPPING=1", "STATUS=stopping: finishing what is under way"} {
		if !m.await(text, 1, p.ended) {
			t.Errorf("never told %q but:\n%s", text, m)
		}
	}
	w.cloud.Release()
	if r := p.wait(); r.code != 0 {
		t.Errorf("want exit code 0: %s", r)
	}
	w.wantState(state.StateArchived, inbox)
}

// TestAbort wants the watchdog's SIGABRT, which ends as a panic that nothing recovers does,
// not to look like a fault of the configuration.
func TestAbort(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.cloud.ClientInbox()
	p := w.serve()
	if err := p.cmd.Process.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	if r := p.wait(); r.code != -1 {
		t.Errorf("want an end by the signal: %s", r)
	}
}

// room sets how far the process may write into files: 0 is a full disk.
func (p *process) room(t *testing.T, bytes string) {
	t.Helper()
	out, err := exec.Command("prlimit", "--pid", strconv.Itoa(p.cmd.Process.Pid), "--fsize="+bytes+":").CombinedOutput()
	if err != nil {
		t.Fatalf("prlimit: %v: %s", err, out)
	}
}

// TestFullDisk wants a service whose ledger can't grow to say so, to stay, and to go on
// once there is room.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.config["schedule"] = map[string]any{"cron": "@every 1s"}
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	p := w.serve()
	p.room(t, "0")
	inbox.Add(genesystest.Recording{ID: "late"})
	w.awaitLog(p, "the run failed", 1)
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "the last run failed") || !strings.Contains(r.stdout, "file too large") {
		t.Errorf("status does not say so: %s", r)
	}
	w.awaitLog(p, "the run failed", 2) // at the next time
	p.room(t, "unlimited")
	w.awaitLog(p, `"archived":1`, 1)
	w.ends(p)
	w.wantArchived(all(inbox))
}

// TestNeedsPerson wants a recording that has failed for a week to be counted, and no
// news to any run.
func TestNeedsPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "r001", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	w.once(3)
	age := func(by time.Duration) {
		w.withLedger(func(l *bolt.Ledger) error {
			_, err := l.Move(t.Context(), state.Key{Org: "acme", Inbox: inbox.ID, Recording: "r001"}, state.StateFailed, state.StateFailed, func(e *state.Entry) {
				e.FailedSince, e.NextAttempt = time.Now().Add(-by), time.Time{}
			})
			return err
		})
	}
	age(7*24*time.Hour - time.Hour)
	w.once(3)
	age(7*24*time.Hour + time.Hour)
	if r := w.once(0); !strings.Contains(r.stderr, "need a person") {
		t.Errorf("the run does not say so: %s", r)
	}
	w.expect(3, "run", "--once", "--strict")
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "1 of its recordings have failed for a week") {
		t.Errorf("status does not say so: %s", r)
	}
	w.cloud.ClearFaults()
	w.expect(0, "retry")
	w.expect(0, "run", "--once", "--strict")
	w.wantArchived(all(inbox))
}
