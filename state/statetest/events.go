package statetest

import (
	"testing"

	"github.com/archiverd/archiverd/state"
)

// An edit's Why is in the event of its change, and not in the entry.
func (s suite) eventTellsWhy(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	Bring(t, l, k, state.StateArchived)
	e, err := l.Move(t.Context(), k, state.StateArchived, state.StateDeleteRequested, func(e *state.Entry) { e.Why = "all was checked" })
	Must(t, err)
	if e.Why != "" {
		t.Errorf("the entry says why: %q", e.Why)
	}
	events, err := l.Events(t.Context(), "acme", "u1", 10)
	Must(t, err)
	Same(t, events, []state.Event{
		{Number: 1, Recording: "r1", At: testTime, From: state.StateListed, To: state.StateArchived, Version: 1},
		{Number: 2, Recording: "r1", At: testTime, From: state.StateArchived, To: state.StateDeleteRequested, Why: "all was checked"},
	})
	if events, err = l.Events(t.Context(), "acme", "u1", 1); err != nil || len(events) != 1 || events[0].Number != 1 {
		t.Errorf("the oldest event: %v, %v", events, err)
	}
	if events, err = l.Events(t.Context(), "acme", "nobody", 1); err != nil || len(events) != 0 {
		t.Errorf("events of an unknown inbox: %v, %v", events, err)
	}
}

// A bad key makes an event even if the state stays, and each bad key is in one event.
func (s suite) eventTellsBadKeys(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	Bring(t, l, k, state.StateListed)
	for _, c := range []struct {
		to  state.State
		key string
	}{{state.StateListed, "b1"}, {state.StateFailed, "b2"}, {state.StateFailed, ""}, {state.StateFailed, "b3"}} {
		e, err := l.Entry(t.Context(), k)
		Must(t, err)
		_, err = l.Move(t.Context(), k, e.State, c.to, func(e *state.Entry) {
			e.LastError = "oops"
			if c.key != "" {
				e.BadKeys, e.Why = append(e.BadKeys, c.key), "other bytes at "+c.key
			}
		})
		Must(t, err)
	}
	events, err := l.Events(t.Context(), "acme", "u1", 10)
	Must(t, err)
	Same(t, events, []state.Event{
		{Number: 1, Recording: "r1", At: testTime, From: state.StateListed, To: state.StateListed, BadKeys: []string{"b1"}, Why: "other bytes at b1"},
		{Number: 2, Recording: "r1", At: testTime, From: state.StateListed, To: state.StateFailed, BadKeys: []string{"b2"}, Why: "other bytes at b2"},
		{Number: 3, Recording: "r1", At: testTime, From: state.StateFailed, To: state.StateFailed, BadKeys: []string{"b3"}, Why: "other bytes at b3"},
	})
}

// Numbers continue after the events were dropped and the ledger was opened again.
func (s suite) eventNumbersGoOn(t *testing.T) {
	path := newPath(t)
	l := s.open(t, path)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	Bring(t, l, k, state.StateGone)
	events, err := l.Events(t.Context(), "acme", "u1", 10)
	Must(t, err)
	Must(t, l.MoveJournal(t.Context(), "acme", "u1", state.JournalHead{}, state.JournalHead{Key: "k"}, events))
	finish(t, l)
	l = s.open(t, path)
	_, err = l.Move(t.Context(), k, state.StateGone, state.StateListed, nil)
	Must(t, err)
	if events, err = l.Events(t.Context(), "acme", "u1", 10); err != nil || len(events) != 1 || events[0].Number != 3 {
		t.Errorf("the event after two: %v, %v", events, err)
	}
	in, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	if in.Journal.Key != "k" {
		t.Errorf("the journal's head is %+v", in.Journal)
	}
}

// A fault that a person accepted is kept with the inbox, and is in one event.
func (s suite) acceptFaults(t *testing.T) {
	l := s.fresh(t)
	Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateArchived)
	first, second := state.AcceptedFault{Key: "k1", Fault: "missing"}, state.AcceptedFault{Key: "k2", SHA256: "ab", Fault: "altered"}
	Must(t, l.AcceptFaults(t.Context(), "acme", "u1", []state.AcceptedFault{first}))
	Must(t, l.AcceptFaults(t.Context(), "acme", "u1", []state.AcceptedFault{second}))
	Must(t, l.AcceptFaults(t.Context(), "acme", "u1", nil))
	events, err := l.Events(t.Context(), "acme", "u1", 10)
	Must(t, err)
	Same(t, events[1:], []state.Event{{Number: 2, At: testTime, Accepted: &first}, {Number: 3, At: testTime, Accepted: &second}})
	Must(t, l.Check())
	Must(t, l.MoveJournal(t.Context(), "acme", "u1", state.JournalHead{}, state.JournalHead{Key: "k"}, events))
	Must(t, l.EditInbox(t.Context(), "acme", "u1", func(in *state.Inbox) { in.AcceptedFaults = nil }))
	in, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, in.AcceptedFaults, []state.AcceptedFault{first, second})
}
