// Package service is the long-running side of archiverd: it starts runs on the
// schedule, never two at once.
//
//   - The schedule is kept by the wall clock, looked at every minute at least: after
//     a suspended night, or a clock set forwards, what was missed is made up by one
//     run; after a clock set back, the schedule goes on from the new time.
//   - A start catches up on a run that was missed while nobody ran, and the first one
//     ever runs at once.
//   - A time that comes while a run is under way is skipped and counted.
package service

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// Options configure a Service. All are required, but for LastRun.
type Options struct {
	Schedule cron.Schedule
	LastRun  time.Time // when the last run started, by whomever; zero: there was none
	Run      func()    // makes one run
	Log      *slog.Logger
}

// Service starts runs. It is safe for concurrent use.
type Service struct {
	run  func()
	log  *slog.Logger
	now  func() time.Time // the wall clock
	turn chan struct{}    // holds a value while a run is under way

	mu     sync.Mutex
	clock  clock
	status Status
}

// Status is what a service is doing.
type Status struct {
	Started time.Time `json:"started"`
	Next    time.Time `json:"next"`             // of the schedule
	Running time.Time `json:"running,omitzero"` // since when a run is under way; zero: none is
	Runs    int64     `json:"runs"`             // ended since Started
	Skipped int64     `json:"skipped"`          // times of the schedule that came while a run was under way, since Started
}

// Text completes "The service is …".
func (s Status) Text() string {
	if !s.Running.IsZero() {
		return "running since " + stamp(s.Running)
	}
	return "waiting until " + stamp(s.Next)
}

func stamp(t time.Time) string { return t.Local().Format(time.DateTime + " MST") }

// New returns a service that does nothing yet.
func New(o Options) *Service { return newService(o, time.Now) }

func newService(o Options, now func() time.Time) *Service {
	s := &Service{run: o.Run, log: o.Log, now: now, turn: make(chan struct{}, 1)}
	s.clock = newClock(o.Schedule, o.LastRun, s.wall())
	s.status = Status{Started: s.wall(), Next: s.clock.next}
	return s
}

// wall is the time of the wall clock alone: the monotonic one stands still while a
// machine is suspended, and does not know that its clock was set.
func (s *Service) wall() time.Time { return s.now().Round(0) }

// Status tells what the service is doing.
func (s *Service) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// lookAtLeast is how often the wall clock is looked at.
const lookAtLeast = time.Minute

// Serve keeps the schedule until ctx ends and the run that it started has returned.
func (s *Service) Serve(ctx context.Context) {
	var runs sync.WaitGroup
	defer runs.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		due, wait := s.look()
		if due {
			s.start(&runs)
		}
		timer.Reset(min(wait, lookAtLeast))
	}
}

// look asks the clock.
func (s *Service) look() (due bool, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.wall()
	due, setBack := s.clock.due(now)
	if setBack {
		s.log.Warn("the clock was set back: the schedule goes on from now", "next", s.clock.next)
	}
	s.status.Next = s.clock.next
	return due, s.clock.next.Sub(now)
}

// start begins a scheduled run, unless one is under way.
func (s *Service) start(runs *sync.WaitGroup) {
	select {
	case s.turn <- struct{}{}:
	default:
		s.mu.Lock()
		s.status.Skipped++
		s.mu.Unlock()
		s.log.Warn("a scheduled run was skipped: the one before is still under way")
		return
	}
	runs.Go(func() { s.take(s.run) })
}

// RunNow makes a run outside the schedule. Where one is under way, it calls waiting
// and waits for its turn; the end of ctx ends the wait.
func (s *Service) RunNow(ctx context.Context, waiting, run func()) error {
	select {
	case s.turn <- struct{}{}:
	default:
		waiting()
		select {
		case s.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.take(run)
	return nil
}

// take makes a run whose turn it is.
func (s *Service) take(run func()) {
	s.mu.Lock()
	s.status.Running = s.wall()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.status.Running = time.Time{}
		s.status.Runs++
		s.mu.Unlock()
		<-s.turn
	}()
	run()
}
