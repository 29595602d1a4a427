// Command bench measures archiverd: beside rclone, which copies the same media to
// the same S3 servers, and alone, where it has promises of its own to keep. It
// writes what it saw to docs/performance, and docs/performance.md from that.
//
// The contenders run one after the other, round by round, on tmpfs; what is told
// of them are medians and their ratios.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

func main() {
	b := &bench{}
	flag.StringVar(&b.archiverdPath, "archiverd", "bin/archiverd", "the `binary` to measure")
	flag.StringVar(&b.rclonePath, "rclone", ".tools/rclone", "the `binary` to compare with")
	flag.IntVar(&b.rounds, "rounds", 5, "of the comparisons")
	flag.StringVar(&b.docs, "docs", "docs", "the `directory` to write to")
	what := flag.String("what", "short", "`what` to measure: short (beside rclone), long (growth), latency, or workers (several of them, and ledgers in PostgreSQL)")
	entries := flag.String("entries", "1000000,10000000", "the `numbers` of entries of ledgers in PostgreSQL")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, *what, *entries); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	archiverdPath, rclonePath, docs string
	rounds                          int

	tmpfs  string // a directory in memory
	dir    string // of configurations and ledgers: tmpfs, or on a disk to measure workers
	origin *origin
	sink   *sink
}

func (b *bench) run(ctx context.Context, what, entries string) (err error) {
	if b.tmpfs, err = os.MkdirTemp("/dev/shm", "archiverd-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.tmpfs)
	b.dir = b.tmpfs
	if what == "workers" { // compares with PostgreSQL, which needs a disk
		if b.dir, err = os.MkdirTemp("", "archiverd-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(b.dir)
	} else if err := os.Setenv("TMPDIR", b.tmpfs); err != nil { // of the S3 servers
		return err
	}
	if b.origin, err = newOrigin(); err != nil {
		return err
	}
	defer b.origin.server.Close()
	if b.sink, err = newSink(); err != nil {
		return err
	}
	defer b.sink.server.Close()
	if err := b.measureOne(ctx, what, entries); err != nil {
		return err
	}
	pages, err := b.pages()
	if err != nil {
		return err
	}
	for name, text := range pages {
		err = errors.Join(err, os.WriteFile(filepath.Join(b.docs, name), text, 0o644))
	}
	fmt.Printf("%s", pages["performance.md"])
	return err
}

// measureInto measures and keeps the results.
func measureInto[R any](ctx context.Context, b *bench, name string, measure func(context.Context, *R) error) error {
	var r R
	if err := measure(ctx, &r); err != nil {
		return err
	}
	return b.save(name+".json", r)
}

// measureOne measures one group of figures and keeps them.
func (b *bench) measureOne(ctx context.Context, what, entries string) error {
	switch what {
	case "short":
		return measureInto(ctx, b, what, b.measureAll)
	case "long":
		return measureInto(ctx, b, what, b.measureLong)
	case "latency":
		return measureInto(ctx, b, what, b.measureLatency)
	case "workers":
		return measureInto(ctx, b, what, func(ctx context.Context, r *workersResults) error { return b.measureWorkers(ctx, entries, r) })
	}
	return fmt.Errorf("-what %s: want short, long, latency or workers", what)
}

// save keeps results for the page.
func (b *bench) save(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Join(b.docs, "performance"), 0o755)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.docs, "performance", name), append(text, '\n'), 0o644)
}

// say tells on stderr what is being measured.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
