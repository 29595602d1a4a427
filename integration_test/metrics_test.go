package integration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// listening has the service answer on a port of its own.
func (w *world) listening() {
	w.config["http"] = map[string]any{"listen": "127.0.0.1:0"}
}

var served = regexp.MustCompile(`"address":"([^"]+)"`)

// site is where a service answers.
func (w *world) site(p *process) string {
	w.Helper()
	w.awaitLog(p, `"address":`, 1)
	return "http://" + served.FindStringSubmatch(p.stderr.String())[1]
}

// fetch asks for one page.
func (w *world) fetch(url string, header ...string) (int, http.Header, string) {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, url, nil)
	if err != nil {
		w.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

// scrape is what Prometheus would see: values by name and labels as they are written.
type scrape map[string]float64

// read parses metrics. Their names, types and help have to be in order.
func (w *world) readMetrics(text string) scrape {
	w.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		w.Fatalf("metrics can't be read: %v\n%s", err, text)
	}
	s := scrape{}
	for name, f := range families {
		for _, m := range f.Metric {
			s[name+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return s
}

func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.Label {
		all = append(all, l.GetName()+"="+l.GetValue())
	}
	if all == nil {
		return ""
	}
	return "{" + strings.Join(all, ",") + "}"
}

func (w *world) scrape(site string) scrape {
	w.Helper()
	code, _, body := w.fetch(site + "/metrics")
	if code != 200 {
		w.Fatalf("metrics: %d %s", code, body)
	}
	return w.readMetrics(body)
}

// parse reads JSON.
func (w *world) parse(text string, to any) {
	w.Helper()
	if err := json.Unmarshal([]byte(text), to); err != nil {
		w.Fatalf("%v: %s", err, text)
	}
}

func (w *world) wantMetrics(s scrape, want scrape) {
	w.Helper()
	for name, v := range want {
		if have, ok := s[name]; !ok || have != v {
			w.Errorf("%s is %v (%v), want %v", name, have, ok, v)
		}
	}
}

// awaitMetric scrapes until a metric has a value. Only a test that fails does so long.
func (w *world) awaitMetric(site, name string, want float64) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), commandTimeout)
	defer cancel()
	for {
		s := w.scrape(site)
		if s[name] == want {
			return
		}
		if ctx.Err() != nil {
			w.Fatalf("%s is %v, and never became %v", name, s[name], want)
		}
	}
}

// TestMetrics scrapes during a run, after it and after a restart, and compares with
// what status and the ledger say.
func TestMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.listening()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 8)
	for _, id := range inbox.IDs()[:2] {
		w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: id, Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	}
	stalled := inbox.IDs()[2]
	w.cloud.Inject(genesystest.Fault{Op: opLink, Recording: stalled, Effect: w.cloud.Stall()})
	p := w.start("run")
	site := w.site(p)
	w.await(opLink, 6)
	w.awaitMetric(site, "archiverd_failed_recordings{org=acme}", 2)
	during := w.scrape(site)
	w.wantMetrics(during, scrape{"archiverd_run_under_way": 1, "archiverd_failed_recordings{org=acme}": 2,
		"archiverd_recordings_total{org=acme,result=failed}": 2})
	if during["archiverd_backlog_recordings{org=acme}"] < 1 {
		t.Errorf("nothing waits while %s is under way", stalled)
	}
	w.cloud.Release()
	w.awaitLog(p, "waiting for the schedule", 1)
	after := w.scrape(site)
	want := scrape{
		"archiverd_run_under_way": 0, "archiverd_runs_total": 1, "archiverd_runs_skipped_total": 0,
		"archiverd_backlog_recordings{org=acme}": 0, "archiverd_failed_recordings{org=acme}": 2,
		"archiverd_archived_recordings{org=acme}": 6, "archiverd_deleted_recordings{org=acme}": 0, "archiverd_vanished_recordings{org=acme}": 0,
		"archiverd_needs_person_recordings{org=acme}":          0,
		"archiverd_recordings_total{org=acme,result=archived}": 6, "archiverd_recordings_total{org=acme,result=failed}": 2,
		"archiverd_integrity_findings_total{org=acme}": 0,
		"archiverd_inboxes{condition=ok,org=acme}":     1, "archiverd_inboxes{condition=needs_login,org=acme}": 0,
		"archiverd_pass_duration_seconds{org=acme}":                                                 1,
		"archiverd_storage_requests_total{operation=GetObject,status=404}":                          1,
		"archiverd_api_requests_total{operation=oauth_token,org=acme,status=200}":                   1,
		"archiverd_api_requests_total{operation=get_userrecordings_summary,org=acme,status=200}":    1,
		"archiverd_api_requests_total{operation=get_userrecording_transcoding,org=acme,status=400}": 2,
		"archiverd_api_requests_total{operation=media_link,org=acme,status=200}":                    6,
	}
	w.wantMetrics(after, want)
	if n, oldest := after["archiverd_last_success_timestamp_seconds{org=acme}"], after["archiverd_oldest_unarchived_timestamp_seconds{org=acme}"]; n < 1.7e9 || oldest < 1.7e9 || oldest > n {
		t.Errorf("last success %v, oldest unarchived %v", n, oldest)
	}
	var status struct{ Inboxes []state.Inbox }
	w.parse(w.expect(0, "status", "--json").stdout, &status)
	if in := status.Inboxes[0]; in.Counts[state.StateArchived] != 6 || in.Counts[state.StateFailed] != 2 || float64(in.Bytes) != after["archiverd_media_bytes_total{org=acme}"] {
		t.Errorf("status says %+v, metrics %v bytes", in, after["archiverd_media_bytes_total{org=acme}"])
	}
	w.ends(p)

	again := w.start("run")
	restarted := w.scrape(w.site(again))
	for name, v := range after {
		if strings.Contains(name, "recordings") && !strings.Contains(name, "requests") || strings.Contains(name, "media_bytes") || strings.Contains(name, "oldest") {
			if strings.Contains(name, "failed") { // they are being tried again
				continue
			}
			if restarted[name] != v {
				t.Errorf("%s was %v before the restart, and is %v", name, v, restarted[name])
			}
		}
	}
	w.ends(again)
	for name := range after {
		if strings.Contains(name, "client}") || strings.Contains(name, "=client") {
			t.Errorf("%s has a label for an inbox", name)
		}
	}
}

// TestHealth wants the service to answer whoever may ask, and nobody else.
func TestHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.listening()
	w.cloud.Inject(genesystest.Fault{Times: genesystest.Always, Effect: genesystest.Status(503, "down")})
	p := w.start("run")
	site := w.site(p)
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, // though Genesys is down
		"/metrics": 200, "/debug/pprof/": 404, "/nothing": 404, "/healthz/": 404,
	} {
		if code, h, body := w.fetch(site + path); code != want || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v %s, want %d", path, code, h, body, want)
		}
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(site, "http://"))
	for host, want := range map[string]int{
		"localhost:" + port: 200, "LOCALHOST": 200, "127.0.0.1": 200, "[::1]:" + port: 200,
		"attacker.example:" + port: 403, "localhost.attacker.example": 403, "10.0.0.1": 403,
	} {
		if code, _, body := w.fetch(site+"/healthz", "Host", host); code != want {
			t.Errorf("asked as %q: %d %s, want %d", host, code, body, want)
		}
	}
	w.config["http"] = map[string]any{"listen": strings.TrimPrefix(site, "http://")}
	w.config["state"] = map[string]any{"path": filepath.Join(w.dir, "other.db")}
	if r := w.start("run").wait(); r.code != 2 || !strings.Contains(r.stderr, "http.listen") || !strings.Contains(r.stderr, "address already in use") {
		t.Errorf("a port that is taken: %s", r)
	}
	w.ends(p)
}

// TestMetricsLeft wants the metrics of a single run in a file and at a Pushgateway.
func TestMetricsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 3)
	var mu sync.Mutex
	var asked []string
	gateway := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		user, password, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprint(r.Method, " ", r.URL.Path, " ", user, ":", password))
		if len(asked) == 1 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer gateway.Close()
	file := filepath.Join(w.dir, "archiverd.prom")
	w.config["metrics"] = map[string]any{"textfile": file, "push_url": strings.Replace(gateway.URL, "http://", "http://user:hunter2@", 1)}
	r := w.once(0)
	if strings.Contains(r.stdout+r.stderr, "hunter2") {
		t.Errorf("the gateway's password is shown: %s", r)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	w.wantMetrics(w.readMetrics(string(text)), scrape{"archiverd_recordings_total{org=acme,result=archived}": 3})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("node_exporter could not read the file: %v, %v", info.Mode(), err)
	}
	want := "PUT /metrics/job/archiverd/instance/archiverd user:hunter2"
	if len(asked) != 2 || asked[1] != want {
		t.Errorf("pushed %q, want %q after one failure", asked, want)
	}
	gateway.Close()
	if r := w.once(0); !strings.Contains(r.stderr, "no metrics are pushed") || strings.Contains(r.stderr, "hunter2") {
		t.Errorf("a gateway that is gone: %s", r)
	}
}

// TestHeartbeat wants a call after each run that brings up nothing new for a person,
// and none after one that does.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 2, "anna", "ben")
	var mu sync.Mutex
	calls := 0
	monitor := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Path == "/ping/hunter2" && r.Method == http.MethodGet {
			calls++
		}
	}))
	defer monitor.Close()
	w.config["heartbeat_url"] = monitor.URL + "/ping/hunter2"
	called := func(want int, why string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if calls != want {
			t.Errorf("%s: %d calls so far, want %d", why, calls, want)
		}
	}
	w.once(0)
	called(1, "a good run")
	inboxes[0].RevokeTokens()
	w.once(0)
	called(1, "a user has to log in")
	w.once(0)
	called(2, "that is known by now")
	w.cloud.Inject(genesystest.Fault{Op: opSummary, Times: genesystest.Always, Effect: genesystest.Status(503, "down")})
	w.once(5)
	called(2, "Genesys is down")
	w.cloud.ClearFaults()
	w.once(0)
	called(2, "the login may be new: during the outage nobody could tell")
	inboxes[1].Add(genesystest.Recording{ID: "stubborn"})
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "stubborn", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	w.once(3)
	called(3, "a recording that is tried again by itself")
	monitor.Close()
	if r := w.once(3); !strings.Contains(r.stderr, "no heartbeat is sent") || strings.Contains(r.stderr, "hunter2") {
		t.Errorf("a monitor that is gone: %s", r)
	}
}
