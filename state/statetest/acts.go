package statetest

import (
	"errors"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

// acts does acts that change no state: each makes one event.
func (s suite) acts(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	Bring(t, l, k, state.StateGone)
	other := Act(state.ActHold)
	other.ID, other.Case = "act-2", "a case"
	release := Act(state.ActRelease)
	acts := []state.Act{Act(state.ActHold), other, Act(state.ActRetain), release}
	var e state.Entry
	for _, a := range acts {
		var err error
		e, err = l.Move(t.Context(), k, state.StateGone, state.StateGone, a.Do)
		Must(t, err)
	}
	Same(t, e.Acts, acts)
	Same(t, e.Cases(), []string{"a case"})
	if v := e.Versions[0]; v.RetentionMode != "GOVERNANCE" || !v.RetainUntil.Equal(acts[2].Until) {
		t.Errorf("retained: %+v", v)
	}
	stored, err := l.Entry(t.Context(), k)
	Must(t, err)
	Same(t, stored, e)
	again, err := l.Move(t.Context(), k, state.StateGone, state.StateGone, release.Do)
	Must(t, err)
	Same(t, again, e) // an act is done once
	events, err := l.Events(t.Context(), "acme", "u1", 10)
	Must(t, err)
	if len(events) != 2+len(acts) {
		t.Fatalf("events %+v", events)
	}
	for i, ev := range events[2:] {
		Same(t, ev, state.Event{Number: uint64(3 + i), Recording: "r1", At: testTime, From: state.StateGone, To: state.StateGone, Act: &acts[i]})
	}
}

func (s suite) actsRefused(t *testing.T) {
	l := s.fresh(t)
	with := func(kind state.ActKind, change func(*state.Act)) func(*state.Entry) {
		a := Act(kind)
		change(&a)
		return a.Do
	}
	hold := Act(state.ActHold)
	for name, c := range map[string]struct {
		from, to state.State
		edit     func(*state.Entry)
	}{
		"no id":                  {state.StateArchived, state.StateArchived, with(state.ActHold, func(a *state.Act) { a.ID = "" })},
		"nobody":                 {state.StateArchived, state.StateArchived, with(state.ActHold, func(a *state.Act) { a.By = "" })},
		"no time":                {state.StateArchived, state.StateArchived, with(state.ActHold, func(a *state.Act) { a.At = time.Time{} })},
		"no reason":              {state.StateArchived, state.StateArchived, with(state.ActHold, func(a *state.Act) { a.Reason = "" })},
		"no case":                {state.StateArchived, state.StateArchived, with(state.ActRelease, func(a *state.Act) { a.Case = "" })},
		"no end":                 {state.StateArchived, state.StateArchived, with(state.ActRetain, func(a *state.Act) { a.Until = time.Time{} })},
		"no authority":           {state.StateArchived, state.StateArchived, with(state.ActErase, func(a *state.Act) { a.Authority = "" })},
		"unknown":                {state.StateArchived, state.StateArchived, with("burn", func(*state.Act) {})},
		"two at once":            {state.StateArchived, state.StateArchived, func(e *state.Entry) { hold.Do(e); Act(state.ActRetain).Do(e) }},
		"changed":                {state.StateDeleted, state.StateDeleted, func(e *state.Entry) { e.Acts[0].Reason = "another" }},
		"removed":                {state.StateDeleted, state.StateDeleted, func(e *state.Entry) { e.Acts = nil }},
		"held, and gone":         {state.StateArchived, state.StateGone, hold.Do},
		"waived without an act":  {state.StateFailed, state.StateWaived, nil},
		"waived by another":      {state.StateFailed, state.StateWaived, hold.Do},
		"waived, and still here": {state.StateFailed, state.StateFailed, Act(state.ActWaive).Do},
		"waived, and vanished":   {state.StateFailed, state.StateVanished, Act(state.ActWaive).Do},
		"nothing to dispose of":  {state.StateVanished, state.StateVanished, Act(state.ActExpire).Do},
		"disposed of, and waits": {state.StateListed, state.StateListed, func(e *state.Entry) { AddVersion(0)(e); Act(state.ActErase).Do(e) }},
		"erased at once":         {state.StateGone, state.StateErased, Act(state.ActErase).Do},
		"expired without an act": {state.StateGone, state.StateExpired, nil},
		"new, and held":          {"", state.StateListed, hold.Do},
		"held, and erased":       {state.StateDeleted, state.StateDeleted, Act(state.ActErase).Do},
	} {
		k := state.Key{Org: "acme", Inbox: "u1", Recording: name}
		Bring(t, l, k, c.from)
		if c.from == state.StateDeleted {
			_, err := l.Move(t.Context(), k, c.from, c.from, hold.Do)
			Must(t, err)
		}
		before, _ := l.Entry(t.Context(), k)
		if _, err := l.Move(t.Context(), k, c.from, c.to, c.edit); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		after, _ := l.Entry(t.Context(), k)
		Same(t, after, before)
	}
	for _, kind := range []state.ActKind{state.ActHold, state.ActErase} {
		k := state.Key{Org: "acme", Inbox: "u1", Recording: "kept by " + string(kind)}
		Bring(t, l, k, state.StateArchived)
		_, err := l.Move(t.Context(), k, state.StateArchived, state.StateArchived, Act(kind).Do)
		Must(t, err)
		if _, err := l.Move(t.Context(), k, state.StateArchived, state.StateDeleteRequested, nil); !errors.Is(err, state.ErrInvalid) {
			t.Errorf("deletion of the original after %s: %v", kind, err)
		}
	}
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "retained"}
	Bring(t, l, k, state.StateArchived)
	_, err := l.Move(t.Context(), k, state.StateArchived, state.StateArchived, Act(state.ActRetain).Do)
	Must(t, err)
	for name, edit := range map[string]func(*state.Version){
		"sooner": func(v *state.Version) { v.RetainUntil = v.RetainUntil.Add(-1) },
		"never":  func(v *state.Version) { v.RetainUntil = time.Time{} },
	} {
		_, err := l.Move(t.Context(), k, state.StateArchived, state.StateArchived, func(e *state.Entry) { edit(&e.Versions[0]) })
		if !errors.Is(err, state.ErrInvalid) {
			t.Errorf("retained until %s: %v", name, err)
		}
	}
}

// disposal brings recordings to their final states: the act comes first, nothing but the end
// comes after it, and what is left names no person.
func (s suite) disposal(t *testing.T) {
	for to, other := range map[state.State]state.State{state.StateErased: state.StateExpired, state.StateExpired: state.StateErased} {
		for edge := range agreedEdges() {
			if edge.To != to || edge.From == to {
				continue
			}
			l := s.fresh(t)
			k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
			Bring(t, l, k, edge.From)
			_, err := l.Move(t.Context(), k, edge.From, edge.From, func(e *state.Entry) {
				e.Name, e.ConversationID, e.LastError, e.Fingerprint = "Ann", "c1", "Ann's", "f"
				e.Twin, e.NeedsPerson = "t", true
				if len(e.Versions) == 0 {
					AddVersion(1)(e)
				}
				e.Versions[0].Held = true
			})
			Must(t, err)
			dispose(t, l, k, edge.From, to)
			before, err := l.Entry(t.Context(), k)
			Must(t, err)
			for _, e := range state.Edges() {
				if e.From == edge.From && e.To != e.From && e.To != to {
					if _, err := l.Move(t.Context(), k, e.From, e.To, AddVersion(2)); !errors.Is(err, state.ErrInvalid) {
						t.Errorf("a disposal to %s, from %s to %s: %v", to, e.From, e.To, err)
					}
				}
			}
			if _, err := l.Move(t.Context(), k, edge.From, edge.From, AddVersion(2)); !errors.Is(err, state.ErrInvalid) {
				t.Errorf("a version was added: %v", err)
			}
			if _, err := l.Move(t.Context(), k, edge.From, other, nil); !errors.Is(err, state.ErrInvalid) {
				t.Errorf("a disposal to %s ends %s: %v", to, other, err)
			}
			got, err := l.Move(t.Context(), k, edge.From, to, nil)
			Must(t, err)
			want := state.Entry{State: to, ListedAt: before.ListedAt, Versions: before.Versions, Acts: before.Acts}
			want.Versions[0].Held = false
			Same(t, got, want)
			in, err := l.Inbox(t.Context(), "acme", "u1")
			Must(t, err)
			Same(t, in.Counts, map[state.State]int64{to: 1})
			events, err := l.Events(t.Context(), "acme", "u1", 10)
			Must(t, err)
			last := events[len(events)-1]
			if last.From != edge.From || last.To != to || last.Act == nil || *last.Act != *before.Disposal() {
				t.Errorf("the last event is %+v", last)
			}
			if to == state.StateExpired {
				s.certified(t, l, k)
			}
		}
	}
}

// certified adds the act that names a certificate to an expired entry: nothing else can.
func (s suite) certified(t *testing.T, l state.Ledger, k state.Key) {
	certify := Act(state.ActCertify)
	certify.ID = "act-3"
	got, err := l.Move(t.Context(), k, state.StateExpired, state.StateExpired, certify.Do)
	Must(t, err)
	if last := got.Acts[len(got.Acts)-1]; last != certify {
		t.Errorf("the last act is %+v", last)
	}
	if _, err := l.Move(t.Context(), k, state.StateExpired, state.StateExpired, func(e *state.Entry) { e.Name = "Ann" }); err != nil {
		t.Error(err)
	}
	if e, err := l.Entry(t.Context(), k); err != nil || e.Name != "" {
		t.Errorf("the entry names %q, %v", e.Name, err)
	}
	_, err = l.Move(t.Context(), k, state.StateExpired, state.StateExpired, AddVersion(2))
	if !errors.Is(err, state.ErrInvalid) {
		t.Errorf("a version was added: %v", err)
	}
}
