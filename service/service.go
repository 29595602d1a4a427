// Package service is the long-running side of archiverd: it starts runs on the
// schedule, never two at once, and reports its status to the service manager.
//
//   - The schedule follows the wall clock, which is read again and again. After a
//     suspended night, or after a clock was set forwards, one run makes up for all
//     missed times. After a clock was set back, the schedule continues from the new
//     time. When a zone changes its clock, each time still comes once: see Local.
//   - A start catches up on a run that was missed while the service was down. A service
//     that never ran before runs at once.
//   - A time of the schedule that comes while a run is under way is skipped and counted.
//   - A run that failed for a temporary reason is tried again before the schedule's next
//     time, after longer and longer pauses.
//   - The watchdog is fed while the schedule is kept and the run under way makes
//     progress: see Pulse.
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
	LastRun  time.Time        // when the last run started, also outside the service; zero: there was none
	Run      func() error     // makes one run; an error says why there could be no run
	Passing  func(error) bool // whether an error of Run is temporary
	Pulse    *Pulse           // beats while a run makes progress
	Doing    func() string    // the progress of the run under way, for people
	// Reload reads the configuration again and returns its schedule. It returns nil, and
	// logs why, if the configuration is refused.
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
	again  time.Time     // when a failed run is tried again; zero: at the schedule's next time
	pauses time.Duration // the pause before the last such try
	status Status
}

// Status is what a service is doing.
type Status struct {
	Started  time.Time `json:"started"`
	Next     time.Time `json:"next"`             // when the next run starts, by the schedule or after a failed run
	Running  time.Time `json:"running,omitzero"` // since when a run is under way; zero: no run is
	Doing    string    `json:"doing,omitempty"`  // the progress of that run
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

// wall is the time of the wall clock alone: the monotonic clock stands still while the
// machine is suspended, and does not follow a clock that was set.
func (s *Service) wall() time.Time { return s.now().Round(0) }

// Status returns what the service is doing.
func (s *Service) Status() Status {
	s.mu.Lock()
	status := s.status
	s.mu.Unlock()
	if !status.Running.IsZero() {
		status.Doing = s.Doing()
	}
	return status
}

// lookAtLeast is how often the wall clock is read and the status sent.
const lookAtLeast = 15 * time.Second

// Serve keeps the schedule until ctx ends and the run that it started has returned. For
// each value from reload it calls Reload.
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

// pause is the longest time until tell has to be called again.
func (s *Service) pause() time.Duration {
	if w := watchdog(); w > 0 {
		return min(lookAtLeast, w/2)
	}
	return lookAtLeast
}

// tell sends the status and feeds the watchdog.
func (s *Service) tell() {
	s.notify.status(s.Status().Text())
	if watchdog() > 0 && s.moves() {
		s.notify.send("WATCHDOG=1")
	}
}

// stop waits for the run under way, and keeps sending the status.
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
			s.again, s.pauses = s.wall(), 0 // the reload may have removed the reason
		}
		s.mu.Unlock()
	}
	s.notify.send("READY=1")
}

// look reads the clock, and returns whether a run is due and how long to wait otherwise.
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

// The pauses before a failed run is tried again: each is twice the previous one.
const (
	firstPause = 5 * time.Second
	lastPause  = 10 * time.Minute
)

// failed records why a run could not be made, and when to try again; nil: it was made.
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
		s.Log.Warn("a scheduled run was skipped: the previous run is still under way")
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

// RunNow makes a run outside the schedule. If a run is under way, it calls waiting and
// waits for the end of that run; the end of ctx ends the wait.
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

// take calls run, and gives up the turn that the caller has taken.
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

// stuckAfter is how long a run may go without progress. Every wait within a run is
// shorter: for the rate budget or a Retry-After at most three minutes, for a silent
// connection one.
const stuckAfter = 10 * time.Minute

// moves reports whether no run is under way, or the run makes progress.
func (s *Service) moves() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.Running.IsZero() || s.Pulse.since() < stuckAfter
}
