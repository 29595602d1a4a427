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
	long := flag.Bool("long", false, "measure growth instead")
	entries := flag.String("workers", "", "measure ledgers in PostgreSQL instead, of these `numbers` of entries, such as 1000000,10000000")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := b.run(ctx, *long, *entries); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type bench struct {
	archiverdPath, rclonePath, docs string
	rounds                          int

	dir    string // on tmpfs
	origin *origin
	sink   *sink
}

func (b *bench) run(ctx context.Context, long bool, entries string) (err error) {
	if b.dir, err = os.MkdirTemp("/dev/shm", "archiverd-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if entries == "" { // PostgreSQL needs a disk
		if err := os.Setenv("TMPDIR", b.dir); err != nil { // of the S3 servers
			return err
		}
	}
	if b.origin, err = newOrigin(); err != nil {
		return err
	}
	defer b.origin.server.Close()
	if b.sink, err = newSink(); err != nil {
		return err
	}
	defer b.sink.server.Close()
	if err := b.measureOne(ctx, long, entries); err != nil {
		return err
	}
	page, err := b.render()
	if err != nil {
		return err
	}
	fmt.Printf("%s", page)
	return os.WriteFile(filepath.Join(b.docs, "performance.md"), page, 0o644)
}

// measureOne measures one group of figures and keeps them.
func (b *bench) measureOne(ctx context.Context, long bool, entries string) (err error) {
	switch {
	case entries != "":
		var r workersResults
		if err = b.measureWorkers(ctx, entries, &r); err == nil {
			err = b.save("workers.json", r)
		}
	case long:
		var r longResults
		if err = b.measureLong(ctx, &r); err == nil {
			err = b.save("long.json", r)
		}
	default:
		var r results
		if err = b.measureAll(ctx, &r); err == nil {
			err = b.save("short.json", r)
		}
	}
	return err
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
