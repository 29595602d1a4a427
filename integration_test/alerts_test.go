package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

const (
	rulesFile     = "../deploy/prometheus/archiverd.rules.yaml"
	ruleTestsFile = "../deploy/prometheus/archiverd.rules_test.yaml"
	dashboardFile = "../deploy/grafana/archiverd.json"
)

// promtool checks a file of Prometheus'. The test does not do without it.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("alert rules are tested by promtool, which is not there: .ci/install promtool")
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v\n%s", args, err, out)
	}
}

// expressions are what the dashboard asks Prometheus for.
func expressions(t *testing.T) (all []string) {
	t.Helper()
	var dashboard struct {
		Templating struct{ List []struct{ Query string } }
		Panels     []struct {
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(dashboardFile)
	if err == nil {
		err = json.Unmarshal(text, &dashboard)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range dashboard.Templating.List[1:] { // the first is the data source
		all = append(all, v.Query)
	}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	return all
}

// TestAlertsAndDashboard holds the alert rules and the dashboard against what the
// binary exports, and the rules against their own tests.
func TestAlertsAndDashboard(t *testing.T) {
	t.Parallel()
	promtool(t, "check", "rules", rulesFile)
	promtool(t, "test", "rules", ruleTestsFile)
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	text, err := os.ReadFile(rulesFile)
	if err == nil {
		err = yaml.Unmarshal(text, &rules)
	}
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(ruleTestsFile)
	if err != nil {
		t.Fatal(err)
	}
	asked := expressions(t)
	checkExpressions(t, asked[1:]) // the first is the variable's
	for _, r := range rules.Groups[0].Rules {
		asked = append(asked, r.Expr)
		anchor := "alert-" + strings.ToLower(r.Alert)
		if r.For == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" ||
			r.Annotations["runbook"] != "docs/operate.md#"+anchor {
			t.Errorf("alert %s lacks something: %+v", r.Alert, r)
		}
		if strings.Count(string(tests), r.Alert) < 3 {
			t.Errorf("alert %s is not tested", r.Alert)
		}
	}

	exported := exportedMetrics(t)
	used := map[string]bool{}
	for _, e := range asked {
		for _, name := range regexp.MustCompile(`archiverd_[a-z_]+`).FindAllString(e, -1) {
			name = strings.TrimSuffix(name, "_bucket")
			used[name] = true
			if !exported[name] {
				t.Errorf("%s asks for %s, which archiverd does not export", e, name)
			}
		}
	}
	for name := range exported {
		if !used[name] && name != "archiverd_next_run_timestamp_seconds" {
			t.Errorf("%s is exported, but neither on the dashboard nor in a rule", name)
		}
	}
	if len(exported) < 20 {
		t.Errorf("only %d metrics: %v", len(exported), slices.Sorted(maps.Keys(exported)))
	}
}

// checkExpressions has promtool read the dashboard's expressions, as rules.
func checkExpressions(t *testing.T, all []string) {
	t.Helper()
	var rules strings.Builder
	rules.WriteString("groups: [{name: dashboard, rules: [\n")
	for i, e := range all {
		e = strings.NewReplacer("$org", ".*", "$__rate_interval", "5m").Replace(e)
		fmt.Fprintf(&rules, "{record: 'x%d', expr: %q},\n", i, e)
	}
	rules.WriteString("]}]\n")
	path := filepath.Join(t.TempDir(), "dashboard.yaml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

// exportedMetrics are the names of a service that has done and left something.
func exportedMetrics(t *testing.T) map[string]bool {
	t.Helper()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.listening()
	fill(w.cloud.ClientInbox(), 3)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Times: 1, Effect: genesystest.Status(400, "bad.request")})
	p := w.start("run")
	site := w.site(p)
	w.awaitMetric(site, "archiverd_runs_total", 1)
	names := map[string]bool{}
	w.exports(site, names)
	w.ends(p)

	// And a worker that shares its ledger, while a pass waits.
	m := newTeam(t, genesystest.Options{}, 2, 1)
	m.config["passes"] = 1
	m.listening()
	m.cloud.Inject(genesystest.Fault{Op: opLink, Times: genesystest.Always, Effect: m.cloud.Stall()})
	p = m.start("run")
	site = m.site(p)
	m.awaitMetric(site, "archiverd_waiting_passes", 1)
	m.exports(site, names)
	m.cloud.ClearFaults()
	m.cloud.Release()
	m.leaves(p)
	return names
}

// exports adds the names of archiverd's metrics that a service exports.
func (w *world) exports(site string, names map[string]bool) {
	w.Helper()
	for name := range w.scrape(site) {
		name, _, _ = strings.Cut(name, "{")
		if strings.HasPrefix(name, "archiverd_") {
			names[name] = true
		}
	}
}
