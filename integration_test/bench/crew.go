package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	jobs "github.com/archiverd/archiverd/workers"
)

// busy is more than any number of workers here can take at a time.
func busy() workload {
	return workload{Name: "1,000 inboxes of 20 recordings", Inboxes: 1000, sizes: same(20, 4<<10)}
}

const (
	// pace is how many requests a minute Genesys Cloud allows a token.
	pace = 300
	// teamTime is for how long the recordings are counted that workers archive.
	teamTime = 20 * time.Second
	// transfers and passes are the defaults of transfer.workers and passes.
	transfers, passes = 16, 16
	// victims is how many workers are killed, each in the middle of an inbox, and survivors
	// how many go on.
	victims, survivors = 10, 2
)

// teamRun is what so many workers archive while more inboxes wait than they take at a time.
type teamRun struct {
	Workers, Passes int
	Second          float64 // recordings archived a second
	CPU             float64 // cores that the workers kept busy
	Others          float64 // cores that all else did: PostgreSQL, origin, store
	Peak            int64   // bytes of anonymous memory of the largest worker
}

// failover is how long inboxes stood still whose workers were killed, in order.
type failover struct {
	Claim  time.Duration
	Stills []time.Duration
}

func (f failover) Median() time.Duration  { return f.Stills[len(f.Stills)/2] }
func (f failover) Longest() time.Duration { return f.Stills[len(f.Stills)-1] }

// teamResults are what several workers do together.
type teamResults struct {
	Workers   []teamRun // one and more
	Near, Far []teamRun // one with more and more passes; Far: Genesys and the store are roundTrip away
	Failovers []failover
}

// Factor is how many times as much as one worker a team archives.
func (r teamResults) Factor(t teamRun) float64 { return t.Second / r.Workers[0].Second }

// measureTeams lets one worker archive with more and more passes, and more workers with the
// default, and kills some.
func (b *bench) measureTeams(ctx context.Context, s *postgrestest.Server, r *teamResults) (err error) {
	var alone []teamRun
	for _, n := range []int{4, 8, passes, 32, 64} {
		alone = append(alone, teamRun{Workers: 1, Passes: n})
	}
	if r.Near, err = b.teams(ctx, s, "near", alone); err != nil {
		return err
	}
	more, err := b.teams(ctx, s, "more", []teamRun{{Workers: 2, Passes: passes}, {Workers: 4, Passes: passes}})
	if err != nil {
		return err
	}
	one := slices.IndexFunc(r.Near, func(t teamRun) bool { return t.Passes == passes })
	r.Workers = append([]teamRun{r.Near[one]}, more...)
	back, err := b.away()
	if err != nil {
		return err
	}
	r.Far, err = b.teams(ctx, s, "far", alone)
	back()
	for _, claim := range []time.Duration{10 * time.Second, time.Minute} {
		if err != nil {
			return err
		}
		var f failover
		f, err = b.failover(ctx, s, claim)
		r.Failovers = append(r.Failovers, f)
	}
	return err
}

// teams makes runs, each in a database and a bucket of its own.
func (b *bench) teams(ctx context.Context, s *postgrestest.Server, name string, runs []teamRun) (seen []teamRun, err error) {
	w := busy()
	for n, r := range runs {
		say("%s, %s: %d at work, %d passes each", w.Name, name, r.Workers, r.Passes)
		b.fill(w)
		set := settings{inboxes: w.Inboxes, workers: transfers, passes: r.Passes}
		err := b.withCrew(ctx, s, fmt.Sprint(name, n), set, r.Workers, func(c *crew) error {
			if err := b.served(ctx, 2*r.Workers*r.Passes); err != nil { // then all passes are under way
				return err
			}
			return b.watchTeam(ctx, c, &r)
		})
		if err != nil {
			return nil, err
		}
		seen = append(seen, r)
	}
	return seen, nil
}

// watchTeam counts what a crew archives and spends.
func (b *bench) watchTeam(ctx context.Context, c *crew, r *teamRun) error {
	began, archived, cpu, all := time.Now(), b.origin.requests["media"].Load(), c.spent(), machineBusy()
	select {
	case <-time.After(teamTime):
	case <-ctx.Done():
		return ctx.Err()
	}
	took := time.Since(began).Seconds()
	cpu = c.spent() - cpu
	r.Second = float64(b.origin.requests["media"].Load()-archived) / took
	r.CPU = cpu.Seconds() / took
	r.Others = max(0, (machineBusy()-all-cpu).Seconds()/took)
	for _, p := range c.processes {
		r.Peak = max(r.Peak, anonymous(p.cmd.Process.Pid))
	}
	return nil
}

// served waits until so many media were asked for.
func (b *bench) served(ctx context.Context, n int) error {
	for began := time.Now(); b.origin.requests["media"].Load() < int64(n); {
		if time.Since(began) > time.Minute {
			return errors.New("the workers archive next to nothing")
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// failover kills workers at moments that have nothing to do with their signs of life. Each
// of them has one inbox. The survivors have none, and places for all.
func (b *bench) failover(ctx context.Context, s *postgrestest.Server, claim time.Duration) (f failover, err error) {
	say("%d workers are killed, whose claims live for %s", victims, claim)
	f.Claim = claim
	b.fill(workload{Inboxes: victims, sizes: same(2000, 4<<10)})
	name := fmt.Sprintf("failover%.0f", claim.Seconds())
	set := settings{inboxes: victims, workers: transfers, passes: 1, claim: claim}
	err = b.withCrew(ctx, s, name, set, victims, func(c *crew) error {
		team, err := c.await(ctx, func(t jobs.Team) bool { return len(c.holders(t)) == victims })
		if err != nil {
			return err
		}
		c.set.passes = victims
		if err := c.start(b, survivors); err != nil {
			return err
		}
		if _, err := c.await(ctx, func(t jobs.Team) bool { return t.Alive() == victims+survivors }); err != nil {
			return err
		}
		f.Stills, err = b.killAll(ctx, c.holders(team), claim)
		return err
	})
	return f, err
}

// killAll kills workers, and returns how long their inboxes stood still, in order.
func (b *bench) killAll(ctx context.Context, holders map[string]*process, claim time.Duration) ([]time.Duration, error) {
	stills := make(chan time.Duration, victims)
	g, ctx := errgroup.WithContext(ctx)
	for inbox, p := range holders {
		g.Go(func() error {
			time.Sleep(rand.N(claim / 2))
			still, err := b.still(ctx, p, inbox, 3*claim)
			stills <- still
			return err
		})
	}
	err := g.Wait()
	close(stills)
	var all []time.Duration
	for still := range stills {
		all = append(all, still)
	}
	slices.Sort(all)
	return all, err
}

// onTheWay is how long a request that a process sent just before it died may take to arrive.
const onTheWay = 100 * time.Millisecond

// still kills a worker and returns how long its inbox stood still.
func (b *bench) still(ctx context.Context, p *process, inbox string, longest time.Duration) (time.Duration, error) {
	if err := p.kill(); err != nil {
		return 0, err
	}
	died := time.Now()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for {
		if asked := b.origin.lastAsked(inbox); asked.After(died.Add(onTheWay)) {
			return asked.Sub(died), nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return 0, fmt.Errorf("inbox %s never moved again: %w", inbox, ctx.Err())
		}
	}
}

// crew are archiverd services that share a ledger.
type crew struct {
	set       settings // of the services to start
	name      string   // of the database and the bucket
	processes []*process
}

type process struct {
	cmd    *exec.Cmd
	output bytes.Buffer // read only after the process has ended
	killed bool
}

// withCrew makes a database in which every user has logged in, and starts so many services
// on it, which begin a run.
func (b *bench) withCrew(ctx context.Context, s *postgrestest.Server, name string, set settings, n int, f func(*crew) error) (err error) {
	b.sink.empty()
	set.memory, set.cron, set.perMinute = memory, never, pace
	if set.database, err = newDatabase(ctx, s, name); err != nil {
		return err
	}
	if err := b.logIn("", set, b.sink.store(), name); err != nil {
		return err
	}
	c := &crew{set: set, name: name}
	err = c.start(b, n)
	if err == nil {
		err = f(c)
	}
	return errors.Join(err, c.dismiss())
}

// start starts so many services.
func (c *crew) start(b *bench, n int) error {
	config, err := b.writeConfig(c.set, b.sink.store(), c.name)
	if err != nil {
		return err
	}
	for range n {
		p := &process{cmd: b.command(config, "run")}
		p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
		if err := p.cmd.Start(); err != nil {
			return err
		}
		c.processes = append(c.processes, p)
	}
	return nil
}

func (p *process) kill() error {
	p.killed = true
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it ended by the signal
	return err
}

// dismiss tells the processes to stop, and waits for their ends.
func (c *crew) dismiss() (err error) {
	for _, p := range c.processes {
		if !p.killed {
			err = errors.Join(err, p.cmd.Process.Signal(syscall.SIGTERM))
		}
	}
	for _, p := range c.processes {
		if p.killed {
			continue
		}
		if e := p.cmd.Wait(); e != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w\n%s", p.cmd.Path, e, tail(p.output.String())))
		}
	}
	return err
}

// spent is the CPU time of all processes.
func (c *crew) spent() (sum time.Duration) {
	for _, p := range c.processes {
		sum += spent(p.cmd.Process.Pid)
	}
	return sum
}

// await waits until the services do what is wanted.
func (c *crew) await(ctx context.Context, wanted func(jobs.Team) bool) (jobs.Team, error) {
	pool, err := pgxpool.New(ctx, c.set.database)
	if err != nil {
		return jobs.Team{}, err
	}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		team, err := jobs.Look(ctx, pool)
		if err != nil || wanted(team) {
			return team, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return team, fmt.Errorf("the workers do not do what is wanted, but %+v: %w", team, ctx.Err())
		}
	}
}

// holders are the services by the user whose inbox each holds.
func (c *crew) holders(t jobs.Team) map[string]*process {
	held := map[string]*process{}
	for _, m := range t.Workers {
		for _, p := range c.processes {
			if strings.Contains(m.Name, fmt.Sprintf("process %d,", p.cmd.Process.Pid)) && len(m.Holds) == 1 {
				held[strings.TrimPrefix(m.Holds[0], orgName+"/")] = p
			}
		}
	}
	return held
}
