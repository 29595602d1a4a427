package main

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state/bolt"
)

// panicking panics when it is written to.
type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("nobody expects this") }

// TestPanicExitsOne wants a panic of a command, its own or one that the service runs for a
// caller, to be an unexpected error, and never the exit code of a faulty configuration.
func TestPanicExitsOne(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{args: []string{"version"}, stdout: panicking{}, stderr: &stderr, stop: t.Context()}
	if code := a.execute(); code != exitUnexpected {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"nobody expects this", "please report it", "panic_test.go"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not in %s", want, stderr.String())
		}
	}
}

// TestPanicOfRun wants a run that panics recorded in the ledger as failed, and the service
// that made it to continue.
func TestPanicOfRun(t *testing.T) {
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	// An organization without a URL has no client: only a bug could cause that.
	c := &config.Config{Organizations: []config.Organization{{Name: "acme", Grant: "client_credentials", APIURL: "\x00"}}}
	f := newFleet(c, nil, l, watch.NewMetrics("test"), slog.New(slog.DiscardHandler))
	_, _, err = f.run(t.Context(), t.Context(), runFlags{only: &selection{}}, nil)
	if codeOf(err) != exitUnexpected || !strings.Contains(err.Error(), "panic") {
		t.Errorf("the run ended with %v", err)
	}
	runs, err := l.Runs(t.Context(), 1)
	if err != nil || len(runs) != 1 || runs[0].ExitCode != exitUnexpected || runs[0].End.IsZero() {
		t.Errorf("the ledger has the runs %+v, %v", runs, err)
	}
}
