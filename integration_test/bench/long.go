package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// longResults are what make bench-long sees.
type longResults struct {
	Machine    machine
	Recordings []growth // in growthInboxes inboxes
	Inboxes    []growth // of ten recordings each
	Ledger     ledgerCost
}

// growth is a first run, and one that finds nothing new.
type growth struct {
	N           int
	First, Next usage
}

// CPUEach is what one recording of a first run costs.
func (g growth) CPUEach() time.Duration { return g.First.CPU / time.Duration(g.N) }

// MemoryLimit is what a run may take beside what it remembers of each recording:
// transfer.memory and 32 MiB.
func (longResults) MemoryLimit() int64 { return 160 << 20 }

const growthInboxes = 100

func (b *bench) measureLong(ctx context.Context, r *longResults) (err error) {
	if r.Machine, err = b.machine(); err != nil {
		return err
	}
	for _, n := range []int{1_000, 10_000, 100_000} {
		g, err := b.grow(ctx, n, workload{Name: fmt.Sprintf("%d recordings", n), Inboxes: growthInboxes, sizes: same(n/growthInboxes, 4<<10)})
		if err != nil {
			return err
		}
		r.Recordings = append(r.Recordings, g)
	}
	for _, n := range []int{1, 10, 100, 1_000} {
		g, err := b.grow(ctx, n, workload{Name: fmt.Sprintf("%d inboxes", n), Inboxes: n, sizes: same(10, 4<<10)})
		if err != nil {
			return err
		}
		r.Inboxes = append(r.Inboxes, g)
	}
	say("a ledger of 10,000,000")
	r.Ledger, err = b.ledger(10_000_000)
	return errors.Join(err, b.plot(ctx, "recordings", r.Recordings), b.plot(ctx, "inboxes", r.Inboxes))
}

func (b *bench) grow(ctx context.Context, n int, w workload) (g growth, err error) {
	say("%s", w.Name)
	b.fill(w)
	config, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory}, b.sink.store(), strings.ReplaceAll(w.Name, " ", "-"))
	if err != nil {
		return g, err
	}
	g.N = n
	if g.First, _, err = measure(b.command(config, "run", "--once")); err != nil {
		return g, err
	}
	g.Next, _, err = measure(b.command(config, "run", "--once"))
	return g, errors.Join(err, ctx.Err())
}

// plot draws one growth with gnuplot.
func (b *bench) plot(ctx context.Context, what string, all []growth) error {
	var data strings.Builder
	for _, g := range all {
		fmt.Fprintf(&data, "%d %.3f %.3f %.3f %.1f\n", g.N, g.First.Wall.Seconds(), g.First.CPU.Seconds(), g.Next.CPU.Seconds(), float64(g.First.Peak)/(1<<20))
	}
	file := filepath.Join(b.dir, what+".dat")
	if err := os.WriteFile(file, []byte(data.String()), 0o600); err != nil {
		return err
	}
	script := fmt.Sprintf(`set terminal svg size 720,420 font "sans-serif,13" background "#ffffff"
set output %q
set logscale xy
set grid
set key left top
set xlabel %q
set ylabel "seconds"
set y2label "MiB"
set y2tics
set y2range [0:*]
unset logscale y2
plot %[3]q using 1:2 with linespoints lw 2 title "first run, wall", \
     %[3]q using 1:3 with linespoints lw 2 title "first run, CPU", \
     %[3]q using 1:4 with linespoints lw 2 title "nothing new, CPU", \
     %[3]q using 1:5 axes x1y2 with linespoints lw 2 dashtype 2 title "first run, peak memory (right)"
`, filepath.Join(b.docs, "performance", what+".svg"), what, file)
	c := exec.CommandContext(ctx, "gnuplot")
	c.Stdin = strings.NewReader(script)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("gnuplot (Debian's gnuplot-nox): %w\n%s", err, out)
	}
	return nil
}
