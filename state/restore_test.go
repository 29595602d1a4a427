package state

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// Restore enters what was, in any order and in any state, and counts it; it records
// no event, and refuses what no entry may be.
func TestRestore(t *testing.T) {
	l := fresh(t)
	must(t, l.Restore("acme", "u1", []Restored{
		{"gone", func(e *Entry) { e.State = StateGone; addVersion(1)(e) }},
		{"lost", func(e *Entry) { e.State = StateVanished }},
		{"gone", func(e *Entry) { // before the first
			e.State, e.Versions = StateDeleted, append([]Version{testVersion(0)}, e.Versions...)
		}},
	}))
	e, err := l.Entry(Key{"acme", "u1", "gone"})
	must(t, err)
	same(t, e, Entry{State: StateDeleted, Versions: []Version{testVersion(0), testVersion(1)}})
	in, err := l.Inbox("acme", "u1")
	must(t, err)
	same(t, in.Counts, map[State]int64{StateDeleted: 1, StateVanished: 1})
	if events, err := l.Events("acme", "u1", 10); err != nil || len(events) > 0 {
		t.Errorf("events %v, %v", events, err)
	}
	for name, edit := range map[string]func(*Entry){
		"no state":                    func(*Entry) {},
		"gone without version":        func(e *Entry) { e.State = StateGone },
		"":                            func(e *Entry) { e.State = StateListed },
		strings.Repeat("l", maxKey+1): func(e *Entry) { e.State = StateListed },
		"a year beyond JSON":          func(e *Entry) { e.State, e.ListedAt = StateListed, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a version without key":       func(e *Entry) { e.State, e.Versions = StateGone, []Version{{}} },
	} {
		err := l.Restore("acme", "u1", []Restored{{"good", func(e *Entry) { e.State = StateListed }}, {name, edit}})
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.Entry(Key{"acme", "u1", "good"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a part of a refused restore is there: %v", err)
	}
}

// A ledger that takes the place of a lost one has its id.
func TestOpenWithTheIDOfALostLedger(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{ID: "LOST"})
	if l.ID() != "LOST" {
		t.Errorf("its id is %q", l.ID())
	}
	finish(t, l)
	if l = open(t, path, Options{ID: "OTHER"}); l.ID() != "LOST" {
		t.Errorf("opened again, its id is %q", l.ID())
	}
}
