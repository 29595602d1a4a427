package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/archiverd/archiverd/config"
)

// TestJournald wants a priority before each line, where stderr is the journal.
func TestJournald(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "stderr")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var s syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &s); err != nil {
		t.Fatal(err)
	}
	for stream, prefixed := range map[string]bool{fmt.Sprintf("%d:%d", s.Dev, s.Ino): true, "1:2": false, "": false} {
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		a := &app{stderr: f, lookupEnv: func(name string) (string, bool) { return stream, name == "JOURNAL_STREAM" }}
		log := a.logger(config.Log{Level: slog.LevelDebug, Format: "auto"}, f)
		log.Debug("d")
		log.With("org", "acme").Info("i")
		log.Warn("w")
		log.WithGroup("g").Error("e", "k", "two\nlines")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if len(lines) != 4 {
			t.Fatalf("%q: logged %q", stream, lines)
		}
		for i, p := range []string{"<7>", "<6>", "<4>", "<3>"} {
			if strings.HasPrefix(lines[i], p+"{") != prefixed || strings.HasPrefix(lines[i], "{") == prefixed {
				t.Errorf("%q: line %q, want %q %v", stream, lines[i], p, prefixed)
			}
		}
	}
}
