package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/storage/storagetest"
)

// results are what make bench sees.
type results struct {
	Machine  machine
	Against  []comparison
	Requests []requests
	Stored   []stored
	Memory   []memoryUse
	Ledger   ledgerCost
	Known    usage // a pass that finds knownRecordings known ones
	Start    []startup
	Profiles []profile
}

// workload is what each of so many inboxes holds.
type workload struct {
	Name    string
	Inboxes int
	sizes   []int64
}

func (w workload) recordings() int { return w.Inboxes * len(w.sizes) }

// small is 2,000 recordings of 0 to 128 KiB.
func small() workload {
	w := workload{Name: "2,000 recordings of 0 to 128 KiB", Inboxes: 40, sizes: make([]int64, 50)}
	source := rand.New(rand.NewPCG(3, 4))
	for i := range w.sizes[1:] {
		w.sizes[i+1] = wavHeaderSize + source.Int64N(128<<10-wavHeaderSize)
	}
	return w
}

func large() workload {
	return workload{Name: "8 recordings of 256 MiB", Inboxes: 1, sizes: same(8, 256<<20)}
}

func same(n int, size int64) []int64 {
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

func (b *bench) fill(w workload) {
	b.origin.empty()
	for n := range w.Inboxes {
		b.origin.fill(userID(n), w.sizes, false)
	}
}

func (b *bench) measureAll(ctx context.Context, r *results) (err error) {
	if r.Machine, err = b.machine(); err != nil {
		return err
	}
	for _, start := range []func() (*storagetest.Server, error){storagetest.StartVersitygw, storagetest.StartMinIO} {
		for _, w := range []workload{small(), large()} {
			c, err := b.compare(ctx, start, w)
			if err != nil {
				return err
			}
			r.Against = append(r.Against, c)
		}
	}
	for _, step := range []func() error{
		func() (err error) { r.Requests, err = b.requests(); return err },
		func() (err error) { r.Stored, err = b.storeRequests(); return err },
		func() (err error) { r.Memory, err = b.giantUses(); return err },
		func() error { return b.idleAndLedger(r) },
		func() (err error) { r.Known, err = b.known(knownRecordings); return err },
		func() (err error) { r.Start, err = b.starts(); return err },
		func() (err error) { r.Profiles, err = b.profiles(ctx); return err },
	} {
		if err := errors.Join(ctx.Err(), step()); err != nil {
			return err
		}
	}
	return nil
}

// comparison is one workload on one server, in medians.
type comparison struct {
	Server, Workload  string
	Rclone, Archiverd usage
}

func (c comparison) small() bool { return c.Workload == small().Name }

// Limits are the largest shares of rclone's wall time and CPU.
func (c comparison) Limits() (l struct{ Wall, CPU float64 }) {
	l.Wall, l.CPU = 0.9, 0.5
	if c.small() {
		l.CPU = 0.9
	}
	return l
}

// compare runs the contenders in turn, each into a bucket of its own.
func (b *bench) compare(ctx context.Context, start func() (*storagetest.Server, error), w workload) (c comparison, err error) {
	var rclone, archiverd []usage
	for round := range b.rounds {
		if ctx.Err() != nil {
			return c, ctx.Err()
		}
		// A fresh server each round: what the rounds before stored would fill the tmpfs.
		s3, err := start()
		if err != nil {
			return c, err
		}
		c.Server, c.Workload = s3.Name, w.Name
		say("%s, %s, round %d of %d", s3.Name, w.Name, round+1, b.rounds)
		b.fill(w)
		r, a, err := b.round(ctx, w, s3, round)
		if err = errors.Join(err, s3.Close()); err != nil {
			return c, err
		}
		rclone, archiverd = append(rclone, r), append(archiverd, a)
	}
	c.Rclone, c.Archiverd = medians(rclone), medians(archiverd)
	return c, nil
}

func (b *bench) round(ctx context.Context, w workload, s3 *storagetest.Server, round int) (rclone, archiverd usage, err error) {
	runs := []func() error{
		func() (err error) { rclone, err = b.rclone(w, s3, "rclone"); return err },
		func() (err error) { archiverd, err = b.archive(w, s3, "archiverd", ""); return err },
	}
	if round%2 == 1 { // who comes second finds a warmer server
		runs[0], runs[1] = runs[1], runs[0]
	}
	for _, bucket := range []string{"rclone", "archiverd"} {
		if err := s3.CreateBucket(ctx, bucket, false); err != nil {
			return rclone, archiverd, err
		}
	}
	return rclone, archiverd, errors.Join(runs[0](), runs[1]())
}

// archive makes a first run, with the ledger in the database, or in a file if there is none.
func (b *bench) archive(w workload, s3 *storagetest.Server, bucket, database string) (usage, error) {
	config, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory, database: database}, s3, bucket)
	if err != nil {
		return usage{}, err
	}
	u, _, err := measure(b.command(config, "run", "--once"))
	return u, err
}

// requests are those of one run to Genesys.
type requests struct {
	Run      string
	Counts   map[string]int64
	Promised int64
	Sent     int64
}

// requests counts what a first run, an idle one and a deleting one send.
func (b *bench) requests() (all []requests, err error) {
	say("requests")
	w := small()
	b.fill(w)
	config, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory}, b.sink.store(), "requests")
	if err != nil {
		return nil, err
	}
	inboxes, recordings := int64(w.Inboxes), int64(w.Inboxes*len(w.sizes))
	walk := 2 * inboxes // a page and a summary each
	for _, run := range []requests{
		{Run: "first run", Promised: walk + recordings},
		{Run: "nothing new", Promised: walk},
		{Run: "all deleted", Promised: walk + 2*recordings},
	} {
		if run.Run == "all deleted" {
			deletes, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory, deletes: true}, b.sink.store(), "requests")
			if err != nil {
				return nil, err
			}
			// The same ledger, now with deletions on.
			if err := os.Rename(filepath.Join(filepath.Dir(config), "archiverd.db"), filepath.Join(filepath.Dir(deletes), "archiverd.db")); err != nil {
				return nil, err
			}
			config = deletes
		}
		b.origin.count()
		if _, _, err := measure(b.command(config, "run", "--once")); err != nil {
			return nil, err
		}
		run.Counts = b.origin.count()
		for op, n := range run.Counts {
			if op != "media" && op != "manifest" {
				run.Sent += n
			}
		}
		all = append(all, run)
	}
	return all, nil
}

// stored is what a contender sends to the store for the small recordings.
type stored struct {
	Contender string
	Counts    map[string]int64 // by HTTP method
	Marginal  float64          // requests for each recording that an inbox has more
}

func (b *bench) storeRequests() ([]stored, error) {
	archive := func(w workload, s3 *storagetest.Server, bucket string) (usage, error) {
		return b.archive(w, s3, bucket, "")
	}
	var all []stored
	for _, contender := range []struct {
		name string
		run  func(w workload, s3 *storagetest.Server, bucket string) (usage, error)
	}{{"rclone", b.rclone}, {"archiverd", archive}} {
		say("requests of %s to the store", contender.name)
		half, w := small(), small()
		half.sizes = half.sizes[:len(w.sizes)/2]
		var counts []map[string]int64
		for _, w := range []workload{half, w} {
			b.fill(w)
			b.sink.count()
			if _, err := contender.run(w, b.sink.store(), fmt.Sprintf("stored-%s-%d", contender.name, w.recordings())); err != nil {
				return nil, err
			}
			counts = append(counts, b.sink.count())
		}
		more := float64(sum(counts[1]) - sum(counts[0]))
		all = append(all, stored{contender.name, counts[1], more / float64(w.recordings()-half.recordings())})
	}
	return all, nil
}

func sum(counts map[string]int64) (n int64) {
	for _, c := range counts {
		n += c
	}
	return n
}

// memoryUse is the anonymous memory of one run.
type memoryUse struct {
	What  string
	Peak  int64
	Limit int64
}

func (b *bench) giantUses() ([]memoryUse, error) {
	say("memory")
	giants := memoryUse{What: "16 workers, recordings of 1 GiB, transfer.memory 96MiB", Limit: 160 << 20}
	chunked := memoryUse{What: "one recording of 10 GiB, its length unknown", Limit: 160 << 20}
	var err error
	if giants.Peak, err = b.giants(same(16, 1<<30), false); err != nil {
		return nil, err
	}
	chunked.Peak, err = b.giants(same(1, 10<<30), true)
	return []memoryUse{giants, chunked}, err
}

// idleAndLedger makes a ledger while a service sits idle, since either takes minutes.
func (b *bench) idleAndLedger(r *results) error {
	say("an idle service, and a ledger of 1,000,000")
	idle := memoryUse{What: "idle service", Limit: 32 << 20}
	var g errgroup.Group
	g.Go(func() (err error) { idle.Peak, err = b.idle(); return err })
	g.Go(func() (err error) { r.Ledger, err = b.ledger(1_000_000); return err })
	err := g.Wait()
	r.Memory = append(r.Memory, idle)
	return err
}

func (b *bench) giants(sizes []int64, chunked bool) (int64, error) {
	b.origin.empty()
	b.origin.fill(userID(0), sizes, chunked)
	config, err := b.configure(settings{inboxes: 1, workers: 16, memory: "96MiB"}, b.sink.store(), fmt.Sprintf("giants-%d", len(sizes)))
	if err != nil {
		return 0, err
	}
	u, _, err := measure(b.command(config, "run", "--once"))
	return u.Peak, err
}

// never is a schedule that no measurement meets: a service makes its first run, and waits.
const never = "0 0 1 1 *"

// idle is the memory of a service that has made a run over 100 inboxes and waits.
func (b *bench) idle() (peak int64, err error) {
	w := workload{Inboxes: 100, sizes: same(10, 4<<10)}
	b.fill(w)
	config, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory, cron: never}, b.sink.store(), "idle")
	if err != nil {
		return 0, err
	}
	c := b.command(config, "run")
	logs, err := c.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := c.Start(); err != nil {
		return 0, err
	}
	// The run at the start ends with a line; a while later the collector has given
	// back what the run had taken.
	if err := await(logs, "run done"); err != nil {
		return 0, errors.Join(err, c.Process.Kill(), c.Wait())
	}
	time.Sleep(settle)
	peak = anonymous(c.Process.Pid)
	go func() { _, _ = io.Copy(io.Discard, logs) }() // until the process ends
	return peak, errors.Join(c.Process.Signal(syscall.SIGTERM), c.Wait())
}

// settle is how long Go's runtime takes at most until a collection is due and the
// scavenger has worked: it forces one every two minutes.
const settle = 150 * time.Second

// await reads lines until one holds the text.
func await(r io.Reader, text string) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return nil
		}
	}
	return fmt.Errorf("the log ended without %q", text)
}

const knownRecordings = 100_000

// known is a pass over an inbox of n recordings that are all archived.
func (b *bench) known(n int) (usage, error) {
	say("a pass over %d known recordings", n)
	config, err := b.configureKnown(settings{}, n)
	if err != nil {
		return usage{}, err
	}
	u, _, err := measure(b.command(config, "run", "--once"))
	return u, err
}

func (b *bench) configureKnown(s settings, n int) (config string, err error) {
	b.origin.empty()
	b.origin.fill(userID(0), same(n, 128<<10), false)
	s.workers, s.memory = workers, memory
	config, err = b.configure(s, b.sink.store(), "known")
	if err != nil {
		return "", err
	}
	l, err := b.openLedger(filepath.Join(filepath.Dir(config), "archiverd.db"), s.database, b.binding(b.sink.store(), "known"))
	if err != nil {
		return "", err
	}
	return config, errors.Join(preload(l, userID(0), n), l.Close())
}

// startup is how long a short command takes.
type startup struct {
	What  string
	Wall  time.Duration
	Limit time.Duration
}

func (b *bench) starts() ([]startup, error) {
	say("start")
	b.origin.empty()
	b.origin.fill(userID(0), nil, false)
	config, err := b.configure(settings{inboxes: 1, workers: workers, memory: memory}, b.sink.store(), "start")
	if err != nil {
		return nil, err
	}
	version := startup{What: "archiverd version", Limit: 20 * time.Millisecond}
	once := startup{What: "archiverd run --once, an empty inbox", Limit: 150 * time.Millisecond}
	for _, s := range []struct {
		*startup
		command func() *exec.Cmd
	}{
		{&version, func() *exec.Cmd { return exec.Command(b.archiverdPath, "version") }},
		{&once, func() *exec.Cmd { return b.command(config, "run", "--once") }},
	} {
		var runs []usage
		for range 4 * b.rounds {
			u, _, err := measure(s.command())
			if err != nil {
				return nil, err
			}
			runs = append(runs, u)
		}
		s.Wall = medians(runs[b.rounds:]).Wall // the first ones warm the page cache
	}
	return []startup{version, once}, nil
}
