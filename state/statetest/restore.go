package statetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

// Restore adds entries in any order and in any state, and counts them; it records no
// event, and refuses invalid entries.
func (s suite) restore(t *testing.T) {
	l := s.fresh(t)
	Must(t, l.Restore(t.Context(), "acme", "u1", []state.Restored{
		{Recording: "gone", Edit: func(e *state.Entry) { e.State = state.StateGone; AddVersion(1)(e) }},
		{Recording: "lost", Edit: func(e *state.Entry) { e.State = state.StateVanished }},
		{Recording: "gone", Edit: func(e *state.Entry) { // before the first
			e.State, e.Versions = state.StateDeleted, append([]state.Version{Version(0)}, e.Versions...)
		}},
	}))
	e, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "gone"})
	Must(t, err)
	Same(t, e, state.Entry{State: state.StateDeleted, Versions: []state.Version{Version(0), Version(1)}})
	in, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, in.Counts, map[state.State]int64{state.StateDeleted: 1, state.StateVanished: 1})
	if events, err := l.Events(t.Context(), "acme", "u1", 10); err != nil || len(events) > 0 {
		t.Errorf("events %v, %v", events, err)
	}
	for name, edit := range map[string]func(*state.Entry){
		"no state":                 func(*state.Entry) {},
		"gone without version":     func(e *state.Entry) { e.State = state.StateGone },
		"":                         func(e *state.Entry) { e.State = state.StateListed },
		strings.Repeat("l", 32769): func(e *state.Entry) { e.State = state.StateListed },
		"a year beyond JSON": func(e *state.Entry) {
			e.State, e.ListedAt = state.StateListed, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
		},
		"a version without key": func(e *state.Entry) { e.State, e.Versions = state.StateGone, []state.Version{{}} },
	} {
		err := l.Restore(t.Context(), "acme", "u1", []state.Restored{{Recording: "good", Edit: func(e *state.Entry) { e.State = state.StateListed }}, {Recording: name, Edit: edit}})
		if !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "good"}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a part of a refused restore is there: %v", err)
	}
}
