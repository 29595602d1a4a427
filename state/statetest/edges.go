package statetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

// agreed is the table of edges in the design, written a second time on purpose.
const agreed = `
 -> listed
listed -> archived failed vanished listed waived
failed -> listed failed vanished archived waived
archived -> archived delete_requested gone listed failed erased expired
delete_requested -> deleted archived listed delete_requested
deleted -> deleted listed archived erased expired
gone -> gone listed archived erased expired
vanished -> vanished listed waived
waived -> waived listed erased expired
erased -> erased
expired -> expired`

func agreedEdges() map[state.Edge]bool {
	m := make(map[state.Edge]bool)
	for line := range strings.Lines(strings.TrimPrefix(agreed, "\n")) {
		from, to, _ := strings.Cut(line, "->")
		for _, s := range strings.Fields(to) {
			m[state.Edge{From: state.State(strings.TrimSpace(from)), To: state.State(s)}] = true
		}
	}
	return m
}

func (s suite) edgesAreTheAgreedOnes(t *testing.T) {
	have := make(map[state.Edge]bool)
	for _, e := range state.Edges() {
		have[e] = true
	}
	if !maps.Equal(have, agreedEdges()) {
		t.Errorf("edges %v, agreed %v", have, agreedEdges())
	}
}

func (s suite) everyEdge(t *testing.T) {
	l := s.fresh(t)
	states := slices.Collect(maps.Keys(ways))
	tried := 0
	for _, from := range states {
		for _, to := range append(states, "unknown") {
			tried++
			k := state.Key{Org: "acme", Inbox: "u1", Recording: fmt.Sprintf("%s-%s", from, to)}
			Bring(t, l, k, from)
			if to.Disposed() && agreedEdges()[state.Edge{From: from, To: to}] {
				dispose(t, l, k, from, to)
			}
			before, _ := l.Entry(t.Context(), k)
			ran := false
			_, err := l.Move(t.Context(), k, from, to, func(e *state.Entry) {
				ran = true
				if len(e.Versions) == 0 {
					AddVersion(0)(e)
				}
				if to == state.StateWaived && from != to {
					Act(state.ActWaive).Do(e)
				}
			})
			after, _ := l.Entry(t.Context(), k)
			if agreedEdges()[state.Edge{From: from, To: to}] {
				Must(t, err)
				if after.State != to {
					t.Errorf("%q to %q: is %q", from, to, after.State)
				}
				continue
			}
			if !errors.Is(err, state.ErrEdge) || ran {
				t.Errorf("%q to %q: %v, edit ran: %v", from, to, err, ran)
			}
			Same(t, after, before)
		}
	}
	if tried != 11*12 {
		t.Errorf("tried %d", tried)
	}
}

func (s suite) conflict(t *testing.T) {
	l := s.fresh(t)
	tries := 0
	for have := range ways {
		k := state.Key{Org: "acme", Inbox: "u1", Recording: "in-" + string(have)}
		Bring(t, l, k, have)
		before, _ := l.Entry(t.Context(), k)
		for e := range agreedEdges() {
			if e.From == have {
				continue
			}
			tries++
			_, err := l.Move(t.Context(), k, e.From, e.To, func(*state.Entry) { t.Error("edit ran") })
			conflict, ok := errors.AsType[*state.ConflictError](err)
			if !ok || *conflict != (state.ConflictError{Key: k, Have: have, Want: e.From}) {
				t.Errorf("%s: %v: %v", k, e, err)
			}
		}
		after, _ := l.Entry(t.Context(), k)
		Same(t, after, before)
	}
	if tries == 0 {
		t.Error("tried nothing")
	}
}

func (s suite) transitionClears(t *testing.T) {
	all := func(e *state.Entry) {
		e.LastError, e.NeedsPerson = "oops", true
		e.FailedSince, e.NextAttempt = testTime, testTime.Add(time.Hour)
		e.MissingSince, e.DeleteRequestedAt = testTime, testTime
		e.Attempts, e.Mismatches, e.DeleteAttempts = 1, 2, 3
		if len(e.Versions) == 0 {
			AddVersion(0)(e)
		}
	}
	for e := range agreedEdges() {
		if e.From == "" || e.To.Disposed() { // see actsAndStates
			continue
		}
		t.Run(string(e.From)+" to "+string(e.To), func(t *testing.T) {
			l := s.fresh(t)
			k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
			Bring(t, l, k, e.From)
			err := l.Restore(t.Context(), k.Org, k.Inbox, []state.Restored{{Recording: k.Recording, Edit: all}}) // in any state
			Must(t, err)
			want, err := l.Entry(t.Context(), k)
			Must(t, err)
			var waive func(*state.Entry)
			if e.To == state.StateWaived && e.From != e.To {
				waive = Act(state.ActWaive).Do
				waive(&want)
			}
			got, err := l.Move(t.Context(), k, e.From, e.To, waive)
			Must(t, err)
			want.State = e.To
			if e.To == state.StateWaived {
				want.NeedsPerson, want.NextAttempt = false, time.Time{}
			}
			if e.From != e.To && (e.To == state.StateListed || e.To == state.StateArchived) {
				want.LastError = ""
				want.FailedSince, want.NextAttempt, want.NeedsPerson = time.Time{}, time.Time{}, false
				want.MissingSince, want.DeleteRequestedAt = time.Time{}, time.Time{}
			}
			if e.To.Stored() {
				want.Raw, want.Expanded = nil, false
			}
			Same(t, got, want)
			stored, err := l.Entry(t.Context(), k)
			Must(t, err)
			Same(t, stored, want)
			// The values that the edit sets are kept.
			got, err = l.Move(t.Context(), k, e.To, e.To, all)
			if agreedEdges()[state.Edge{From: e.To, To: e.To}] {
				Must(t, err)
				if got.MissingSince != testTime {
					t.Errorf("MissingSince %v", got.MissingSince)
				}
			}
		})
	}
}

func (s suite) brokenPromises(t *testing.T) {
	l := s.fresh(t)
	set := func(f func(*state.Version)) func(*state.Entry) {
		return func(e *state.Entry) {
			v := Version(0)
			f(&v)
			e.Versions = []state.Version{v}
		}
	}
	ok := map[string]func(*state.Entry){
		"empty media": set(func(v *state.Version) { v.Size, v.SHA256 = 0, noBytes }),
		"more":        func(e *state.Entry) { AddVersion(0)(e); AddVersion(1)(e) },
		"first key":   func(e *state.Entry) { AddVersion(0)(e); e.MediaKey = "k" },
	}
	bad := map[string]func(*state.Entry){
		"no version":         nil,
		"no media key":       set(func(v *state.Version) { v.MediaKey = "" }),
		"no manifest key":    set(func(v *state.Version) { v.ManifestKey = "" }),
		"no hash":            set(func(v *state.Version) { v.SHA256 = "" }),
		"short hash":         set(func(v *state.Version) { v.SHA256 = v.SHA256[2:] }),
		"upper case hash":    set(func(v *state.Version) { v.SHA256 = strings.ToUpper(v.SHA256) }),
		"no hex":             set(func(v *state.Version) { v.SHA256 = "x" + v.SHA256[1:] }),
		"no size":            set(func(v *state.Version) { v.Size = 0 }),
		"negative size":      set(func(v *state.Version) { v.Size = -1 }),
		"size of nothing":    set(func(v *state.Version) { v.SHA256 = noBytes }),
		"manifest's hash":    set(func(v *state.Version) { v.ManifestSHA256 = "12" }),
		"manifest's size":    set(func(v *state.Version) { v.ManifestSize = -1 }),
		"key not UTF-8":      set(func(v *state.Version) { v.MediaKey = "a\xff" }),
		"first key not UTF8": func(e *state.Entry) { AddVersion(0)(e); e.MediaKey = "a\xff" },
		"second bad":         func(e *state.Entry) { AddVersion(0)(e); e.Versions = append(e.Versions, state.Version{}) },
	}
	for name, edit := range ok {
		k := state.Key{Org: "acme", Inbox: "u1", Recording: name}
		Bring(t, l, k, state.StateListed)
		_, err := l.Move(t.Context(), k, state.StateListed, state.StateArchived, edit)
		Must(t, err)
	}
	for name, edit := range bad {
		k := state.Key{Org: "acme", Inbox: "u1", Recording: name}
		Bring(t, l, k, state.StateListed)
		if _, err := l.Move(t.Context(), k, state.StateListed, state.StateArchived, edit); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}

	forget := map[string]func(*state.Entry){
		"fewer versions": func(e *state.Entry) { e.Versions = e.Versions[:1] },
		"no versions":    func(e *state.Entry) { e.Versions = nil },
		"other hash":     func(e *state.Entry) { e.Versions[1].SHA256 = Version(7).SHA256 },
		"other size":     func(e *state.Entry) { e.Versions[1].Size++ },
		"other key":      func(e *state.Entry) { e.Versions[0].MediaKey += "x" },
		"other first":    func(e *state.Entry) { e.MediaKey = "other" },
		"fewer bad keys": func(e *state.Entry) { e.BadKeys = e.BadKeys[:1] },
		"other bad keys": func(e *state.Entry) { e.BadKeys[1] = "b3" },
		"no first":       func(e *state.Entry) { e.MediaKey = "" },
	}
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "kept"}
	Bring(t, l, k, state.StateListed)
	want, err := l.Move(t.Context(), k, state.StateListed, state.StateArchived, func(e *state.Entry) {
		e.MediaKey, e.BadKeys = "first", []string{"b1", "b2"}
		e.Versions = []state.Version{Version(1), Version(2)}
	})
	Must(t, err)
	for name, edit := range forget {
		for _, to := range []state.State{state.StateArchived, state.StateListed, state.StateDeleteRequested, state.StateGone} {
			if _, err := l.Move(t.Context(), k, state.StateArchived, to, edit); !errors.Is(err, state.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	got, err := l.Entry(t.Context(), k)
	Must(t, err)
	Same(t, got, want)
}

// noBytes is the SHA-256 of no bytes.
const noBytes = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
