package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// latencyResults are what make bench-latency sees.
type latencyResults struct {
	Machine machine
	Load    string // of the machine, before and after
	Runs    []latencyRun
}

// latencyRun is what so many workers take when store, API and media host are far away.
type latencyRun struct {
	Workers      int
	Small, Parts usage
}

const (
	// roundTrip is the time that a request to a far host and its reply take on their way.
	roundTrip = 50 * time.Millisecond
	// waits is how many requests of a small recording wait for one another: the download,
	// its media, and a PUT and a HEAD for media and manifest.
	waits = 6
)

// farSmall are recordings that go in one request, and farParts some that go in parts.
func farSmall() workload {
	w := small()
	w.Name, w.sizes = "1,000 recordings of 0 to 128 KiB", w.sizes[:25]
	return w
}

func farParts() workload {
	return workload{Name: "160 recordings of 8 MiB", Inboxes: 40, sizes: same(4, 8<<20)}
}

// fastest is the number of small recordings a second that workers can't exceed.
func (r latencyRun) fastest() float64 { return float64(r.Workers) / (waits * roundTrip.Seconds()) }

// PerSecond is how many small recordings were archived in a second.
func (r latencyRun) PerSecond() float64 {
	return float64(farSmall().recordings()) / r.Small.Wall.Seconds()
}

// OfFastest is PerSecond as a share of what the workers can't exceed, in percent.
func (r latencyRun) OfFastest() float64 { return 100 * r.PerSecond() / r.fastest() }

// PartsPerSecond is how many bytes of the larger recordings were archived in a second.
func (r latencyRun) PartsPerSecond() int64 {
	w := farParts()
	return int64(float64(int64(w.recordings())*w.sizes[0]) / r.Parts.Wall.Seconds())
}

func (b *bench) measureLatency(ctx context.Context, r *latencyResults) (err error) {
	if r.Machine, err = b.machine(); err != nil {
		return err
	}
	before := loadNow()
	back, err := b.away()
	if err != nil {
		return err
	}
	defer back()
	for _, n := range []int{8, 16, 32, 64} {
		run := latencyRun{Workers: n}
		if run.Small, err = b.far(ctx, farSmall(), n); err != nil {
			return err
		}
		if run.Parts, err = b.far(ctx, farParts(), n); err != nil {
			return err
		}
		r.Runs = append(r.Runs, run)
	}
	r.Load = before + ", then " + loadNow()
	return nil
}

// away moves Genesys and the store far away, until the function that it returns is called.
func (b *bench) away() (back func(), err error) {
	var undo []func()
	back = func() {
		for _, f := range undo {
			f()
		}
	}
	for _, url := range []*string{&b.origin.url, &b.sink.url} {
		near := *url
		far, err := farAway(strings.TrimPrefix(near, "http://"))
		if err != nil {
			back()
			return nil, err
		}
		undo = append(undo, func() { far.Close(); *url = near })
		*url = "http://" + far.Addr().String()
	}
	return back, nil
}

// far archives a workload with so many workers into a bucket of its own.
func (b *bench) far(ctx context.Context, w workload, workers int) (usage, error) {
	say("%s, %d workers, %s away", w.Name, workers, roundTrip)
	b.fill(w)
	bucket := fmt.Sprintf("far-%d-%d", workers, w.recordings())
	config, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory}, b.sink.store(), bucket)
	if err != nil {
		return usage{}, err
	}
	u, _, err := measure(b.command(config, "run", "--once"))
	if err == nil {
		err = ctx.Err()
	}
	return u, err
}

// farAway is a proxy on whose way bytes take half of roundTrip in each direction, and a
// connection roundTrip to be made. Closing the listener ends it.
func farAway(target string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				time.Sleep(roundTrip)
				if err := join(c, target); err != nil {
					say("the proxy: %v", err)
				}
			}()
		}
	}()
	return l, nil
}

// join carries bytes between a connection and a new one to the target.
func join(c net.Conn, target string) error {
	defer c.Close()
	to, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer to.Close()
	var ways sync.WaitGroup
	ways.Go(func() { carry(to, c) })
	ways.Go(func() { carry(c, to) })
	ways.Wait()
	return nil
}

// carry writes to one connection what comes from the other, half of roundTrip later. Once
// one of them has ended it ends both.
func carry(to, from net.Conn) {
	type piece struct {
		due   time.Time
		bytes []byte
	}
	under := make(chan piece, 256)
	go func() {
		defer close(under)
		for {
			buf := make([]byte, 64<<10)
			n, err := from.Read(buf)
			if err != nil {
				return
			}
			under <- piece{time.Now().Add(roundTrip / 2), buf[:n]}
		}
	}()
	for p := range under {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.bytes); err != nil {
			from.Close()
		}
	}
	to.Close()
	from.Close()
}
