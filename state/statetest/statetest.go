// Package statetest tests implementations of state.Ledger against the contract.
package statetest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/archiverd/archiverd/state"
)

// Ledger is a ledger under test.
type Ledger interface {
	state.Ledger
	RunOut(org, inbox string) error // ends the claim on an inbox as its time would
	Check() error                   // how the ledger's data break the contract
	Close() error
}

// Open opens the ledger that is kept at path, a file or a name below a directory of the
// test's own, and makes the ledger if there is none. now is its clock. A fast ledger
// need not survive a power failure.
type Open func(path string, now func() time.Time, fast bool) (Ledger, error)

// Main runs a package's tests, or is the process that suite.crash kills. An
// implementation's TestMain calls it.
func Main(m *testing.M, open Open) int {
	if path := os.Getenv(crashPath); path != "" {
		moveForEver(open, path)
	}
	return m.Run()
}

// Run tests a kind of ledger against the contract.
func Run(t *testing.T, open Open) {
	s := suite{open}
	for _, c := range []struct {
		name string
		test func(*testing.T)
	}{
		{"edges are the agreed ones", s.edgesAreTheAgreedOnes},
		{"every edge", s.everyEdge},
		{"conflict", s.conflict},
		{"transition clears", s.transitionClears},
		{"acts", s.acts},
		{"acts that are refused", s.actsRefused},
		{"a disposal is an act, then a state", s.disposal},
		{"broken promises", s.brokenPromises},
		{"an edit gets fresh copies", s.moveEditGetsFreshCopies},
		{"moves race", s.moveRace},
		{"entries are the caller's", s.entriesAreTheCallers},
		{"the recording as listed is kept byte for byte", s.rawIsKeptByteForByte},
		{"ids", s.ids},
		{"a page is all or nothing", s.listIsAllOrNothing},
		{"live entries", s.live},
		{"scan while entries move", s.scanWhileMoving},
		{"scan selects", s.scanSelects},
		{"search", s.search},
		{"search follows changes", s.searchFollows},
		{"search in pages", s.searchPages},
		{"search while entries move", s.searchWhileMoving},
		{"restore", s.restore},
		{"inbox", s.inbox},
		{"passes", s.passes},
		{"tokens", s.tokens},
		{"logins and renewals", s.logins},
		{"runs", s.runs},
		{"uploads", s.uploads},
		{"one claim at a time", s.claimAlone},
		{"a lost claim changes nothing", s.claimLost},
		{"changes under a claim", s.claimChanges},
		{"claims race", s.claimRace},
		{"an event says why", s.eventTellsWhy},
		{"an event names bad keys", s.eventTellsBadKeys},
		{"numbers of events go on", s.eventNumbersGoOn},
		{"accepted faults", s.acceptFaults},
		{"contexts that have ended", s.contexts},
		{"model", s.model},
		{"crash", s.crash},
	} {
		t.Run(c.name, c.test)
	}
}

type suite struct{ opener Open }

// Now is the time of every ledger under test.
var Now = time.Date(2026, 11, 23, 9, 4, 59, 123456789, time.UTC)

var testTime = Now

func testNow() time.Time { return testTime }

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "ledger.db") }

// open opens a ledger that is checked and closed when the test ends.
func (s suite) open(t testing.TB, path string) *opened {
	t.Helper()
	return s.opened(t, path, false)
}

// fresh opens a new ledger that does not wait for the disk.
func (s suite) fresh(t testing.TB) *opened {
	t.Helper()
	return s.opened(t, newPath(t), true)
}

func (s suite) opened(t testing.TB, path string, fast bool) *opened {
	t.Helper()
	l, err := s.opener(path, testNow, fast)
	if err != nil {
		t.Fatal(err)
	}
	o := &opened{Ledger: l}
	t.Cleanup(func() { finish(t, o) })
	return o
}

// opened is a ledger that finish has not closed yet.
type opened struct {
	Ledger
	closed bool
}

// finish checks and closes a ledger; it does nothing the second time.
func finish(t testing.TB, l *opened) {
	t.Helper()
	if l.closed {
		return
	}
	l.closed = true
	if err := l.Check(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Must ends the test if there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Same ends the test if the values differ. A nil slice or map is the same as an empty one.
func Same(t interface { // testing.TB or *rapid.T
	Helper()
	Fatalf(string, ...any)
}, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("(-want +got)\n%s", d)
	}
}

func noEdit(*state.Inbox) {}

// Version returns a valid version, a different one for each n. Not all have a date: see
// state.Entry.Settled.
func Version(n int) state.Version {
	sum := sha256.Sum256(fmt.Append(nil, n))
	date := ""
	if n%2 > 0 {
		date = fmt.Sprintf("2026-11-%02dT09:00:00Z", 1+n%28)
	}
	return state.Version{
		DateModified: date,
		MediaKey:     fmt.Sprintf("media/%d.wav", n), ManifestKey: fmt.Sprintf("manifests/%d.json", n),
		Size: int64(1000 + n), SHA256: hex.EncodeToString(sum[:]), ArchivedAt: testTime,
	}
}

// AddVersion returns an edit that adds Version(n).
func AddVersion(n int) func(*state.Entry) {
	return func(e *state.Entry) { e.Versions = append(e.Versions, Version(n)) }
}

// ways are paths from no entry to each state.
var ways = map[state.State][]state.State{
	"":                         {},
	state.StateListed:          {state.StateListed},
	state.StateFailed:          {state.StateListed, state.StateFailed},
	state.StateArchived:        {state.StateListed, state.StateArchived},
	state.StateDeleteRequested: {state.StateListed, state.StateArchived, state.StateDeleteRequested},
	state.StateDeleted:         {state.StateListed, state.StateArchived, state.StateDeleteRequested, state.StateDeleted},
	state.StateVanished:        {state.StateListed, state.StateVanished},
	state.StateGone:            {state.StateListed, state.StateArchived, state.StateGone},
	state.StateWaived:          {state.StateListed, state.StateFailed, state.StateWaived},
	state.StateErased:          {state.StateListed, state.StateArchived, state.StateErased},
	state.StateExpired:         {state.StateListed, state.StateArchived, state.StateExpired},
}

// Bring moves a new recording to a state.
func Bring(t testing.TB, l state.Recordings, k state.Key, to state.State) {
	t.Helper()
	from := state.State("")
	for _, s := range ways[to] {
		var edit func(*state.Entry)
		switch s {
		case state.StateListed:
			edit = func(e *state.Entry) { e.Name, e.Raw, e.Expanded = "n", []byte(`{"id": 1}`), true }
		case state.StateArchived:
			edit = AddVersion(0)
		case state.StateWaived:
			edit = Act(state.ActWaive).Do
		case state.StateErased, state.StateExpired:
			dispose(t, l, k, from, s)
		}
		_, err := l.Move(t.Context(), k, from, s, edit)
		Must(t, err)
		from = s
	}
}

// Act returns a valid act of a kind, always the same.
func Act(kind state.ActKind) state.Act {
	a := state.Act{ID: "act-" + string(kind), Kind: kind, By: "ann", At: testTime, Reason: "she asked"}
	switch kind {
	case state.ActHold, state.ActRelease:
		a.Case = "case-1"
	case state.ActRetain:
		a.Mode, a.Until = "GOVERNANCE", testTime.AddDate(1, 0, 0)
	case state.ActErase:
		a.Authority = "court order 7"
	case state.ActCertify:
		sum := strings.Repeat("0", 64)
		a.Certificate = state.Certificate{Key: "certificates/act-1.json", SHA256: sum, PageSHA256: sum}
	}
	return a
}

// dispose adds to an entry, which may lack a version, the act that must come before it can
// enter the state to.
func dispose(t testing.TB, l state.Recordings, k state.Key, from, to state.State) {
	t.Helper()
	act := Act(map[state.State]state.ActKind{state.StateErased: state.ActErase, state.StateExpired: state.ActExpire}[to])
	_, err := l.Move(t.Context(), k, from, from, func(e *state.Entry) {
		if len(e.Versions) == 0 {
			AddVersion(0)(e)
		}
		act.Do(e)
	})
	Must(t, err)
}
