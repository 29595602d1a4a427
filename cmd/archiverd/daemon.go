package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/service/control"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// daemon is archiverd as a service: the holder of the ledger, which runs on the
// schedule and runs other processes' commands for them.
type daemon struct {
	config     *config.Config
	configPath string // absolute
	ledger     *state.Ledger
	fleet      *fleet
	flags      runFlags
	service    *service.Service
	stop       context.Context
	log        *slog.Logger
}

// serve stays until it is told to stop.
func (a *app) serve(c *config.Config, b *storage.Bucket, l *state.Ledger, m *watch.Metrics, f runFlags) error {
	log := a.logger(c.Log, a.stderr)
	path, err := filepath.Abs(a.configPath)
	if err != nil {
		return err
	}
	d := &daemon{config: c, configPath: path, ledger: l, fleet: newFleet(c, b, l, m, log), flags: f, stop: a.stop, log: log}
	last, err := lastRun(l)
	if err != nil {
		return err
	}
	d.service = service.New(service.Options{Schedule: c.Schedule.Parsed, LastRun: last, Run: d.run, Log: log})
	web, err := d.listen(m)
	if err != nil {
		return fail(exitUsage, err)
	}
	socket, err := control.Listen(socketPath(c), d.command, log)
	if err != nil {
		return fail(exitUsage, err)
	}
	log.Info("archiverd starts", "version", version(), "schedule", c.Schedule.Cron, "timezone", c.Schedule.Timezone.String())
	var parts sync.WaitGroup
	parts.Go(func() { socket.Serve(a.stop) })
	if web != nil {
		parts.Go(func() { web.Serve(a.stop) })
	}
	d.service.Serve(a.stop)
	parts.Wait()
	log.Info("archiverd stops")
	return nil
}

// lastRun is when the last run started; zero: there was none. What a clock that was
// wrong has put into the future does not count.
func lastRun(l *state.Ledger) (time.Time, error) {
	runs, err := l.Runs(1000)
	now := time.Now()
	for _, r := range runs {
		if !r.Start.After(now) {
			return r.Start, nil
		}
	}
	return time.Time{}, err
}

// run is a run of the schedule.
func (d *daemon) run() {
	if _, _, err := d.fleet.run(d.stop, d.flags, d.follow); err != nil {
		d.log.Error("the run failed", "error", err)
	}
}

func (d *daemon) follow(n *archiver.Progress) (finish func()) {
	return (&progress{}).follow(n, d.log)
}

// command runs a caller's command line.
func (d *daemon) command(ctx context.Context, r control.Request, c *control.Caller) int {
	if r.Version != version() {
		fmt.Fprintf(c.Stderr(), "archiverd: the service that answers is version %s, this is %s: restart the service\n", version(), r.Version)
	}
	if r.Config != d.configPath {
		fmt.Fprintf(c.Stderr(), "archiverd: the service that holds the ledger answers for its own configuration %s\n", d.configPath)
	}
	a := &app{
		args: r.Args, stdin: c.Stdin(), stdout: c.Stdout(), stderr: c.Stderr(),
		stop: ctx, create: c.Create, daemon: d,
	}
	return a.execute()
}

// retryInService makes recordings due and runs once, when no other run is under way.
func (a *app) retryInService(f runFlags, makeDue func() error) error {
	shown := newProgress(a.stderr)
	log := a.logger(a.daemon.config.Log, shown.w)
	var report *archiver.Report
	var code int
	var err error
	waiting := func() { log.Info("a run is under way; this one follows it") }
	run := func() {
		if err = makeDue(); err == nil {
			report, code, err = a.daemon.fleet.run(a.stop, f, func(n *archiver.Progress) func() { return shown.follow(n, log) })
		}
	}
	if err := a.daemon.service.RunNow(a.stop, waiting, run); err != nil {
		return fail(exitTemporary, errors.New("stopped before it was this run's turn"))
	}
	if err != nil {
		return err
	}
	return a.sayReport(report, code)
}
