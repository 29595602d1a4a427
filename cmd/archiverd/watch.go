package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/tally"
)

// listen listens at http.listen. It returns nil if that is empty.
func (d *daemon) listen(ctx context.Context) (*watch.Server, error) {
	if d.config.HTTP.Listen == "" {
		return nil, nil
	}
	d.metrics.AddSchedule(d.service.Status)
	var page http.Handler
	if d.config.HTTP.Page {
		o := watch.PageOptions{
			Ledger: d.ledger, Version: version(), Status: d.service.Status, Progress: d.progress,
			Deletion: func() archiver.Deletion { return deletion(d.current()) },
			Zone:     func() *time.Location { return d.current().Schedule.Timezone },
		}
		if d.worker != nil {
			o.Team = d.worker.Team
		}
		page = watch.NewPage(o)
	}
	s, err := watch.Listen(d.config.HTTP.Listen, watch.Options{
		Metrics: d.metrics,
		Ready:   watch.Ready(d.ledger, d.service.Status),
		Page:    page,
		Pprof:   d.config.HTTP.Pprof,
		Log:     d.log,
	})
	if err == nil {
		d.log.Info("metrics, health and status page are served", "address", s.Addr().String())
	}
	return s, err
}

// progress returns the progress of the run under way, or of the last one.
func (d *daemon) progress() *tally.Tally {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &d.fleet.Archiver.Tally
}

// reporting limits requests to the Pushgateway and to the heartbeat's host to
// report_timeout.
func reporting(ctx context.Context, c *config.Config) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, c.ReportTimeout, fmt.Errorf("no answer within %v (report_timeout)", c.ReportTimeout))
}

// leaveMetrics writes and pushes the metrics of a single run, as configured. It logs
// failures; they don't change the result of the run.
func (a *app) leaveMetrics(c *config.Config, m *watch.Metrics, log *slog.Logger) {
	if c.Metrics.Textfile != "" {
		if err := m.WriteTextfile(c.Metrics.Textfile); err != nil {
			log.Error("could not write the metrics file", "error", err)
		}
	}
	gateway := c.Metrics.PushURL.Reveal()
	if gateway == "" {
		return
	}
	instance := filepath.Base(a.configPath)
	instance = strings.TrimSuffix(instance, filepath.Ext(instance))
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile})
	if err == nil {
		ctx, cancel := reporting(context.Background(), c) // also after a stop
		defer cancel()
		err = m.Push(ctx, transport, gateway, instance)
	}
	if err != nil {
		log.Error("no metrics are pushed", "error", err)
	}
}

// sendHeartbeat calls heartbeat_url.
func sendHeartbeat(ctx context.Context, c *config.Config, address string) error {
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile})
	if err != nil {
		return err
	}
	ctx, cancel := reporting(ctx, c)
	defer cancel()
	return watch.Heartbeat(ctx, transport, address, userAgent())
}
