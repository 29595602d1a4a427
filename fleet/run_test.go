package fleet

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
	"github.com/archiverd/archiverd/tally"
	"github.com/archiverd/archiverd/uploads"
)

// newFleet makes a fleet of one organization without inboxes, on a ledger and a bucket of
// its own.
func newFleet(t *testing.T, grant string) (*Fleet, *bolt.Ledger) {
	t.Helper()
	b := newBucket(t)
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &config.Config{Organizations: []config.Organization{{Name: "acme", Grant: grant}}}
	log := slog.New(slog.DiscardHandler)
	return New(Options{
		Config: c, Ledger: l, Archiver: archiver.New(archiver.Options{
			Bucket: b, Ledger: l, Uploads: &uploads.Uploader{Bucket: b, Ledger: l, Log: log}, Workers: 1, Log: log,
		}), Log: log,
		Hosts: func(config.Organization) (*Hosts, error) { return &Hosts{}, nil },
	}), l
}

func newBucket(t *testing.T) *storage.Bucket {
	t.Helper()
	server := storagetest.Fake(t)
	if err := server.CreateBucket(t.Context(), "recordings", false); err != nil {
		t.Fatal(err)
	}
	b, err := storage.Open(t.Context(), server.Options("recordings"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judge gives codes that nothing but a test knows.
func judge(_ *Result, err error) int {
	if err != nil {
		return 98
	}
	return 42
}

func unseen(*tally.Tally) (finish func()) { return func() {} }

// TestPanicOfRun wants a run that panics recorded in the ledger as one that failed, and the
// service that made it to go on.
func TestPanicOfRun(t *testing.T) {
	f, l := newFleet(t, genesys.GrantClientCredentials)
	f.Hosts = func(config.Organization) (*Hosts, error) { panic("nobody expects this") }
	_, err := f.Run(t.Context(), t.Context(), Request{Follow: unseen, ExitCode: judge})
	if !errors.Is(err, ErrPanic) || !strings.Contains(err.Error(), "nobody expects this") {
		t.Errorf("the run ended with %v", err)
	}
	runs, err := l.Runs(t.Context(), 1)
	if err != nil || len(runs) != 1 || runs[0].ExitCode != 98 || runs[0].End.IsZero() || !strings.Contains(runs[0].Error, "panic") {
		t.Errorf("the ledger has the runs %+v, %v", runs, err)
	}
}

// TestRunIsRecorded wants a run over all inboxes recorded with its exit code, and one over
// a selection not: the schedule continues from the last record.
func TestRunIsRecorded(t *testing.T) {
	f, l := newFleet(t, genesys.GrantAuthorizationCode)
	if _, err := f.Run(t.Context(), t.Context(), Request{Only: Selection{Inbox: "u1"}, Follow: unseen, ExitCode: judge}); !isUsage(err) {
		t.Errorf("a run over no inbox ended with %v", err)
	}
	if runs, err := l.Runs(t.Context(), 1); err != nil || len(runs) != 0 {
		t.Errorf("a run over a selection is recorded: %+v, %v", runs, err)
	}
	sent := 0
	f.Heartbeat = func(context.Context) error { sent++; return nil }
	r, err := f.Run(t.Context(), t.Context(), Request{Follow: unseen, ExitCode: judge})
	f.Wait()
	if err != nil || r.ExitCode != 42 || sent != 1 {
		t.Fatalf("%+v, %v; %d heartbeats", r, err, sent)
	}
	runs, err := l.Runs(t.Context(), 2)
	if err != nil || len(runs) != 1 || runs[0].ExitCode != 42 || runs[0].End.IsZero() || runs[0].Error != "" {
		t.Errorf("the ledger has the runs %+v, %v", runs, err)
	}
}

// TestWaitForHeartbeat wants a heartbeat not to hold up the end of a run, and Wait to end
// when it is sent.
func TestWaitForHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Bool
		f := &Fleet{Options: Options{Heartbeat: func(context.Context) error {
			time.Sleep(time.Minute)
			sent.Store(true)
			return nil
		}}}
		f.heartbeat(t.Context(), result(Failures{}), nil)
		if sent.Load() {
			t.Error("the run waited for the heartbeat")
		}
		f.Wait()
		if !sent.Load() {
			t.Error("Wait did not wait for the heartbeat")
		}
	})
}

func isUsage(err error) bool {
	_, ok := errors.AsType[*UsageError](err)
	return ok
}
