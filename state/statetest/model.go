package statetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/archiverd/archiverd/state"
	"pgregory.net/rapid"
)

// model is a ledger in memory.
type model struct {
	l       Ledger
	opener  Open
	path    string
	entries map[state.Key]state.Entry
	inboxes map[state.Key]state.Inbox // by Org and Inbox; of the counters only Totals are set
	events  map[state.Key][]state.Event
}

// model drives a ledger and a model of it with the same random calls.
func (s suite) model(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{opener: s.opener, path: newPath(t), entries: map[state.Key]state.Entry{}, inboxes: map[state.Key]state.Inbox{}, events: map[state.Key][]state.Event{}}
		m.open(rt)
		defer func() { m.l.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"":        m.compare,
			"move":    m.move,
			"list":    m.list,
			"inbox":   m.editInbox,
			"journal": m.journal,
			"reopen": func(rt *rapid.T) {
				if err := errors.Join(m.l.Check(), m.l.Close()); err != nil {
					rt.Fatal(err)
				}
				m.open(rt)
			},
		})
		if err := m.l.Check(); err != nil {
			rt.Fatal(err)
		}
	})
}

func (m *model) open(rt *rapid.T) {
	l, err := m.opener(m.path, testNow, true)
	if err != nil {
		rt.Fatal(err)
	}
	m.l = l
}

func (m *model) move(rt *rapid.T) {
	k := genInbox.Draw(rt, "inbox")
	k.Recording = genID.Draw(rt, "id")
	from, to, what, n := m.draw(rt, k)
	want, ok := m.expect(k, from, to, what, n)
	got, err := m.l.Move(rt.Context(), k, from, to, edit(what, n))
	if ok != (err == nil) {
		rt.Fatalf("%s from %q to %q with %s: %v", k, from, to, what, err)
	}
	if ok {
		Same(rt, got, want)
		m.record(k, m.entries[k], want)
		m.put(k, want)
	}
}

// journal drops the oldest events, as after a journal object with them was written.
func (m *model) journal(rt *rapid.T) {
	box := genInbox.Draw(rt, "inbox")
	in, known := m.inboxes[box]
	n := rapid.IntRange(0, 3).Draw(rt, "events")
	has, err := m.l.Events(rt.Context(), box.Org, box.Inbox, n)
	if err != nil || len(has) != min(n, len(m.events[box])) {
		rt.Fatalf("%d events: %v, %v", n, has, err)
	}
	to := state.JournalHead{Key: rapid.StringN(1, 3, -1).Draw(rt, "key"), SHA256: "00"}
	wrong := state.JournalHead{Key: "never"}
	if err := m.l.MoveJournal(rt.Context(), box.Org, box.Inbox, wrong, to, has); !errors.Is(err, state.ErrJournalMoved) {
		rt.Fatalf("MoveJournal from another head: %v", err)
	}
	if !known {
		return // it would be entered here
	}
	if err := m.l.MoveJournal(rt.Context(), box.Org, box.Inbox, in.Journal, to, has); err != nil {
		rt.Fatal(err)
	}
	in.Journal = to
	m.inboxes[box], m.events[box] = in, m.events[box][len(has):]
}

func (m *model) put(k state.Key, e state.Entry) {
	was := m.entries[k]
	m.entries[k] = e
	m.add(k)
	k.Recording = ""
	in := m.inboxes[k]
	in.Totals.Archived += int64(len(e.Versions) - len(was.Versions))
	if e.State == state.StateFailed && e.Attempts > was.Attempts {
		in.Totals.Failed++
	}
	if e.State != was.State {
		switch e.State {
		case state.StateVanished:
			in.Totals.Vanished++
		case state.StateGone:
			in.Totals.Gone++
		case state.StateDeleted:
			in.Totals.Deleted++
		}
	}
	m.inboxes[k] = in
}

func (m *model) add(k state.Key) {
	k.Recording = ""
	if _, ok := m.inboxes[k]; !ok {
		m.inboxes[k] = state.Inbox{Org: k.Org, ID: k.Inbox, AddedAt: testTime}
	}
}

func (m *model) list(rt *rapid.T) {
	k := genInbox.Draw(rt, "inbox")
	before, inboxes := maps.Clone(m.entries), maps.Clone(m.inboxes)
	var changes []state.Change
	events := slices.Clone(m.events[state.Key{Org: k.Org, Inbox: k.Inbox}])
	all := true
	for range rapid.IntRange(0, 5).Draw(rt, "changes") {
		k.Recording = genID.Draw(rt, "id")
		from, to, what, n := m.draw(rt, k)
		changes = append(changes, state.Change{Recording: k.Recording, From: from, To: to, Edit: edit(what, n)})
		e, ok := m.expect(k, from, to, what, n)
		if all = all && ok; all {
			m.record(k, m.entries[k], e)
			m.put(k, e)
		}
	}
	ids := []string{"r", "none"}
	err := m.l.List(rt.Context(), k.Org, k.Inbox, ids, func(get func(string) (state.Entry, bool)) []state.Change {
		for _, id := range ids {
			e, ok := get(id)
			want, known := before[state.Key{Org: k.Org, Inbox: k.Inbox, Recording: id}]
			if ok != known {
				rt.Fatalf("get %q: %v", id, ok)
			}
			Same(rt, e, want)
		}
		return changes
	})
	if all != (err == nil) {
		rt.Fatalf("list %d changes: %v", len(changes), err)
	}
	if !all {
		m.entries, m.inboxes = before, inboxes
		m.events[state.Key{Org: k.Org, Inbox: k.Inbox}] = events
		return
	}
	m.add(k)
}

func (m *model) editInbox(rt *rapid.T) {
	k := genInbox.Draw(rt, "inbox")
	name := rapid.StringN(0, 5, -1).Draw(rt, "name")
	if err := m.l.EditInbox(rt.Context(), k.Org, k.Inbox, func(in *state.Inbox) { in.Name = name }); err != nil {
		rt.Fatal(err)
	}
	m.add(k)
	in := m.inboxes[k]
	in.Name = name
	m.inboxes[k] = in
}

// compare reads the whole ledger with each method, and compares it with the model.
func (m *model) compare(rt *rapid.T) {
	got := make(map[state.Key]state.Entry)
	counted := maps.Clone(m.inboxes)
	err := m.l.Scan(rt.Context(), "", "", func(k state.Key, e *state.Entry) error {
		if _, twice := got[k]; twice {
			rt.Fatalf("%s comes twice", k)
		}
		got[k] = *e
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	Same(rt, got, m.entries)
	m.compareSearch(rt)
	due, all := make(map[state.Key]state.Entry), maps.Clone(m.entries)
	maps.DeleteFunc(all, func(_ state.Key, e state.Entry) bool {
		return e.State != state.StateListed && e.State != state.StateFailed
	})
	if err := m.l.ScanWaiting(rt.Context(), "", "", func(k state.Key, e *state.Entry) error { due[k] = *e; return nil }); err != nil {
		rt.Fatal(err)
	}
	Same(rt, due, all)
	live, waiting := make(map[state.Key][]string), make(map[state.Key][]string)
	for k, e := range m.entries {
		box := state.Key{Org: k.Org, Inbox: k.Inbox}
		in := counted[box]
		in.Counts = maps.Clone(in.Counts)
		if in.Counts == nil {
			in.Counts = map[state.State]int64{}
		}
		in.Counts[e.State]++
		if e.State == state.StateFailed && e.NeedsPerson {
			in.NeedsPerson++
		}
		for _, v := range e.Versions {
			in.Bytes += v.Size
		}
		counted[box] = in
		switch e.State {
		case state.StateListed, state.StateFailed, state.StateArchived, state.StateDeleteRequested:
			live[box] = append(live[box], k.Recording)
		}
		if e.State == state.StateListed || e.State == state.StateFailed {
			waiting[box] = append(waiting[box], k.Recording)
		}
	}
	boxes, err := m.l.Inboxes(rt.Context(), "")
	if err != nil {
		rt.Fatal(err)
	}
	have := make(map[state.Key]state.Inbox)
	for _, in := range boxes {
		box := state.Key{Org: in.Org, Inbox: in.ID}
		have[box] = in
		m.comparePages(rt, box, live[box], func(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error) {
			return m.l.Live(ctx, org, inbox, after, limit, nil)
		})
		m.compareArchived(rt, box, live[box])
		m.comparePages(rt, box, waiting[box], m.l.Waiting)
		events, err := m.l.Events(rt.Context(), in.Org, in.ID, 10000)
		if err != nil {
			rt.Fatal(err)
		}
		for i, first := 0, uint64(0); i < len(events); i++ {
			if i == 0 {
				first = events[0].Number
			}
			if events[i].Number != first+uint64(i) {
				rt.Fatalf("event %d has number %d, the first %d", i, events[i].Number, first)
			}
			events[i].Number = 0
		}
		Same(rt, events, m.events[box])
	}
	Same(rt, have, counted)
}

// compareArchived compares Archived and Entries with the model, and Live for the entries that
// Archived does not settle.
func (m *model) compareArchived(rt *rapid.T, box state.Key, live []string) {
	dates, err := m.l.Archived(rt.Context(), box.Org, box.Inbox, append(live, "unknown"))
	if err != nil {
		rt.Fatal(err)
	}
	entries, err := m.l.Entries(rt.Context(), box.Org, box.Inbox, append(live, "unknown"))
	if err != nil {
		rt.Fatal(err)
	}
	known := map[string]state.Entry{}
	settled := map[string]bool{}
	var want, rest []string
	for _, recording := range live {
		known[recording] = m.entries[state.Key{Org: box.Org, Inbox: box.Inbox, Recording: recording}]
		e, date := known[recording], ""
		if e.State == state.StateArchived && e.MissingSince.IsZero() {
			date = e.Versions[len(e.Versions)-1].DateModified
		}
		want = append(want, date)
		if settled[recording] = date != ""; date == "" {
			rest = append(rest, recording)
		}
	}
	Same(rt, entries, known)
	Same(rt, dates, append(want, ""))
	m.comparePages(rt, box, rest, func(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error) {
		return m.l.Live(ctx, org, inbox, after, limit, func(recording string) bool { return settled[recording] })
	})
}

// comparePages reads an inbox in pages of one entry.
func (m *model) comparePages(rt *rapid.T, box state.Key, want []string, read func(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error)) {
	var ids []string
	for after := ""; ; {
		page, err := read(rt.Context(), box.Org, box.Inbox, after, 1)
		if err != nil {
			rt.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		k := page[0].Key
		e, whole := page[0].Entry, m.entries[k]
		e.Raw, whole.Raw = nil, nil
		Same(rt, e, whole)
		after = k.Recording
		ids = append(ids, after)
	}
	slices.Sort(want)
	Same(rt, ids, want)
}
