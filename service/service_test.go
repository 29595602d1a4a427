package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a service in a bubble, every hour by default.
type bench struct {
	*Service
	mu     sync.Mutex // guards runs
	runs   []time.Time
	reload chan os.Signal
	stop   func()       // and wait
	jump   atomic.Int64 // of the wall clock
	logged *transcript
}

// transcript is a log that is read while it is written.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

func newBench(t *testing.T, edit func(*bench, *Options)) *bench {
	t.Helper()
	b := &bench{reload: make(chan os.Signal, 1), logged: &transcript{}}
	o := Options{
		Schedule: parse(t, "0 * * * *"), LastRun: time.Now(), Pulse: NewPulse(),
		Run:     func() error { b.mu.Lock(); defer b.mu.Unlock(); b.runs = append(b.runs, b.wall()); return nil },
		Passing: func(error) bool { return false },
		Doing:   func() string { return "3 of 4" },
		Reload:  func() cron.Schedule { return nil },
		Log:     slog.New(slog.NewTextHandler(b.logged, nil)),
	}
	if edit != nil {
		edit(b, &o)
	}
	b.Service = newService(o, func() time.Time { return time.Now().Add(time.Duration(b.jump.Load())) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Serve(ctx, b.reload) }()
	b.stop = func() { cancel(); <-done }
	return b
}

// ran is when runs began.
func (b *bench) ran() []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.runs)
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		defer b.stop()
		time.Sleep(3*time.Hour + time.Minute)
		if len(b.ran()) != 3 || b.Status().Runs != 3 {
			t.Errorf("ran at %v, counted %d", b.ran(), b.Status().Runs)
		}
		for _, r := range b.ran() {
			if r.Minute() != 0 {
				t.Errorf("ran at %v", r)
			}
		}
	})
}

func TestCatchesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last time.Duration // before now; negative: never
		want int
	}{
		"never": {-1, 1}, "a day ago": {24 * time.Hour, 1}, "a minute ago": {time.Minute, 1}, "just now": {0, 0},
	} {
		synctest.Test(t, func(t *testing.T) { // begins at an hour sharp
			b := newBench(t, func(_ *bench, o *Options) {
				if o.LastRun = time.Now().Add(-c.last); c.last < 0 {
					o.LastRun = time.Time{}
				}
			})
			defer b.stop()
			time.Sleep(time.Second)
			if len(b.ran()) != c.want {
				t.Errorf("%s: ran at %v, want %d runs", name, b.ran(), c.want)
			}
		})
	}
}

// TestLongRun wants the times skipped and counted that come while a run is under way,
// and no run at once after it.
func TestLongRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long := make(chan struct{})
		b := newBench(t, func(b *bench, o *Options) {
			run := o.Run
			o.Run = func() error { _ = run(); <-long; return errors.New("the disk is full") }
		})
		time.Sleep(3*time.Hour + 20*time.Minute)
		s := b.Status()
		if len(b.ran()) != 1 || s.Skipped != 2 || s.Runs != 0 || s.Text() != "running since "+stamp(b.ran()[0])+": 3 of 4" {
			t.Errorf("%d runs began; %+v", len(b.ran()), s)
		}
		var order []string
		waited, ctx := make(chan error), t.Context()
		go func() {
			waited <- b.RunNow(ctx, func() { order = append(order, "waits") }, func() { order = append(order, "runs") })
		}()
		gone, cancel := context.WithCancel(ctx)
		go func() { waited <- b.RunNow(gone, func() {}, func() { t.Error("ran for nobody") }) }()
		synctest.Wait()
		cancel()
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that left: %v", err)
		}
		close(long)
		if err := <-waited; err != nil || !slices.Equal(order, []string{"waits", "runs"}) {
			t.Errorf("the caller that stayed: %v, %v", order, err)
		}
		if s := b.Status(); len(b.ran()) != 1 || s.Runs != 2 || !strings.Contains(s.Text(), "the last run failed: the disk is full") {
			t.Errorf("%d scheduled runs; %+v", len(b.ran()), s)
		}
		b.stop()
	})
}

// TestClockJumps wants one run for what a clock set forwards has skipped, at once, and
// the schedule to go on after one set back.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		time.Sleep(10 * time.Minute)
		b.stop()
		b = newBench(t, func(b *bench, _ *Options) { b.jump.Store(int64(5 * time.Hour)) })
		time.Sleep(time.Second)
		if len(b.ran()) != 1 {
			t.Errorf("ran at %v, want once", b.ran())
		}
		b.stop()
		var now time.Time
		b = newBench(t, func(b *bench, o *Options) { o.LastRun = time.Now().Add(-24 * time.Hour) })
		time.Sleep(time.Second)
		now = b.ran()[0]
		b.jump.Store(int64(-20 * time.Hour))
		time.Sleep(time.Hour)
		if len(b.ran()) != 2 || b.ran()[1].After(now.Add(-19*time.Hour+time.Minute)) || !strings.Contains(b.logged.String(), "set back") {
			t.Errorf("ran at %v; logged %s", b.ran(), b.logged)
		}
		b.stop()
	})
}

func TestReload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		read := make(chan cron.Schedule, 1)
		b := newBench(t, func(b *bench, o *Options) { o.Reload = func() cron.Schedule { return <-read } })
		read <- nil // refused
		b.reload <- syscall.SIGHUP
		time.Sleep(59 * time.Minute)
		if len(b.ran()) != 0 {
			t.Errorf("ran at %v", b.ran())
		}
		read <- parse(t, "*/10 * * * *")
		b.reload <- syscall.SIGHUP
		time.Sleep(21*time.Minute + time.Second)
		if len(b.ran()) != 3 {
			t.Errorf("ran at %v, want every ten minutes", b.ran())
		}
		b.stop()
	})
}

// manager is the service manager's end of NOTIFY_SOCKET.
type manager struct {
	path     string
	messages chan []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{filepath.Join(t.TempDir(), "notify"), make(chan []string)}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", m.path)
	go func() {
		defer conn.Close()
		var all []string
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			if err != nil || string(buf[:n]) == "END" {
				m.messages <- all
				return
			}
			all = append(all, string(buf[:n]))
		}
	}()
	return m
}

// end gives what was sent.
func (m *manager) end(t *testing.T) []string {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "END"); err != nil {
		t.Fatal(err)
	}
	return <-m.messages
}

func count(messages []string, prefix string) (n int) {
	for _, m := range messages {
		if strings.HasPrefix(m, prefix) {
			n++
		}
	}
	return n
}

func TestNotify(t *testing.T) {
	m := newManager(t)
	synctest.Test(t, func(t *testing.T) {
		long := make(chan struct{})
		b := newBench(t, func(b *bench, o *Options) { o.Run = func() error { <-long; return nil } })
		time.Sleep(time.Minute)
		b.reload <- syscall.SIGHUP
		time.Sleep(time.Hour)
		go func() { time.Sleep(time.Minute); close(long) }()
		b.stop()
	})
	all := m.end(t)
	want := []string{"READY=1", "STATUS=waiting until", "RELOADING=1\nMONOTONIC_USEC=", "READY=1", "STATUS=running since", "STOPPING=1", "STATUS=stopping: finishing what is under way: 3 of 4"}
	if len(all) < len(want) {
		t.Fatalf("sent %q", all)
	}
	for i, w := range want {
		if !strings.HasPrefix(all[i], w) {
			t.Errorf("message %d is %q, want %q…", i, all[i], w)
		}
	}
	if n := count(all, "WATCHDOG"); n > 0 {
		t.Errorf("fed a watchdog that nobody set %d times", n)
	}
}

// TestWatchdog wants the watchdog fed while the service waits for its schedule and
// while a run moves, however slowly and also while it stops; and no more once a run is
// stuck.
func TestWatchdog(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "60000000")
	for name, c := range map[string]struct {
		beats    time.Duration // between two signs of life; 0: none
		least    int           // times fed in the two hours, one of them under way
		most     int
		stopping bool
	}{
		"waits and moves": {beats: 9 * time.Minute, least: 240, most: 1000},
		"stuck":           {least: 140, most: 320},
		"stops":           {beats: 9 * time.Minute, least: 240, most: 1000, stopping: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			var fed int
			synctest.Test(t, func(t *testing.T) {
				end := make(chan struct{})
				b := newBench(t, func(b *bench, o *Options) {
					o.Run = func() error {
						for {
							select {
							case <-end:
								return nil
							case <-after(c.beats):
								o.Pulse.Beat()
							}
						}
					}
				})
				if c.stopping {
					time.Sleep(time.Hour + time.Second)
					go func() { time.Sleep(time.Hour); close(end) }()
				} else {
					time.Sleep(2 * time.Hour)
					close(end)
				}
				b.stop()
			})
			fed = count(m.end(t), "WATCHDOG=1")
			if fed < c.least || fed > c.most {
				t.Errorf("fed %d times, want %d to %d", fed, c.least, c.most)
			}
		})
	}
}

func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}

// TestNotifyGone wants a service manager that is gone to change nothing.
func TestNotifyGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	t.Setenv("WATCHDOG_USEC", "60000000")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		time.Sleep(2*time.Hour + time.Minute)
		b.stop()
		if len(b.ran()) != 2 {
			t.Errorf("ran at %v", b.ran())
		}
		if n := strings.Count(b.logged.String(), "the service manager can't be reached"); n != 1 {
			t.Errorf("said %d times: %s", n, b.logged)
		}
	})
}

// TestPasses wants a run that could not be made, for a reason that may pass, tried again
// with growing pauses, sooner after a reload, and on the schedule alone once it was made.
func TestPasses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var why atomic.Pointer[error]
		passing := errors.New("not yet")
		why.Store(&passing)
		b := newBench(t, func(b *bench, o *Options) {
			count := o.Run
			o.Schedule, o.LastRun = parse(t, "0 0 1 1 *"), time.Time{}
			o.Run = func() error { return errors.Join(count(), *why.Load()) }
			o.Passing = func(err error) bool { return errors.Is(err, passing) }
			o.Reload = func() cron.Schedule { return o.Schedule }
		})
		defer b.stop()
		time.Sleep(time.Hour)
		var pauses []time.Duration
		ran := b.ran()
		for i := range ran[1:] {
			pauses = append(pauses, ran[i+1].Sub(ran[i]))
		}
		want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 320 * time.Second, 10 * time.Minute}
		if len(pauses) < len(want) || !slices.Equal(pauses[:len(want)], want) {
			t.Errorf("the pauses are %v", pauses)
		}
		if s := b.Status(); s.Next.Sub(b.wall()) > 10*time.Minute || !strings.Contains(s.Text(), "since the last run failed: not yet") {
			t.Errorf("the status is %+v", s)
		}
		b.reload <- syscall.SIGHUP
		synctest.Wait()
		if n := len(b.ran()); n != len(ran)+1 {
			t.Errorf("%d runs after a reload, want %d", n, len(ran)+1)
		}
		lasting := errors.New("never")
		why.Store(&lasting)
		time.Sleep(20 * time.Minute)
		n := len(b.ran())
		time.Sleep(24 * time.Hour)
		if more := len(b.ran()) - n; more > 0 {
			t.Errorf("%d more tries of what does not pass", more)
		}
	})
}
