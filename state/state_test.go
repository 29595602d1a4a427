package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestMain lets the test binary be the other process of a test.
func TestMain(m *testing.M) {
	switch path := os.Getenv("STATE_TEST_PATH"); os.Getenv("STATE_TEST_CHILD") {
	case "hold":
		holdChild(path)
	case "move":
		moveChild(path)
	default:
		os.Exit(m.Run())
	}
}

var testTime = time.Date(2026, 11, 23, 9, 4, 59, 123456789, time.UTC)

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

// fresh is a new ledger that doesn't wait for the disk.
func fresh(t testing.TB) *Ledger {
	l := open(t, newPath(t), Options{})
	l.db.NoSync = true
	return l
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.db") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same(t interface { // testing.TB or *rapid.T
	Helper()
	Fatalf(string, ...any)
}, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
}

// testVersion is a valid version, another for each n. Not all have a date: see settled.
func testVersion(n int) Version {
	sum := sha256.Sum256(fmt.Append(nil, n))
	date := ""
	if n%2 > 0 {
		date = fmt.Sprintf("2026-11-%02dT09:00:00Z", 1+n%28)
	}
	return Version{
		DateModified: date,
		MediaKey:     fmt.Sprintf("media/%d.wav", n), ManifestKey: fmt.Sprintf("manifests/%d.json", n),
		Size: int64(1000 + n), SHA256: hex.EncodeToString(sum[:]), ArchivedAt: testTime,
	}
}

func addVersion(n int) func(*Entry) {
	return func(e *Entry) { e.Versions = append(e.Versions, testVersion(n)) }
}

// ways lead from no entry to each state.
var ways = map[State][]State{
	"":                   {},
	StateListed:          {StateListed},
	StateFailed:          {StateListed, StateFailed},
	StateArchived:        {StateListed, StateArchived},
	StateDeleteRequested: {StateListed, StateArchived, StateDeleteRequested},
	StateDeleted:         {StateListed, StateArchived, StateDeleteRequested, StateDeleted},
	StateVanished:        {StateListed, StateVanished},
	StateGone:            {StateListed, StateArchived, StateGone},
}

// bring takes a new recording to a state.
func bring(t testing.TB, l *Ledger, k Key, to State) {
	t.Helper()
	from := State("")
	for _, s := range ways[to] {
		var edit func(*Entry)
		if s == StateArchived {
			edit = addVersion(0)
		}
		if s == StateListed {
			edit = func(e *Entry) { e.Raw, e.Expanded = []byte(`{"id": 1}`), true }
		}
		_, err := l.Move(k, from, s, edit)
		must(t, err)
		from = s
	}
}
