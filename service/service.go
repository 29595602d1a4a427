// Package service is the long-running side of archiverd: it starts runs on the
// schedule, never two at once, and tells the service manager how it does.
//
//   - The schedule is kept by the wall clock, looked at again and again: after a
//     suspended night, or a clock set forwards, what was missed is made up by one run;
//     after a clock set back, the schedule goes on from the new time. Where a zone
//     changes its clock, each time of the schedule still comes once: see schedule.
//   - A start catches up on a run that was missed while nobody ran, and the first one
//     ever runs at once.
//   - A time that comes while a run is under way is skipped and counted.
//   - A run that could not be made for a reason that may pass by itself is tried again
//     before the schedule's next time, after longer and longer pauses.
//   - The watchdog is fed while the schedule is kept and the run under way moves:
//     see Pulse.
package service

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// Options configure a Service. All are required, but for LastRun.
type Options struct {
	Schedule cron.Schedule
	LastRun  time.Time        // when the last run started, by whomever; zero: there was none
	Run      func() error     // makes one run; its error is why none could be made
	Passing  func(error) bool // whether that may pass by itself
	Pulse    *Pulse           // of what runs do
	Doing    func() string    // how far the run under way has come, for people
	// Reload reads the configuration anew and gives its schedule, nil for none, and
	// logs why.
	Reload func() cron.Schedule
	Log    *slog.Logger
}

// Service starts runs. It is safe for concurrent use.
type Service struct {
	Options
	now    func() time.Time // the wall clock
	notify *notifier
	turn   chan struct{} // holds a value while a run is under way
	wake   chan struct{} // a run has ended: look at the clock again

	mu     sync.Mutex
	clock  clock
	again  time.Time     // when a run is tried again before its time; zero: at its time
	pauses time.Duration // before the last such try
	status Status
}

// Status is what a service is doing.
type Status struct {
	Started  time.Time `json:"started"`
	Next     time.Time `json:"next"`             // of the schedule, or before it of a run that could not be made
	Running  time.Time `json:"running,omitzero"` // since when a run is under way; zero: none is
	Doing    string    `json:"doing,omitempty"`  // how far that run has come
	Runs     int64     `json:"runs"`             // ended since Started
	Skipped  int64     `json:"skipped"`          // times of the schedule that came while a run was under way, since Started
	Error    string    `json:"error,omitempty"`  // why the last run could not be made
	Stopping bool      `json:"stopping,omitempty"`
}

// Text completes "The service is …".
func (s Status) Text() string {
	switch {
	case s.Stopping && !s.Running.IsZero():
		return "stopping: finishing what is under way: " + s.Doing
	case s.Stopping:
		return "stopping"
	case !s.Running.IsZero():
		return "running since " + stamp(s.Running) + ": " + s.Doing
	}
	text := "waiting until " + stamp(s.Next)
	if s.Error != "" {
		text += ", since the last run failed: " + s.Error
	}
	return text
}

func stamp(t time.Time) string { return t.Local().Format(time.DateTime + " MST") }

// New returns a service that does nothing yet.
func New(o Options) *Service { return newService(o, time.Now) }

func newService(o Options, now func() time.Time) *Service {
	s := &Service{Options: o, now: now, notify: &notifier{log: o.Log}, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
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
	status := s.status
	s.mu.Unlock()
	if !status.Running.IsZero() {
		status.Doing = s.Doing()
	}
	return status
}

// lookAtLeast is how often the wall clock is looked at, and people are told.
const lookAtLeast = 15 * time.Second

// Serve keeps the schedule until ctx ends and the run that it started has returned. A
// value from reload has the configuration read anew.
func (s *Service) Serve(ctx context.Context, reload <-chan os.Signal) {
	var runs sync.WaitGroup
	defer runs.Wait()
	s.notify.send("READY=1")
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			s.stop(&runs)
			return
		case <-reload:
			s.reload()
		case <-timer.C:
		case <-s.wake:
		}
		due, wait := s.look()
		if due {
			s.start(&runs)
		}
		s.tell()
		timer.Reset(min(wait, s.pause()))
	}
}

// pause is how long nothing needs to be looked at but the schedule.
func (s *Service) pause() time.Duration {
	if w := watchdog(); w > 0 {
		return min(lookAtLeast, w/2)
	}
	return lookAtLeast
}

// tell has people and the watchdog know how it goes.
func (s *Service) tell() {
	s.notify.status(s.Status().Text())
	if watchdog() > 0 && s.moves() {
		s.notify.send("WATCHDOG=1")
	}
}

// stop waits for the run under way, and tells so.
func (s *Service) stop(runs *sync.WaitGroup) {
	s.mu.Lock()
	s.status.Stopping = true
	s.mu.Unlock()
	s.notify.send("STOPPING=1")
	done := make(chan struct{})
	go func() { defer close(done); runs.Wait() }()
	for {
		s.tell()
		select {
		case <-done:
			return
		case <-time.After(s.pause()):
		}
	}
}

func (s *Service) reload() {
	s.notify.reloading()
	if schedule := s.Reload(); schedule != nil {
		s.mu.Lock()
		s.clock.change(schedule, s.wall())
		if !s.again.IsZero() {
			s.again, s.pauses = s.wall(), 0 // somebody has mended something
		}
		s.mu.Unlock()
	}
	s.notify.send("READY=1")
}

// look asks the clock.
func (s *Service) look() (due bool, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.wall()
	due, setBack := s.clock.due(now)
	if setBack {
		s.Log.Warn("the clock was set back: the schedule goes on from now", "next", s.clock.next)
	}
	next := s.clock.next
	if !s.again.IsZero() {
		s.again = earlier(s.again, now.Add(s.pauses)) // the clock may have been set back
		next = earlier(next, s.again)
		due = due || !now.Before(s.again)
	}
	if due {
		s.again = time.Time{}
	}
	s.status.Next = next
	return due, next.Sub(now)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// The pauses before a run that could not be made is tried again: each is twice the one
// before.
const (
	firstPause = 5 * time.Second
	lastPause  = 10 * time.Minute
)

// failed keeps why a run could not be made, nil for one that was.
func (s *Service) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Error = ""
	if err == nil || !s.Passing(err) {
		s.pauses = 0
	} else {
		s.pauses = min(max(2*s.pauses, firstPause), lastPause)
		s.again = s.wall().Add(s.pauses)
		s.status.Next = earlier(s.clock.next, s.again)
	}
	if err != nil {
		s.status.Error = err.Error()
		s.Log.Error("the run failed", "error", err)
	}
}

// start begins a scheduled run, unless one is under way.
func (s *Service) start(runs *sync.WaitGroup) {
	select {
	case s.turn <- struct{}{}:
	default:
		s.mu.Lock()
		s.status.Skipped++
		s.mu.Unlock()
		s.Log.Warn("a scheduled run was skipped: the one before is still under way")
		return
	}
	s.began()
	runs.Go(func() {
		s.take(func() {
			s.failed(s.Run())
		})
		select {
		case s.wake <- struct{}{}:
		default:
		}
	})
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
	s.began()
	s.take(run)
	return nil
}

func (s *Service) began() {
	s.Pulse.Beat()
	s.mu.Lock()
	s.status.Running = s.wall()
	s.mu.Unlock()
}

// take makes a run whose turn it is.
func (s *Service) take(run func()) {
	defer func() {
		s.mu.Lock()
		s.status.Running = time.Time{}
		s.status.Runs++
		next := s.status.Next
		s.mu.Unlock()
		<-s.turn
		s.Log.Info("waiting for the schedule", "next", next)
	}()
	run()
}

// stuckAfter is how long a run may go without moving. Whatever a run waits for is
// over sooner: a wait for the rate budget or a Retry-After after three minutes, a
// connection on which nothing moves after one.
const stuckAfter = 10 * time.Minute

// moves tells whether the run under way, if any, is not stuck.
func (s *Service) moves() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Running.IsZero() || s.Pulse.since() < stuckAfter
}
