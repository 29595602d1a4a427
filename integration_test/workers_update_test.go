package integration_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// TestWorkersRollingUpdate replaces workers of one version by those of another, one after the
// other, while they make a run. The run goes on, and is one run.
func TestWorkersRollingUpdate(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{DeletedListings: 1}, 6, 8)
	m.deleting()
	m.config["passes"] = 2
	m.config["transfer"] = map[string]any{"min_age": "0s", "workers": 1}
	var want []recordings
	for _, in := range m.inboxes {
		want = append(want, all(in))
	}
	// A gate lets some downloads through, and holds the others up until the next one.
	gate := func(n int) {
		before := m.cloud.Requests(opLink)
		m.cloud.ClearFaults()
		m.cloud.Inject(genesystest.Fault{Op: opLink, Skip: n, Times: genesystest.Always, Effect: m.cloud.Stall()})
		m.cloud.Release()
		m.await(opLink, before+n+1)
	}
	m.cloud.Inject(genesystest.Fault{Op: opLink, Times: genesystest.Always, Effect: m.cloud.Stall()})
	m.binary = m.build("v0.0.1-earlier")
	old := []*process{m.start("run"), m.start("run"), m.start("run")}
	m.binary = ""
	gate(6)
	var workers []*process
	for _, p := range old {
		workers = append(workers, m.start("run"))
		p.terminate(t)
		gate(6)
		if r := p.wait(); r.code != 0 {
			t.Fatalf("the earlier version ended with %s", r)
		}
	}
	m.cloud.ClearFaults()
	m.cloud.Release()
	if r := m.awaitRuns(1); r.Inboxes != 6 || r.Archived != 48 || r.ExitCode != 0 || r.ID != "job 2" { // job 1 looked whether a run is due
		t.Errorf("the run's record is %+v", r)
	}
	for _, p := range workers {
		m.leaves(p)
	}
	m.wantArchived(want...)
	by := map[string]int{}
	for _, a := range m.archive().manifests {
		by[a.Archiverd]++
	}
	if len(by) != 2 || by["v0.0.1-earlier"] == 0 {
		t.Errorf("these versions took part: %v", by)
	}
	m.wantAlone(append(old, workers...))
}

// build builds archiverd as another version.
func (w *world) build(version string) string {
	w.Helper()
	source, err := filepath.Abs("../cmd/archiverd/version.go")
	if err != nil {
		w.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		w.Fatal(err)
	}
	begin := []byte("func version() string {\n")
	if !bytes.Contains(text, begin) {
		w.Fatalf("%s has no %s", source, begin)
	}
	edited := filepath.Join(w.dir, "version.go")
	text = bytes.Replace(text, begin, []byte(string(begin)+"\tif true {\n\t\treturn \""+version+"\"\n\t}\n"), 1)
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: edited}})
	if err != nil {
		w.Fatal(err)
	}
	for name, data := range map[string][]byte{"version.go": text, "overlay.json": overlay} {
		if err := os.WriteFile(filepath.Join(w.dir, name), data, 0o600); err != nil {
			w.Fatal(err)
		}
	}
	built := filepath.Join(w.dir, "archiverd-"+version)
	if out, err := exec.Command("go", "build", "-overlay", filepath.Join(w.dir, "overlay.json"), "-o", built, "../cmd/archiverd").CombinedOutput(); err != nil {
		w.Fatalf("build archiverd: %v\n%s", err, out)
	}
	return built
}

// TestWorkerLeavesAtOnce stops a worker in the middle of downloads that do not end. Its claims
// live for an hour, and another worker has the inboxes at once nevertheless.
func TestWorkerLeavesAtOnce(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 3, 2)
	m.config["state"].(map[string]any)["claim"] = "1h"
	m.config["shutdown_grace"] = "0s"
	m.cloud.Inject(genesystest.Fault{Op: opLink, Times: genesystest.Always, Effect: m.cloud.Stall()})
	one := m.start("run")
	m.await(opLink, 3)
	m.awaitLog(one, `"msg":"works on the inbox"`, 3)
	two := m.start("run")
	m.awaitLog(two, "archiverd starts", 1)
	m.leaves(one)
	m.awaitLog(two, `"msg":"works on the inbox"`, 3)
	m.cloud.ClearFaults()
	m.cloud.Release()
	if r := m.awaitRuns(1); r.Inboxes != 3 || r.Archived != 6 || r.ExitCode != 0 {
		t.Errorf("the run's record is %+v", r)
	}
	m.leaves(two)
	m.wantAllOnce()
}

// TestWorkerReload lets a worker read its configuration anew: deletions that are switched on
// count from the next pass, those that are switched off end in the middle of one, and what
// needs a restart is refused.
func TestWorkerReload(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 1, 4)
	m.config["schedule"] = map[string]any{"cron": "@every 1s"}
	m.config["transfer"] = map[string]any{"min_age": "0s", "workers": 1}
	want := all(m.inboxes[0])
	p := m.start("run")
	m.awaitRuns(2)
	if n := m.cloud.Requests(opDelete); n > 0 {
		t.Errorf("%d originals were deleted though nobody asked for it", n)
	}
	m.cloud.Inject(genesystest.Fault{Op: opDelete, Skip: 1, Effect: m.cloud.Stall()})
	m.deleting()
	m.reload(p, "it takes effect with the next run", 1)
	m.await(opDelete, 2)
	m.config["delete_originals"] = map[string]any{"enabled": false}
	m.reload(p, "it takes effect with the next run", 2)
	m.cloud.Release()
	m.runs(2)
	if n := m.cloud.Requests(opDelete); n != 2 {
		t.Errorf("%d deletions were requested, 2 of them before they were switched off", n)
	}
	m.config["state"].(map[string]any)["claim"] = "20s"
	m.reload(p, "restart the service for changes of state.url, its password and state.claim", 1)
	m.config["state"].(map[string]any)["claim"] = "10s"
	m.deleting()
	m.reload(p, "it takes effect with the next run", 3)
	m.await(opDelete, 4)
	m.leaves(p)
	m.wantArchived(want)
}
