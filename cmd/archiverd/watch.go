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
	"github.com/archiverd/archiverd/state"
)

// listen listens at http.listen. It returns nil if that is empty.
func (d *daemon) listen(ctx context.Context) (*watch.Server, error) {
	if d.config.HTTP.Listen == "" {
		return nil, nil
	}
	d.metrics.AddSchedule(d.service.Status)
	var page http.Handler
	if d.config.HTTP.Page {
		page = watch.NewPage(watch.PageOptions{
			Ledger: d.ledger, Version: version(), Status: d.service.Status, Progress: d.progress,
			Deletion: func() archiver.Deletion { return deletion(d.current()) },
			Zone:     func() *time.Location { return d.current().Schedule.Timezone },
		})
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
func (d *daemon) progress() *archiver.Progress {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &d.fleet.archiver.Progress
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

// heartbeat calls heartbeat_url in the background, unless the run needs a person's
// attention; sending waits for the call. before holds the inboxes as they were when the
// run began.
func (f *fleet) heartbeat(stop context.Context, r *archiver.Report, before map[[2]string]state.Inbox, failing []failures) {
	address := f.config.HeartbeatURL.Reveal()
	if address == "" {
		return
	}
	if why := newForPerson(r, before, failing); why != "" {
		f.log.Warn("heartbeat_url is not called", "reason", why)
		return
	}
	f.sending.Go(func() {
		transport, err := network.NewTransport(network.Options{CAFile: f.config.Network.CAFile})
		if err == nil {
			ctx, cancel := reporting(stop, f.config)
			defer cancel()
			err = watch.Heartbeat(ctx, transport, address, userAgent())
		}
		if err != nil {
			f.log.Error("no heartbeat is sent", "error", err)
		}
	})
}

// newForPerson returns why this run needs a person's attention that no earlier run has
// asked for, or why nothing can be archived at all; "" if neither is so.
func newForPerson(r *archiver.Report, before map[[2]string]state.Inbox, failing []failures) string {
	good := 0
	for i, in := range r.Inboxes {
		known := before[[2]string{in.Org, in.Inbox}]
		was := known.Condition
		where := in.Org + "/" + in.Inbox
		switch kind := archiver.KindOf(in.Err); {
		case in.Pass.Findings > 0:
			return where + ": the archive is not what it should be"
		case in.Pass.Vanished > 0:
			return where + ": recordings were deleted before they could be archived"
		case failing[i].needPerson > known.NeedsPerson:
			return where + ": recordings have failed for so long that a person has to look"
		case in.Short != "" && was != archiver.ConditionShort:
			return where + ": " + in.Short
		case kind == archiver.KindNone:
			good++
		case kind == archiver.KindNeedsLogin && was == archiver.ConditionNeedsLogin:
		case (kind == archiver.KindFailed || kind == archiver.KindRefused) && was == archiver.ConditionFailing:
		default:
			return where + ": " + in.Err.Error()
		}
	}
	if good == 0 && len(r.Inboxes) > 0 {
		return "no inbox could be archived"
	}
	return ""
}
