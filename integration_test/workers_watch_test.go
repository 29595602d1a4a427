package integration_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/workers"
)

// shared is what status says of the processes that share the ledger.
func (m *team) shared() (t workers.Team) {
	m.Helper()
	var status struct{ Shared workers.Team }
	m.parse(m.expect(0, "status", "--json").stdout, &status)
	return status.Shared
}

// awaitShared waits until status says what is wanted.
func (m *team) awaitShared(wanted func(workers.Team) bool) {
	m.Helper()
	for began := time.Now(); !wanted(m.shared()); {
		if time.Since(began) > commandTimeout {
			m.Fatalf("status never said what is wanted: %+v", m.shared())
		}
	}
}

// signal sends a signal to a process.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// TestWorkersAreSeen looks at two workers from outside, in metrics, on the status page and in
// status: while both hold inboxes, while one is frozen, while the database is away, and once
// one has left.
func TestWorkersAreSeen(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 6, 2)
	m.config["passes"] = 2
	m.listening()
	m.cloud.Inject(genesystest.Fault{Op: opLink, Times: genesystest.Always, Effect: m.cloud.Stall()})
	one, two := m.start("run"), m.start("run")
	site, other := m.site(one), m.site(two)
	for _, s := range []string{site, other} {
		m.awaitMetric(s, "archiverd_running_passes", 4)
		m.wantMetrics(m.scrape(s), scrape{"archiverd_workers": 2, "archiverd_waiting_passes": 2, "archiverd_database_up": 1, "archiverd_claims_lost_total": 0})
	}
	if s := m.scrape(site); s["archiverd_oldest_waiting_pass_timestamp_seconds"] == 0 {
		t.Error("no metric says since when passes wait")
	}
	held := map[string]int{}
	for _, w := range m.shared().Workers {
		for _, inbox := range w.Holds {
			held[inbox]++
		}
		if !w.Alive || len(w.Holds) != 2 {
			t.Errorf("a worker is %+v", w)
		}
	}
	if len(held) != 4 {
		t.Errorf("these inboxes are held: %v", held)
	}
	dom, picture := m.look(site, 1000, "--window-size=1200,1400")
	m.wantText(dom, "passes over 4 inboxes, and 2 wait for a worker", "Process Sign of life", "alive")
	if dir := os.Getenv("ARCHIVERD_PICTURES"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "workers.png"), picture, 0o644); err != nil {
			t.Error(err)
		}
	}

	two.signal(t, syscall.SIGSTOP)
	m.awaitMetric(site, "archiverd_workers", 1)
	m.awaitShared(func(t workers.Team) bool {
		silent := slices.IndexFunc(t.Workers, func(w workers.Member) bool { return !w.Alive })
		return silent >= 0 && len(t.Workers[silent].Holds) == 0
	})
	if out := m.expect(0, "status").stdout; !strings.Contains(out, "Workers alive: 1;") || !strings.Contains(out, "none since") {
		t.Errorf("with a frozen worker, status says %s", out)
	}
	two.signal(t, syscall.SIGCONT)
	m.awaitMetric(site, "archiverd_workers", 2)
	m.awaitMetric(other, "archiverd_claims_lost_total", 2)

	m.cloud.Release()
	if r := m.awaitRuns(1); r.Archived != 12 {
		t.Errorf("the run's record is %+v", r)
	}

	if err := m.server.Stop(postgrestest.Immediate); err != nil {
		t.Fatal(err)
	}
	m.awaitMetric(other, "archiverd_database_up", 0)
	if s := m.scrape(other); s["archiverd_claims_lost_total"] < 2 || has(s, "archiverd_workers") || has(s, "archiverd_backlog_recordings{org=acme}") {
		t.Errorf("without a database, the metrics are %v", s)
	}
	if err := m.server.Again(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{site, other} {
		m.awaitMetric(s, "archiverd_database_up", 1)
	}
	m.leaves(two)
	m.wantMetrics(m.scrape(site), scrape{"archiverd_workers": 1, "archiverd_waiting_passes": 0, "archiverd_running_passes": 0})
	m.leaves(one)
	if left := m.shared(); len(left.Workers) > 0 {
		t.Errorf("after all have left, there are %+v", left)
	}
	m.wantAllOnce()
}

func has(s scrape, name string) bool { _, ok := s[name]; return ok }
