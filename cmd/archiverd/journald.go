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

// toJournald reports whether w is systemd's journal, whose device and inode are in
// $JOURNAL_STREAM.
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

// journald is a handler that starts each line with the priority that journald reads.
type journald struct {
	slog.Handler // writes to prefix
	prefix       *prefix
}

// prefix is a writer that puts text before each line.
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

// newJournald puts priorities before the lines of the handler that the function handler
// makes, which must write one line for each record.
func newJournald(w io.Writer, handler func(io.Writer) slog.Handler) slog.Handler {
	p := &prefix{w: w}
	return journald{handler(p), p}
}

// Handle implements slog.Handler.
func (j journald) Handle(ctx context.Context, r slog.Record) error {
	j.prefix.mu.Lock()
	defer j.prefix.mu.Unlock()
	j.prefix.text = priority(r.Level)
	return j.Handler.Handle(ctx, r)
}

// priority is the prefix that sd-daemon(3) defines for a level.
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
func (j journald) WithAttrs(attrs []slog.Attr) slog.Handler {
	return journald{j.Handler.WithAttrs(attrs), j.prefix}
}

// WithGroup implements slog.Handler.
func (j journald) WithGroup(name string) slog.Handler {
	return journald{j.Handler.WithGroup(name), j.prefix}
}
