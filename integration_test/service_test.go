package integration_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// serve starts the service and waits until its first run has ended.
func (w *world) serve(args ...string) *process {
	w.Helper()
	p := w.start(append([]string{"run"}, args...)...)
	w.awaitLog(p, "waiting for the schedule", 1)
	return p
}

// awaitLog waits until the service has logged something n times.
func (w *world) awaitLog(p *process, text string, n int) {
	w.Helper()
	if !p.stderr.await(text, n, p.ended) {
		w.Fatalf("the service never logged %q %d times: %s", text, n, p.wait())
	}
}

// ends stops the service and wants exit code 0.
func (w *world) ends(p *process) {
	w.Helper()
	p.terminate(w.T)
	if r := p.wait(); r.code != 0 {
		w.Fatalf("want exit code 0 after SIGTERM: %s", r)
	}
	if _, err := os.Stat(w.socketPath()); err == nil {
		w.Errorf("the control socket is left behind")
	}
}

func (w *world) socketPath() string { return w.ledgerPath() + ".sock" }

// daily is a schedule that does not come while a test runs.
func (w *world) daily() { w.config["schedule"] = map[string]any{"cron": "0 0 1 1 *"} }

// TestCommandsReachService wants every command to work while the service holds the
// ledger, with its files at the caller's side.
func TestCommandsReachService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "r000", Size: 9 << 20})
	fill(inbox, 3)
	p := w.serve()
	if info, err := os.Stat(w.socketPath()); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the control socket: %v, %v", info, err)
	}
	if out := w.expect(0, "status", "--all").stdout; !strings.Contains(out, "acme/client") {
		t.Errorf("status says %q", out)
	}
	if out := w.expect(0, "ls", "--json").stdout; strings.Count(out, `"state":"archived"`) != 3 {
		t.Errorf("ls says %q", out)
	}
	w.expect(0, "show", "r001")
	w.expect(2, "show", "unknown")
	w.expect(2, "ls", "--state", "nonsense")

	elsewhere := t.TempDir()
	r := startBinary(t, w.env, func(c *exec.Cmd) { c.Dir = elsewhere },
		"--config", w.configPath(), "get", "r000").wait()
	if r.code != 0 {
		t.Fatalf("get: %s", r)
	}
	w.wantFile(filepath.Join(elsewhere, "r000.wav"), inbox, "r000")
	w.expect(0, "get", "r001", "-o", "there")
	w.wantFile(filepath.Join(w.dir, "there"), inbox, "r001")
	w.wantBytes([]byte(w.expect(0, "get", "r000", "-o", "-").stdout), inbox, "r000")
	w.expect(1, "get", "r000", "-o", "no/such/place")
	w.expect(0, "reconcile", "--html", "page.html")
	if page, err := os.ReadFile(filepath.Join(w.dir, "page.html")); err != nil || !strings.Contains(string(page), "r000") && !strings.Contains(string(page), "<html") {
		t.Errorf("the page of reconcile: %v, %.200q", err, page)
	}
	w.expect(0, "verify", "--read")

	var callers []*process
	for range 5 {
		callers = append(callers, startBinary(t, w.env, nil, "--config", w.configPath(), "ls", "--json"))
	}
	for _, c := range callers {
		if r := c.wait(); r.code != 0 || strings.Count(r.stdout, `"state":"archived"`) != 3 {
			t.Errorf("one of five callers at once: %s", r)
		}
	}
	other := filepath.Join(elsewhere, "other.yaml")
	if err := os.WriteFile(other, w.configText(), 0o600); err != nil {
		t.Fatal(err)
	}
	r = startBinary(t, w.env, nil, "--config", other, "status").wait()
	if r.code != 0 || !strings.Contains(r.stderr, "its configuration applies: "+w.configPath()) {
		t.Errorf("by another configuration: %s", r)
	}

	w.expect(7, "run")
	w.expect(7, "run", "--once")
	w.ends(p)
	w.expect(0, "status")
}

// TestRetryInService wants retry to follow the run under way, and no two runs at once.
func TestRetryInService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: w.cloud.Stall()})
	p := w.start("run")
	w.await(opLink, 1)
	retry := w.start("retry", "--json")
	w.awaitLog(retry, "waiting for the run under way to end", 1)
	inbox.Add(genesystest.Recording{ID: "later"})
	if n := w.cloud.Requests(opSummary); n != 1 {
		t.Errorf("%d passes began, want the first alone", n)
	}
	w.cloud.Release()
	r := retry.wait()
	if r.code != 0 || !strings.Contains(r.stdout, `"archived":1`) {
		t.Errorf("retry: %s", r)
	}
	w.ends(p)
	w.wantArchived(all(inbox))
}

// TestCallerStops wants a signal to a caller to stop its command alone.
func TestCallerStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.config["shutdown_grace"] = "0s"
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	p := w.serve()
	for _, kill := range []bool{false, true} {
		w.cloud.Inject(genesystest.Fault{Op: opSummary, Times: genesystest.Always, Effect: w.cloud.Stall()})
		before := w.cloud.Requests(opSummary)
		retry := w.start("retry")
		w.await(opSummary, before+1)
		if kill {
			retry.kill()
		} else {
			retry.terminate(t)
		}
		if r := retry.wait(); !kill && r.code != 5 {
			t.Errorf("want exit code 5 after SIGTERM: %s", r)
		}
		w.cloud.Release()
		w.cloud.ClearFaults()
	}
	w.expect(0, "retry")
	w.ends(p)
}

// TestKilledService wants a socket that a killed service left to be no hindrance.
func TestKilledService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	fill(w.cloud.ClientInbox(), 1)
	w.serve().kill()
	w.expect(0, "status")
	p := w.start("run")
	w.awaitLog(p, "archiverd starts", 1)
	w.expect(0, "status")
	if err := p.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if r := p.wait(); r.code != 0 {
		t.Errorf("want exit code 0 after SIGINT: %s", r)
	}
}

// TestMissedRun wants a start to run at once only where a run was missed.
func TestMissedRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 1)
	w.ends(w.serve()) // the first one ever
	p := w.start("run")
	w.awaitLog(p, "archiverd starts", 1)
	if out := w.expect(0, "status").stdout; !strings.Contains(out, "waiting until 20") {
		t.Errorf("status says %q", out)
	}
	w.ends(p)
	if n := w.cloud.Requests(opSummary); n != 1 {
		t.Errorf("%d passes, want one: no run was missed", n)
	}
	w.withLedger(func(l *bolt.Ledger) error {
		return l.AddRun(t.Context(), state.Run{Start: time.Now().AddDate(1, 0, 0)}) // by a clock that was wrong
	})
	w.config["schedule"] = map[string]any{"cron": "@every 1ms"} // which is a second
	p = w.serve()
	if out := w.expect(0, "status", "--json").stdout; !strings.Contains(out, `"service":{`) {
		t.Errorf("status says %q", out)
	}
	w.ends(p)
}

// reload has the service read its configuration as it stands now.
func (w *world) reload(p *process, says string, n int) {
	w.Helper()
	w.writeConfig()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		w.Fatal(err)
	}
	w.awaitLog(p, says, n)
}

// TestReload wants a good configuration in effect with the next run, and a faulty one
// refused with all its faults.
func TestReload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	p := w.serve()

	w.text = []byte("organizations: []\nstorage: {bucket: x, region: y, nonsense: 1}\n")
	w.reload(p, "refused; the previous one", 1)
	w.text = nil
	if log := p.stderr.String(); !strings.Contains(log, "organizations") || !strings.Contains(log, "nonsense") {
		t.Errorf("the faults are not all said: %s", log)
	}
	bucket := w.bucket
	w.bucket = "another"
	w.reload(p, "restart the service for changes of storage.bucket", 1)
	w.bucket = bucket
	w.expect(0, "retry") // with the old one

	w.org["format"] = "MP3"
	w.org["client_secret"] = "another" // which the organization's client hasn't
	w.reload(p, "takes effect with the next run", 1)
	inbox.Add(genesystest.Recording{ID: "r900"})
	inbox.RevokeAccess()
	if r := w.expect(4, "retry"); !strings.Contains(r.stdout, "client_secret") {
		t.Errorf("the remedy is not said: %s", r)
	}
	w.org["client_secret"] = "secret"
	w.reload(p, "takes effect with the next run", 2)
	w.expect(0, "retry")
	w.ends(p)
	if v := w.entries(inbox)["r900"].Versions; len(v) != 1 || v[0].Format != "MP3" {
		t.Errorf("archived after the reload: %+v", v)
	}
}

// TestDeletionsOff wants deletions that are switched off to end in the pass under way.
func TestDeletionsOff(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.daily()
	w.config["transfer"] = map[string]any{"min_age": "0s", "workers": 1}
	inbox := w.cloud.ClientInbox()
	fill(inbox, 20)
	w.once(0)
	w.deleting()
	w.cloud.Inject(genesystest.Fault{Op: opDelete, Times: 1, Effect: w.cloud.Stall()})
	p := w.start("run")
	w.awaitLog(p, "archiverd starts", 1)
	retry := w.start("retry")
	w.await(opDelete, 1)
	delete(w.config, "delete_originals")
	w.reload(p, "takes effect with the next run", 1)
	w.cloud.Release()
	if r := retry.wait(); r.code != 0 {
		t.Errorf("retry: %s", r)
	}
	if n := w.cloud.Requests(opDelete); n != 1 {
		t.Errorf("%d deletions were asked for, want the one under way", n)
	}
	w.deleting()
	w.reload(p, "takes effect with the next run", 2)
	w.expect(0, "retry")
	w.ends(p)
	if n := w.cloud.Requests(opDelete); n < 20 {
		t.Errorf("%d deletions were asked for, want the others once they are on again", n)
	}
}
