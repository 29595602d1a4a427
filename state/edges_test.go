package state

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// agreed is the table as the design has it, written a second time on purpose.
const agreed = `
 -> listed
listed -> archived failed vanished listed
failed -> listed failed vanished archived
archived -> archived delete_requested gone listed failed
delete_requested -> deleted archived listed delete_requested
deleted -> listed archived
gone -> listed archived
vanished -> listed`

func agreedEdges() map[edge]bool {
	m := make(map[edge]bool)
	for line := range strings.Lines(strings.TrimPrefix(agreed, "\n")) {
		from, to, _ := strings.Cut(line, "->")
		for _, s := range strings.Fields(to) {
			m[edge{State(strings.TrimSpace(from)), State(s)}] = true
		}
	}
	return m
}

func TestEdgesAreTheAgreedOnes(t *testing.T) {
	have := make(map[edge]bool)
	for _, e := range edges {
		have[e] = true
	}
	if !maps.Equal(have, agreedEdges()) {
		t.Errorf("edges %v, agreed %v", have, agreedEdges())
	}
}

func TestEveryEdge(t *testing.T) {
	l := fresh(t)
	states := append(slices.Collect(maps.Keys(ways)), "waived")
	tried := 0
	for _, from := range states {
		for _, to := range states {
			if from == "waived" {
				continue // no entry can be there
			}
			tried++
			k := Key{"acme", "u1", fmt.Sprintf("%s-%s", from, to)}
			bring(t, l, k, from)
			before, _ := l.Entry(k)
			ran := false
			_, err := l.Move(k, from, to, func(e *Entry) {
				ran = true
				if len(e.Versions) == 0 {
					addVersion(0)(e)
				}
			})
			after, _ := l.Entry(k)
			if agreedEdges()[edge{from, to}] {
				must(t, err)
				if after.State != to {
					t.Errorf("%q to %q: is %q", from, to, after.State)
				}
				continue
			}
			if !errors.Is(err, ErrEdge) || ran {
				t.Errorf("%q to %q: %v, edit ran: %v", from, to, err, ran)
			}
			same(t, after, before)
		}
	}
	if tried != 8*9 {
		t.Errorf("tried %d", tried)
	}
}

func TestConflict(t *testing.T) {
	l := fresh(t)
	tries := 0
	for have := range ways {
		k := Key{"acme", "u1", "in-" + string(have)}
		bring(t, l, k, have)
		before, _ := l.Entry(k)
		for e := range agreedEdges() {
			if e.from == have {
				continue
			}
			tries++
			_, err := l.Move(k, e.from, e.to, func(*Entry) { t.Error("edit ran") })
			var conflict *ConflictError
			if !errors.As(err, &conflict) || *conflict != (ConflictError{k, have, e.from}) {
				t.Errorf("%s: %v: %v", k, e, err)
			}
		}
		after, _ := l.Entry(k)
		same(t, after, before)
	}
	if tries == 0 {
		t.Error("tried nothing")
	}
}

func TestTransitionClears(t *testing.T) {
	all := func(e *Entry) {
		e.LastError, e.NeedsPerson = "oops", true
		e.FailedSince, e.NextAttempt = testTime, testTime.Add(time.Hour)
		e.MissingSince, e.DeleteRequestedAt = testTime, testTime
		e.Attempts, e.Mismatches, e.DeleteAttempts = 1, 2, 3
		if len(e.Versions) == 0 {
			addVersion(0)(e)
		}
	}
	for e := range agreedEdges() {
		if e.from == "" {
			continue
		}
		t.Run(string(e.from)+" to "+string(e.to), func(t *testing.T) {
			l := fresh(t)
			k := Key{"acme", "u1", "r1"}
			bring(t, l, k, e.from)
			err := l.db.Update(setEntry(l, k, all)) // whatever the state
			must(t, err)
			want, err := l.Entry(k)
			must(t, err)
			got, err := l.Move(k, e.from, e.to, nil)
			must(t, err)
			want.State = e.to
			if e.from != e.to && (e.to == StateListed || e.to == StateArchived) {
				want.LastError = ""
				want.FailedSince, want.NextAttempt, want.NeedsPerson = time.Time{}, time.Time{}, false
				want.MissingSince, want.DeleteRequestedAt = time.Time{}, time.Time{}
			}
			if e.to.stored() {
				want.Raw, want.Expanded = nil, false
			}
			same(t, got, want)
			stored, err := l.Entry(k)
			must(t, err)
			same(t, stored, want)
			// What the edit sets holds.
			got, err = l.Move(k, e.to, e.to, all)
			if agreedEdges()[edge{e.to, e.to}] {
				must(t, err)
				if got.MissingSince != testTime {
					t.Errorf("MissingSince %v", got.MissingSince)
				}
			}
		})
	}
}

func TestBrokenPromises(t *testing.T) {
	l := fresh(t)
	set := func(f func(*Version)) func(*Entry) {
		return func(e *Entry) {
			v := testVersion(0)
			f(&v)
			e.Versions = []Version{v}
		}
	}
	ok := map[string]func(*Entry){
		"empty media": set(func(v *Version) { v.Size, v.SHA256 = 0, sha256Empty }),
		"more":        func(e *Entry) { addVersion(0)(e); addVersion(1)(e) },
		"first key":   func(e *Entry) { addVersion(0)(e); e.MediaKey = "k" },
	}
	bad := map[string]func(*Entry){
		"no version":         nil,
		"no media key":       set(func(v *Version) { v.MediaKey = "" }),
		"no manifest key":    set(func(v *Version) { v.ManifestKey = "" }),
		"no hash":            set(func(v *Version) { v.SHA256 = "" }),
		"short hash":         set(func(v *Version) { v.SHA256 = v.SHA256[2:] }),
		"upper case hash":    set(func(v *Version) { v.SHA256 = strings.ToUpper(v.SHA256) }),
		"no hex":             set(func(v *Version) { v.SHA256 = "x" + v.SHA256[1:] }),
		"no size":            set(func(v *Version) { v.Size = 0 }),
		"negative size":      set(func(v *Version) { v.Size = -1 }),
		"size of nothing":    set(func(v *Version) { v.SHA256 = sha256Empty }),
		"manifest's hash":    set(func(v *Version) { v.ManifestSHA256 = "12" }),
		"manifest's size":    set(func(v *Version) { v.ManifestSize = -1 }),
		"key not UTF-8":      set(func(v *Version) { v.MediaKey = "a\xff" }),
		"first key not UTF8": func(e *Entry) { addVersion(0)(e); e.MediaKey = "a\xff" },
		"second bad":         func(e *Entry) { addVersion(0)(e); e.Versions = append(e.Versions, Version{}) },
	}
	for name, edit := range ok {
		k := Key{"acme", "u1", name}
		bring(t, l, k, StateListed)
		_, err := l.Move(k, StateListed, StateArchived, edit)
		must(t, err)
	}
	for name, edit := range bad {
		k := Key{"acme", "u1", name}
		bring(t, l, k, StateListed)
		if _, err := l.Move(k, StateListed, StateArchived, edit); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}

	forget := map[string]func(*Entry){
		"fewer versions": func(e *Entry) { e.Versions = e.Versions[:1] },
		"no versions":    func(e *Entry) { e.Versions = nil },
		"other hash":     func(e *Entry) { e.Versions[1].SHA256 = testVersion(7).SHA256 },
		"other size":     func(e *Entry) { e.Versions[1].Size++ },
		"other key":      func(e *Entry) { e.Versions[0].MediaKey += "x" },
		"other first":    func(e *Entry) { e.MediaKey = "other" },
		"fewer bad keys": func(e *Entry) { e.BadKeys = e.BadKeys[:1] },
		"other bad keys": func(e *Entry) { e.BadKeys[1] = "b3" },
		"no first":       func(e *Entry) { e.MediaKey = "" },
	}
	k := Key{"acme", "u1", "kept"}
	bring(t, l, k, StateListed)
	want, err := l.Move(k, StateListed, StateArchived, func(e *Entry) {
		e.MediaKey, e.BadKeys = "first", []string{"b1", "b2"}
		e.Versions = []Version{testVersion(1), testVersion(2)}
	})
	must(t, err)
	for name, edit := range forget {
		for _, to := range []State{StateArchived, StateListed, StateDeleteRequested, StateGone} {
			if _, err := l.Move(k, StateArchived, to, edit); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	got, err := l.Entry(k)
	must(t, err)
	same(t, got, want)
}
