// Package watch shows how archiverd is doing: metrics for Prometheus, health checks for
// a service manager, a status page for people, and a heartbeat.
//
//   - All figures about recordings and inboxes are read from the ledger's counters at
//     each request, so that metrics, page and archiverd status agree, and a restart
//     changes no figure.
//   - No metric has a label for an inbox or a person, and nothing that is shown contains
//     a secret, media, or the name of a person or a recording.
//   - No request reads all entries of the ledger.
package watch

import (
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/service"
)

// Metrics holds archiverd's metrics in a registry of their own. Its methods are the
// hooks by which the archiver and its clients report what they do.
type Metrics struct {
	Registry *prometheus.Registry

	passes      *prometheus.HistogramVec
	apiRequests *prometheus.CounterVec
	apiWait     *prometheus.CounterVec
	storage     *prometheus.CounterVec
	retries     prometheus.Counter
}

// passBuckets range from a pass without new recordings to a first pass of a whole night.
var passBuckets = []float64{0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600}

// NewMetrics returns the metrics of a process. AddLedger adds the ledger's once it is
// open.
func NewMetrics(version string) *Metrics {
	org := []string{"org"}
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		passes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "archiverd_pass_duration_seconds", Help: "How long passes took, since the process started.", Buckets: passBuckets}, org),
		apiRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "archiverd_api_requests_total", Help: "Requests to Genesys and its media links, by operation and HTTP status (0: no reply), since the process started."},
			[]string{"org", "operation", "status"}),
		apiWait: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "archiverd_api_budget_wait_seconds_total", Help: "Time that requests to Genesys waited for the rate budget, since the process started."}, org),
		storage: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "archiverd_storage_requests_total", Help: "Requests to the store, by S3 operation and HTTP status (0: no reply), since the process started."},
			[]string{"operation", "status"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "archiverd_retries_total", Help: "Requests to Genesys that were sent once more, since the process started."}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "archiverd_build_info", Help: "Always 1.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()}})
	build.Set(1)
	m.Registry.MustRegister(build, m.passes, m.apiRequests, m.apiWait, m.storage, m.retries,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// AddLedger adds the ledger's figures, which are read at each scrape.
func (m *Metrics) AddLedger(l ledger) { m.Registry.MustRegister(newLedgerCollector(l, nil)) }

// AddSharedLedger adds the figures of a ledger in a database and of the workers that share it,
// which are read at each scrape.
func (m *Metrics) AddSharedLedger(l ledger, t team) {
	m.Registry.MustRegister(newLedgerCollector(l, t))
}

// PassEnded and Retried make Metrics an archiver's observer.
func (m *Metrics) PassEnded(r archiver.InboxReport) {
	m.passes.WithLabelValues(r.Org).Observe(r.Pass.End.Sub(r.Pass.Start).Seconds())
}

func (m *Metrics) Retried() { m.retries.Inc() }

// APIRequest returns the observer of an organization's Genesys clients.
func (m *Metrics) APIRequest(org string) func(op string, status int, waited time.Duration) {
	wait := m.apiWait.WithLabelValues(org)
	return func(op string, status int, waited time.Duration) {
		m.apiRequests.WithLabelValues(org, op, strconv.Itoa(status)).Inc()
		wait.Add(waited.Seconds())
	}
}

// StorageRequest is the observer of the store's client.
func (m *Metrics) StorageRequest(op string, status int) {
	m.storage.WithLabelValues(op, strconv.Itoa(status)).Inc()
}

// AddSchedule adds the metrics that only a service has. status is called at each scrape.
func (m *Metrics) AddSchedule(status func() service.Status) {
	gauge := func(name, help string, value func(service.Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(status()) })
	}
	counter := func(name, help string, value func(service.Status) int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value(status())) })
	}
	m.Registry.MustRegister(
		gauge("archiverd_run_under_way", "1 while a run is under way.", func(s service.Status) float64 {
			if s.Running.IsZero() {
				return 0
			}
			return 1
		}),
		gauge("archiverd_next_run_timestamp_seconds", "When the schedule starts the next run.", func(s service.Status) float64 { return unix(s.Next) }),
		counter("archiverd_runs_total", "Runs that ended, since the process started.", func(s service.Status) int64 { return s.Runs }),
		counter("archiverd_runs_skipped_total", "Times of the schedule that came while a run was under way, since the process started.", func(s service.Status) int64 { return s.Skipped }),
	)
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
