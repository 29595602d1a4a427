package bolt

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// TestMain lets the test binary run as the other process of a test.
func TestMain(m *testing.M) {
	if path := os.Getenv(holdPath); path != "" {
		holdChild(path)
		return
	}
	os.Exit(statetest.Main(m, openForSuite))
}

// holdPath is the environment variable that makes the test binary hold a ledger.
const holdPath = "BOLT_TEST_HOLD"

func openForSuite(path string, now func() time.Time, fast bool) (statetest.Ledger, error) {
	l, err := Open(path, Options{Now: now, Timeout: time.Minute})
	if err == nil && fast {
		l.db.NoSync, l.db.MaxBatchDelay = true, 0
	}
	return underTest{l}, err
}

type underTest struct{ *Ledger }

// RunOut implements statetest.Ledger. In a file a claim ends only when it is released.
func (l underTest) RunOut(org, inbox string) error {
	l.claiming.Lock()
	c := l.claims[org+"/"+inbox]
	l.claiming.Unlock()
	return c.Release(context.Background())
}

func TestContract(t *testing.T) { statetest.Run(t, openForSuite) }

var testTime = statetest.Now

func testNow() time.Time { return testTime }

// open opens a ledger that is checked and closed when the test ends.
func open(t testing.TB, path string, o Options) *Ledger {
	t.Helper()
	if o.Now == nil {
		o.Now = testNow
	}
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, l) })
	return l
}

// finish checks and closes a ledger; it does nothing the second time.
func finish(t testing.TB, l *Ledger) {
	t.Helper()
	if l.db.Path() == "" {
		return // closed
	}
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// fresh opens a new ledger that doesn't wait for the disk.
func fresh(t testing.TB) *Ledger {
	l := open(t, newPath(t), Options{})
	l.db.NoSync = true
	return l
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.db") }

func noEdit(*state.Inbox) {}
