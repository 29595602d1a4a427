package main

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/archiverd/archiverd/tally"
)

const (
	barInterval = 200 * time.Millisecond
	logInterval = 30 * time.Second
)

// progress shows the progress of a run: a bar on a terminal, elsewhere a log line now and
// then.
type progress struct {
	bars *mpb.Progress // nil: not on a terminal
	w    io.Writer     // for log lines, which must not break the bar
}

func newProgress(stderr io.Writer) *progress {
	if !isTerminal(stderr) {
		return &progress{w: stderr}
	}
	bars := mpb.New(mpb.WithOutput(stderr), mpb.WithRefreshRate(barInterval), mpb.WithAutoRefresh()) // mpb can't recognize a caller's terminal
	return &progress{bars: bars, w: bars}
}

// follow shows the counters until finish is called. When finish returns, nothing more
// is written.
func (p *progress) follow(n *tally.Tally, log *slog.Logger) (finish func()) {
	if p.bars != nil {
		return p.bar(n)
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(logInterval)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				log.Info("under way", "found", n.Found.Load(), "archived", n.Archived.Load(), "failed", n.Failed.Load(),
					"checked", n.Checked.Load(), "bytes", n.Bytes.Load(), "deletions", n.Deleted.Load())
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// bar draws recordings done of those found, bytes, rate and the time left.
func (p *progress) bar(n *tally.Tally) (finish func()) {
	begun := time.Now()
	text := func(decor.Statistics) string { return barText(n, time.Since(begun)) }
	bar := p.bars.New(0, mpb.BarStyle().Rbound("] ").Lbound(" ["),
		mpb.BarWidth(30), mpb.AppendDecorators(decor.Any(text)))
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		t := time.NewTicker(barInterval)
		defer t.Stop()
		for {
			bar.SetTotal(n.Found.Load()+1, false) // one more, since the bar ends when it reaches its total
			bar.SetCurrent(handled(n))
			select {
			case <-t.C:
			case <-quit:
				bar.SetTotal(max(1, n.Found.Load()), false)
				bar.EnableTriggerComplete()
				bar.SetCurrent(max(1, n.Found.Load()))
				return
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		bar.Abort(false)
		p.bars.Wait()
	}
}

func handled(n *tally.Tally) int64 {
	return n.Archived.Load() + n.Failed.Load() + n.Checked.Load()
}

func barText(n *tally.Tally, took time.Duration) string {
	found, done, bytes := n.Found.Load(), handled(n), n.Bytes.Load()
	text := fmt.Sprintf("%d of %d recordings, %s", done, found, size(bytes))
	if seconds := took.Seconds(); seconds >= 1 {
		text += fmt.Sprintf(", %s/s", size(int64(float64(bytes)/seconds)))
	}
	if done > 0 && done < found {
		left := time.Duration(float64(took) / float64(done) * float64(found-done))
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	if failed := n.Failed.Load(); failed > 0 {
		text += fmt.Sprintf(", %d failed", failed)
	}
	return text
}
