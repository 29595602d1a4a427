package state

import (
	"bytes"
	"os"
	"sync"
	"testing"
)

// What an edit says of a change is in its event, and in no entry.
func TestEventTellsWhy(t *testing.T) {
	l := fresh(t)
	k := Key{"acme", "u1", "r1"}
	bring(t, l, k, StateArchived)
	e, err := l.Move(k, StateArchived, StateDeleteRequested, func(e *Entry) { e.Why = "all was checked" })
	must(t, err)
	if e.Why != "" {
		t.Errorf("the entry says why: %q", e.Why)
	}
	events, err := l.Events("acme", "u1", 10)
	must(t, err)
	same(t, events, []Event{
		{Number: 1, Recording: "r1", At: testTime, From: StateListed, To: StateArchived, Version: 1},
		{Number: 2, Recording: "r1", At: testTime, From: StateArchived, To: StateDeleteRequested, Why: "all was checked"},
	})
	if events, err = l.Events("acme", "u1", 1); err != nil || len(events) != 1 || events[0].Number != 1 {
		t.Errorf("the oldest event: %v, %v", events, err)
	}
	if events, err = l.Events("acme", "nobody", 1); err != nil || len(events) != 0 {
		t.Errorf("events of an unknown inbox: %v, %v", events, err)
	}
}

// A bad key is an event even where the state stays, and each is told once.
func TestEventTellsBadKeys(t *testing.T) {
	l := fresh(t)
	k := Key{"acme", "u1", "r1"}
	bring(t, l, k, StateListed)
	for _, c := range []struct {
		to  State
		key string
	}{{StateListed, "b1"}, {StateFailed, "b2"}, {StateFailed, ""}, {StateFailed, "b3"}} {
		e, err := l.Entry(k)
		must(t, err)
		_, err = l.Move(k, e.State, c.to, func(e *Entry) {
			e.LastError = "oops"
			if c.key != "" {
				e.BadKeys, e.Why = append(e.BadKeys, c.key), "other bytes at "+c.key
			}
		})
		must(t, err)
	}
	events, err := l.Events("acme", "u1", 10)
	must(t, err)
	same(t, events, []Event{
		{Number: 1, Recording: "r1", At: testTime, From: StateListed, To: StateListed, BadKeys: []string{"b1"}, Why: "other bytes at b1"},
		{Number: 2, Recording: "r1", At: testTime, From: StateListed, To: StateFailed, BadKeys: []string{"b2"}, Why: "other bytes at b2"},
		{Number: 3, Recording: "r1", At: testTime, From: StateFailed, To: StateFailed, BadKeys: []string{"b3"}, Why: "other bytes at b3"},
	})
}

// The numbers go on after the events were dropped and the file was opened again.
func TestEventNumbersGoOn(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	k := Key{"acme", "u1", "r1"}
	bring(t, l, k, StateGone)
	events, err := l.Events("acme", "u1", 10)
	must(t, err)
	must(t, l.MoveJournal("acme", "u1", JournalHead{}, JournalHead{Key: "k"}, events))
	finish(t, l)
	l = open(t, path, Options{})
	_, err = l.Move(k, StateGone, StateListed, nil)
	must(t, err)
	if events, err = l.Events("acme", "u1", 10); err != nil || len(events) != 1 || events[0].Number != 3 {
		t.Errorf("the event after two: %v, %v", events, err)
	}
	in, err := l.Inbox("acme", "u1")
	must(t, err)
	if in.Journal.Key != "k" {
		t.Errorf("the journal's head is %+v", in.Journal)
	}
}

// What a person accepted of the journal is kept with the inbox, and told once.
func TestAcceptFaults(t *testing.T) {
	l := fresh(t)
	bring(t, l, Key{"acme", "u1", "r1"}, StateArchived)
	first, second := AcceptedFault{Key: "k1", Fault: "missing"}, AcceptedFault{Key: "k2", SHA256: "ab", Fault: "altered"}
	must(t, l.AcceptFaults("acme", "u1", []AcceptedFault{first}))
	must(t, l.AcceptFaults("acme", "u1", []AcceptedFault{second}))
	must(t, l.AcceptFaults("acme", "u1", nil))
	events, err := l.Events("acme", "u1", 10)
	must(t, err)
	same(t, events[1:], []Event{{Number: 2, At: testTime, Accepted: &first}, {Number: 3, At: testTime, Accepted: &second}})
	must(t, l.Check())
	must(t, l.MoveJournal("acme", "u1", JournalHead{}, JournalHead{Key: "k"}, events))
	must(t, l.EditInbox("acme", "u1", func(in *Inbox) { in.AcceptedFaults = nil }))
	in, err := l.Inbox("acme", "u1")
	must(t, err)
	same(t, in.AcceptedFaults, []AcceptedFault{first, second})
}

// A copy taken while others write is a ledger: the same one, as it was.
func TestCopyWhileOthersWrite(t *testing.T) {
	l := fresh(t)
	bring(t, l, Key{"acme", "u1", "before"}, StateArchived)
	var copied bytes.Buffer
	var other sync.WaitGroup
	begun := false
	must(t, l.Copy(writerFunc(func(p []byte) (int, error) {
		if !begun { // the copy's transaction is under way
			begun = true
			other.Go(func() {
				if _, err := l.Move(Key{"acme", "u1", "after"}, "", StateListed, nil); err != nil {
					t.Error(err)
				}
			})
		}
		return copied.Write(p)
	})))
	other.Wait()
	path := newPath(t)
	must(t, os.WriteFile(path, copied.Bytes(), 0o600))
	c := open(t, path, Options{})
	if c.ID() != l.ID() {
		t.Errorf("the copy is ledger %s, want %s", c.ID(), l.ID())
	}
	want, err := l.Entry(Key{"acme", "u1", "before"})
	must(t, err)
	got, err := c.Entry(Key{"acme", "u1", "before"})
	must(t, err)
	same(t, got, want)
	if n, err := c.Inbox("acme", "u1"); err != nil || n.Counts[StateArchived] != 1 || n.Counts[StateListed] != 0 {
		t.Errorf("the copy has %v, %v: it should be as the ledger was when it began", n.Counts, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
