package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
)

// toJournald tells whether w is systemd's journal: $JOURNAL_STREAM names the device
// and inode of what the service was started with.
func toJournald(w io.Writer, lookupEnv func(string) (string, bool)) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	var s syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &s); err != nil {
		return false
	}
	stream, _ := lookupEnv("JOURNAL_STREAM")
	return stream == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

// journal puts the priority that journald reads before each line of a handler.
type journal struct {
	slog.Handler // writes to prefix
	prefix       *prefix
}

// prefix is written before what the handler writes.
type prefix struct {
	w    io.Writer
	mu   sync.Mutex // held from the level to its line
	text string
}

func (p *prefix) Write(line []byte) (int, error) {
	if _, err := p.w.Write(append([]byte(p.text), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// newJournal is a handler made by handler, which writes a line for each record.
func newJournal(w io.Writer, handler func(io.Writer) slog.Handler) slog.Handler {
	p := &prefix{w: w}
	return journal{handler(p), p}
}

// Handle implements slog.Handler.
func (j journal) Handle(ctx context.Context, r slog.Record) error {
	j.prefix.mu.Lock()
	defer j.prefix.mu.Unlock()
	j.prefix.text = priority(r.Level)
	return j.Handler.Handle(ctx, r)
}

// priority is sd-daemon(3)'s.
func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

// WithAttrs implements slog.Handler.
func (j journal) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journal{j.Handler.WithAttrs(attrs), j.prefix}
}

// WithGroup implements slog.Handler.
func (j journal) WithGroup(name string) slog.Handler {
	return journal{j.Handler.WithGroup(name), j.prefix}
}
