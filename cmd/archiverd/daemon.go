package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/service/control"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/workers"
)

// daemon is the service: it holds the ledger, makes runs on the schedule, and executes
// the commands that other processes send.
type daemon struct {
	app        *app   // the run command that became the service
	configPath string // absolute
	ledger     ledger
	metrics    *watch.Metrics
	flags      runFlags
	service    *service.Service
	worker     *workers.Worker // nil: the ledger is a file, and no other process shares the runs
	pulse      *service.Pulse
	log        *slog.Logger

	making sync.Mutex // held by readyFleet

	mu      sync.Mutex
	config  *config.Config // as last read
	fleet   *fleet.Fleet   // of the last run
	reached bool           // the bucket could be used since the start
}

// serve runs the service until a signal stops it.
func (a *app) serve(ctx context.Context, c *config.Config, m *watch.Metrics, f runFlags) (err error) {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	stop, end := context.WithCancel(a.stop)
	defer end()
	a.stop = stop
	d := &daemon{app: a, metrics: m, flags: f, pulse: service.NewPulse(), log: a.logger(c.Log, a.stderr), config: c}
	if d.configPath, err = filepath.Abs(a.configPath); err != nil {
		return err
	}
	b, err := newBucket(a.stop, c, m.StorageRequest, d.pulse.Beat)
	if err != nil {
		return err
	}
	if d.ledger, err = d.open(ctx, b); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.ledger.Close()) }()
	d.fleet = d.newFleet(c, b)
	if err := d.prepare(ctx); err != nil {
		return err
	}
	web, err := d.listen(ctx)
	if err != nil {
		return fail(exitUsage, err)
	}
	var socket *control.Server
	if c.State.URL == "" {
		if socket, err = control.Listen(socketPath(c), d.command, d.log); err != nil {
			return fail(exitUsage, err)
		}
	}
	d.log.Info("archiverd starts", "version", version(), "schedule", c.Schedule.Cron, "timezone", c.Schedule.Timezone.String())
	d.sayKept(ctx, c)
	var parts sync.WaitGroup
	if socket != nil {
		parts.Go(func() { socket.Serve(a.stop) })
	}
	if web != nil {
		parts.Go(func() { web.Serve(a.stop) })
	}
	var left error
	if d.worker != nil {
		parts.Go(func() {
			defer end() // a service that can't work must not look like one that is idle
			left = d.worker.Work(ctx, a.stop)
		})
	}
	d.service.Serve(a.stop, hup)
	parts.Wait()
	d.log.Info("archiverd stops")
	return left
}

// prepare makes the service that runs on the schedule, once the ledger is open.
func (d *daemon) prepare(ctx context.Context) error {
	last, err := lastRun(ctx, d.ledger)
	if err != nil {
		return err
	}
	if !d.reached {
		last = time.Time{} // run at once: failed runs are repeated until the bucket can be used
	}
	if d.worker, err = d.share(ctx); err != nil {
		return err
	}
	if d.worker == nil {
		d.metrics.AddLedger(d.ledger)
	} else {
		d.metrics.AddSharedLedger(d.ledger, d.worker)
	}
	d.service = service.New(service.Options{
		Schedule: service.Local(d.config.Schedule.Parsed), LastRun: last,
		Run: func() error { return d.run(ctx) }, Passing: func(err error) bool { return codeOf(err) == exitTemporary }, Pulse: d.pulse, Doing: d.doing, Reload: d.reload, Log: d.log,
	})
	return nil
}

// open checks the bucket and opens the ledger. If the bucket can't be used for a
// temporary reason, the service starts nevertheless: its runs wait for the bucket, and
// archiverd status shows why.
func (d *daemon) open(ctx context.Context, b *storage.Bucket) (ledger, error) {
	err := b.Check(d.app.stop)
	switch {
	case err == nil:
		d.reached = true
		return d.app.openOwnLedger(ctx, d.config, b)
	case codeOf(err) != exitTemporary || d.app.stop.Err() != nil:
		return nil, err
	}
	d.log.Warn("the store can't be used yet; the service waits for it", "error", err)
	return openRecounted(ctx, d.config)
}

type runLister interface {
	Runs(ctx context.Context, limit int) ([]state.Run, error)
}

// lastRun returns when the last run started; zero: there was none. Runs that a wrong
// clock dated in the future are ignored.
func lastRun(ctx context.Context, l runLister) (time.Time, error) {
	runs, err := l.Runs(ctx, 1000)
	now := time.Now()
	for _, r := range runs {
		if !r.Start.After(now) {
			return r.Start, nil
		}
	}
	return time.Time{}, err
}

func (d *daemon) newFleet(c *config.Config, b *storage.Bucket) *fleet.Fleet {
	// A reload that changes the rules of deletion stops the deletions of every earlier fleet: a
	// pass under way knows the old rules alone, also when deletions are turned on once more.
	halted := func() bool { return d.current().DeleteOriginals != c.DeleteOriginals }
	return opened{c, b, d.ledger}.newFleet(d.app.logger(c.Log, d.app.stderr), hooks{d.metrics, d.pulse.Beat, halted})
}

// run makes one run of the schedule, or follows the one that the workers share.
func (d *daemon) run(ctx context.Context) error {
	if d.worker != nil {
		return d.worker.Follow(d.app.stop, d.pulse.Beat)
	}
	f, err := d.readyFleet(ctx)
	if err != nil {
		return err
	}
	defer f.Wait()
	_, err = f.Run(ctx, d.app.stop, d.flags.request(&progress{}, f.Log))
	return err
}

// pulse returns the function that a command has to call whenever it makes progress in
// place of a run; nil outside the service.
func (a *app) pulse() func() {
	if a.daemon == nil {
		return nil
	}
	return a.daemon.pulse.Beat
}

// readyFleet is that of the configuration as last read.
func (d *daemon) readyFleet(ctx context.Context) (*fleet.Fleet, error) {
	d.making.Lock()
	defer d.making.Unlock()
	d.mu.Lock()
	c, f, reached := d.config, d.fleet, d.reached
	d.mu.Unlock()
	if f.Config == c && reached {
		return f, nil
	}
	b, err := openObservedBucket(d.app.stop, c, d.metrics.StorageRequest, d.pulse.Beat)
	if err == nil {
		err = fleet.MayBegin(d.app.stop, c, b, d.ledger)
	}
	if err != nil {
		return nil, err
	}
	f = d.newFleet(c, b)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fleet, d.reached = f, true
	return f, nil
}

// current is the configuration as last read.
func (d *daemon) current() *config.Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config
}

// doing describes the progress of the run under way.
func (d *daemon) doing() string {
	if d.worker != nil {
		return d.worker.Doing()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &d.fleet.Archiver.Tally
	return fmt.Sprintf("%d of %d inboxes done, %d of %d recordings archived", n.InboxesDone.Load(), n.Inboxes.Load(), n.Archived.Load(), n.Found.Load())
}

// reload reads the configuration again. A valid one takes effect with the next run, but
// if it changes the rules of deletion, passes under way delete nothing more.
func (d *daemon) reload() cron.Schedule {
	c, err := config.Load(d.configPath, d.app.lookupEnv)
	if err == nil {
		err = needsRestart(d.current(), c)
	}
	if err != nil {
		d.log.Error("the configuration was read again and refused; the previous one stays in effect", "error", err)
		return nil
	}
	d.sayKept(d.app.stop, c)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.config = c
	d.log.Info("the configuration was read again; it takes effect with the next run")
	return service.Local(c.Schedule.Parsed)
}

// needsRestart refuses changes that a running service can't make.
func needsRestart(old, now *config.Config) error {
	var keys []string
	differs := func(key string, differs bool) {
		if differs {
			keys = append(keys, key)
		}
	}
	was, is := binding(old), binding(now)
	differs("storage.endpoint", was.Endpoint != is.Endpoint)
	differs("storage.bucket", was.Bucket != is.Bucket)
	differs("storage.prefix", was.Prefix != is.Prefix)
	differs("organizations (their names, hosts and client ids)", !maps.Equal(was.Organizations, is.Organizations))
	differs("state.path", old.State.Path != now.State.Path)
	differs("state.url, its password and state.claim", old.State.URL != now.State.URL || old.State.Password.Reveal() != now.State.Password.Reveal() || old.State.Claim != now.State.Claim)
	differs("state.key_file", !bytes.Equal(old.State.SealKey, now.State.SealKey))
	differs("passes", old.Passes != now.Passes)
	differs("http", old.HTTP != now.HTTP)
	if len(keys) > 0 {
		return fmt.Errorf("restart the service for changes of %s", strings.Join(keys, "; "))
	}
	return nil
}

// command runs a caller's command line.
func (d *daemon) command(ctx context.Context, r control.Request, c *control.Caller) int {
	if r.Version != version() {
		fmt.Fprintf(c.Stderr(), "archiverd: the service has version %s, this command %s: restart the service\n", version(), r.Version)
	}
	if r.Config != d.configPath {
		fmt.Fprintf(c.Stderr(), "archiverd: the service holds the ledger, so its configuration applies: %s\n", d.configPath)
	}
	a := &app{
		args: r.Args, stdin: c.Stdin(), stdout: c.Stdout(), stderr: c.Stderr(),
		stop: ctx, create: c.Create, readFile: c.ReadFile, daemon: d, caller: c, person: r.Person,
	}
	return a.execute()
}

// retryInService waits until no run is under way, then calls prepare and makes a run.
func (a *app) retryInService(ctx context.Context, flags runFlags, prepare func(*archiver.Archiver) error) error {
	d := a.daemon
	shown := newProgress(a.stderr)
	log := a.logger(d.current().Log, shown.w)
	var result *fleet.Result
	var err error
	waiting := func() { log.Info("waiting for the run under way to end") }
	run := func() {
		var f *fleet.Fleet
		if f, err = d.readyFleet(ctx); err != nil {
			return
		}
		if err = prepare(f.Archiver); err == nil {
			result, err = f.Run(ctx, a.stop, flags.request(shown, log))
			f.Wait()
		}
	}
	if err := d.service.RunNow(a.stop, waiting, run); err != nil {
		return fail(exitTemporary, errors.New("stopped while it waited for another run to end"))
	}
	if err != nil {
		return err
	}
	return a.sayReport(result)
}
