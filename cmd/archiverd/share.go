package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/workers"
)

// share returns the part of a service that shares runs with other processes; nil if the
// ledger is a file.
func (d *daemon) share(ctx context.Context) (*workers.Worker, error) {
	l, ok := d.ledger.(*postgres.Ledger)
	if !ok {
		return nil, nil
	}
	o := workerOptions(d.config, l, d.log)
	o.Fleet = d.readyFleet
	o.Schedule = func() cron.Schedule { return service.Local(d.current().Schedule.Parsed) }
	o.ExitCode = d.flags.exitCode
	w, err := workers.New(ctx, o)
	return w, fail(exitUsage, err)
}

// lookAtTeam returns what the processes are doing that share a ledger; nil if it is a file.
func lookAtTeam(ctx context.Context, l any) (*workers.Team, error) {
	shared, ok := l.(*postgres.Ledger)
	if !ok {
		return nil, nil
	}
	t, err := workers.Look(ctx, shared.Pool())
	return &t, err
}

func workerOptions(c *config.Config, l *postgres.Ledger, log *slog.Logger) workers.Options {
	return workers.Options{Ledger: l, Name: l.Holder(), Claim: c.State.Claim, Passes: c.Passes, Grace: c.ShutdownGrace, Log: log}
}

// joiner makes a run together with the other processes that share its ledger.
type joiner struct {
	config *config.Config
	ledger *postgres.Ledger
	fleet  *fleet.Fleet
	log    *slog.Logger
	anew   bool // do not join a run that has begun to pass over inboxes
}

// run does what Fleet.Run does. If a run over the same inboxes is under way, run joins it.
func (j joiner) run(ctx, stop context.Context, r fleet.Request) (*fleet.Result, error) {
	if _, err := j.fleet.Inboxes(ctx, r.Only); err != nil { // what can't be selected can't be run
		return nil, err
	}
	o := workerOptions(j.config, j.ledger, j.log)
	o.Fleet = func(context.Context) (*fleet.Fleet, error) { return j.fleet, nil }
	o.ExitCode = r.ExitCode
	w, err := workers.New(ctx, o)
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	working, leave := context.WithCancel(stop)
	defer leave()
	var left error
	var work sync.WaitGroup
	early := false
	work.Go(func() {
		left = w.Work(ctx, working)
		early = left != nil && working.Err() == nil
		leave() // if this process can't work, perhaps none does
	})
	finish := r.Follow(&j.fleet.Archiver.Tally)
	result, err := j.await(working, w, r)
	leave()
	work.Wait()
	finish()
	switch {
	case early:
		return nil, left
	case err != nil:
		return nil, errors.Join(err, left)
	}
	result.ExitCode = r.ExitCode(result, nil)
	return result, nil
}

// await begins or joins the run and waits for its end.
func (j joiner) await(stop context.Context, w *workers.Worker, r fleet.Request) (*fleet.Result, error) {
	for waiting := int64(0); ; {
		id, err := w.Join(stop, r.Only, r.AskAnyway, j.anew && waiting == 0)
		other := errors.Is(err, workers.ErrOther)
		if err != nil && !other {
			return nil, err
		}
		if other && id != waiting {
			j.log.Info("waiting for the run under way to end", "run", id)
			waiting = id
		}
		report, failures, err := w.Wait(stop, id)
		switch {
		case stop.Err() != nil:
			return nil, fail(exitTemporary, errors.New("stopped before the run had ended; the other processes go on with it, or the next run does"))
		case other:
			select {
			case <-time.After(otherPause): // it may be unable to begin
			case <-stop.Done():
			}
			continue
		case err != nil:
			return nil, err
		}
		return &fleet.Result{Report: report, Failures: failures}, nil
	}
}

// otherPause keeps apart the tries to begin a run while another one is under way.
const otherPause = time.Second
