package statetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"pgregory.net/rapid"
)

// found are the ids of the entries that a query gives, in its order. Each entry must be the
// one that the ledger holds.
func found(t testing.TB, l state.Recordings, q state.Query) string {
	t.Helper()
	var ids []string
	err := l.Search(t.Context(), q, func(k state.Key, e *state.Entry) error {
		want, err := l.Entry(t.Context(), k)
		Must(t, err)
		Same(t, *e, want)
		ids = append(ids, k.Recording)
		return nil
	})
	Must(t, err)
	return strings.Join(ids, " ")
}

// shelve enters recordings that differ in everything that a query can name.
func shelve(t testing.TB, l state.Recordings) {
	t.Helper()
	for _, r := range []struct {
		inbox, id string
		to        state.State
		edit      func(*state.Entry)
	}{
		{"u1", "a", state.StateArchived, func(e *state.Entry) {
			e.Name, e.ConversationID, e.DateCreated, e.Milliseconds = "Über \x01 Öl", "c1", "2026-11-01T09:00:00.001Z", 9000
			e.Participants = []state.Participant{{UserID: "user-7"}, {Name: "Ann Émile", Address: "tel:+35316"}}
		}},
		{"u1", "b", state.StateDeleted, func(e *state.Entry) {
			e.Name, e.ConversationID, e.DateCreated, e.Milliseconds = "über alles", "c2", "2026-11-01T10:00:00.001+0100", 0
		}},
		{"u1", "c", state.StateFailed, func(e *state.Entry) {
			e.Name, e.ConversationID, e.DateCreated, e.Milliseconds = "B", "c1", "2026-10-01T09:00:00Z", 500
			e.Participants = []state.Participant{{Name: "Bob"}, {Name: "by"}}
		}},
		{"u2", "d", state.StateArchived, func(e *state.Entry) {
			e.Name, e.ConversationID, e.DateCreated, e.Milliseconds = "\xff", "c\xff", "yesterday", 120_000
		}},
		{"u2", strings.Repeat("e", 32768), state.StateVanished, func(e *state.Entry) { e.DateCreated, e.Name = "2026-11-02T00:00:00Z", "z" }},
	} {
		k := state.Key{Org: "acme", Inbox: r.inbox, Recording: r.id}
		Bring(t, l, k, r.to)
		if r.to == state.StateArchived {
			_, err := l.Move(t.Context(), k, r.to, r.to, func(e *state.Entry) {
				if r.id == "d" {
					AddVersion(500)(e)
				}
				r.edit(e)
			})
			Must(t, err)
			continue
		}
		_, err := l.Move(t.Context(), k, r.to, r.to, r.edit)
		Must(t, err)
	}
	for _, id := range []string{"a", "b"} {
		k := state.Key{Org: "acme", Inbox: "u1", Recording: id}
		e, err := l.Entry(t.Context(), k)
		Must(t, err)
		hold := Act(state.ActHold)
		hold.Case = "case " + id
		_, err = l.Move(t.Context(), k, e.State, e.State, hold.Do)
		Must(t, err)
	}
}

func (s suite) search(t *testing.T) {
	path := newPath(t)
	l := s.open(t, path)
	shelve(t, l)
	day := func(s string) time.Time {
		d, err := time.Parse(time.RFC3339Nano, s)
		Must(t, err)
		return d
	}
	long := strings.Repeat("e", 32768)
	check := func(l state.Recordings) {
		t.Helper()
		for _, c := range []struct {
			want string
			s    state.Selection
		}{
			{"c a b d " + long, state.Selection{}},
			{"c a b d " + long, state.Selection{All: true}},
			{"c a", state.Selection{IDs: []string{"a", "c", "none", "a"}}},
			{"c a b", state.Selection{Inbox: "u1"}},
			{"", state.Selection{Org: "other"}},
			{"a b", state.Selection{Name: "üBER"}},
			{"a", state.Selection{Name: " \x02 öL"}},
			{"d", state.Selection{Name: "\ufffd"}},
			{"c a", state.Selection{Conversation: "c1"}},
			{"", state.Selection{Conversation: "c"}},
			{"d", state.Selection{Conversation: "c\ufffd"}},
			{"a", state.Selection{Participant: "USER-7"}},
			{"a", state.Selection{Participant: "ÉMI"}},
			{"a", state.Selection{Participant: "+353"}},
			{"", state.Selection{Participant: "bobby"}},
			{"c", state.Selection{Participant: "bob"}},
			{"a b " + long, state.Selection{From: day("2026-11-01T09:00:00.001Z")}},
			{long, state.Selection{From: day("2026-11-01T09:00:00.002Z")}},
			{"c", state.Selection{To: day("2026-11-01T09:00:00.001Z")}},
			{"c a b", state.Selection{To: day("2026-11-01T09:00:00.002Z")}},
			{"a d", state.Selection{State: state.StateArchived}},
			{"b", state.Selection{Case: "case b"}},
			{"", state.Selection{Case: "case"}},
			{"a d", state.Selection{MinDuration: 9 * time.Second}},
			{"c a", state.Selection{MaxDuration: 9 * time.Second}},
			{"a", state.Selection{MinDuration: time.Second, MaxDuration: time.Minute}},
			{"a b d", state.Selection{MinSize: 1000}},
			{"a b", state.Selection{MaxSize: 1000}},
			{"d", state.Selection{MinSize: 1001, MaxSize: 1 << 40}},
			{"a", state.Selection{State: state.StateArchived, Conversation: "c1", Name: "öl", Inbox: "u1"}},
		} {
			if got := found(t, l, state.Query{Selection: c.s}); got != c.want {
				t.Errorf("%+v: %.50q, want %.50q", c.s, got, c.want)
			}
		}
		for sort, want := range map[state.Sort]string{
			state.SortCreated: "d c a b", state.SortName: "c a b d", state.SortDuration: "b c a d", state.SortSize: "c a b d",
		} {
			for _, q := range []state.Selection{{IDs: []string{"a", "b", "c", "d"}}, {To: day("2026-11-02T00:00:00Z")}} {
				if len(q.IDs) == 0 {
					want = strings.TrimSuffix(strings.TrimPrefix(want, "d "), " d") // d has no date
				}
				if got := found(t, l, state.Query{Selection: q, Sort: sort}); got != want {
					t.Errorf("by %s: %q, want %q", sort, got, want)
				}
			}
		}
		if got := found(t, l, state.Query{Selection: state.Selection{Inbox: "u1"}, Sort: state.SortCreated, Reverse: true}); got != "a b c" {
			t.Errorf("in reverse: %q", got)
		}
	}
	check(l)
	finish(t, l)
	check(s.open(t, path))
}

// searchFollows changes one thing after the other: Check wants the index to follow.
func (s suite) searchFollows(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	Bring(t, l, k, state.StateArchived)
	for name, c := range map[string]struct {
		edit func(*state.Entry)
		find state.Selection
	}{
		"name":         {func(e *state.Entry) { e.Name = "new" }, state.Selection{Name: "new"}},
		"conversation": {func(e *state.Entry) { e.ConversationID = "c2" }, state.Selection{Conversation: "c2"}},
		"participant":  {func(e *state.Entry) { e.Participants = []state.Participant{{Name: "Ann"}} }, state.Selection{Participant: "ann"}},
		"date":         {func(e *state.Entry) { e.DateCreated = "2026-11-01T00:00:00Z" }, state.Selection{From: testTime.AddDate(0, -1, 0)}},
		"duration":     {func(e *state.Entry) { e.Milliseconds = 5000 }, state.Selection{MinDuration: time.Second}},
		"size":         {AddVersion(9000), state.Selection{MinSize: 9000}},
		"case":         {Act(state.ActHold).Do, state.Selection{Case: "case-1"}},
	} {
		if got := found(t, l, state.Query{Selection: c.find}); got != "" {
			t.Errorf("%s: found before", name)
		}
		_, err := l.Move(t.Context(), k, state.StateArchived, state.StateArchived, c.edit)
		Must(t, err)
		Must(t, l.Check())
		if got := found(t, l, state.Query{Selection: c.find}); got != "r1" {
			t.Errorf("%s: found %q", name, got)
		}
	}
}

// searchPages reads long results in pieces, in each order.
func (s suite) searchPages(t *testing.T) {
	l := s.fresh(t)
	const n = 1300
	Must(t, l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) (cs []state.Change) {
		for i := range n {
			id := fmt.Sprintf("%04d", i)
			cs = append(cs, state.Change{Recording: id, To: state.StateListed, Edit: func(e *state.Entry) {
				e.Name, e.Milliseconds = fmt.Sprint("n", i%7), int64(i%5)
				e.DateCreated = testTime.Add(time.Duration(i*37%n) * time.Second).Format(time.RFC3339)
			}})
		}
		return cs
	}))
	for _, sort := range []state.Sort{state.SortInbox, state.SortCreated, state.SortName, state.SortDuration, state.SortSize} {
		whole := strings.Fields(found(t, l, state.Query{Sort: sort}))
		if len(whole) != n {
			t.Errorf("by %q: %d of %d", sort, len(whole), n)
		}
		for _, c := range [][2]int{{0, 1}, {0, 10}, {7, 256}, {255, 300}, {1299, 5}, {1300, 1}, {2000, 0}, {1000, 0}} {
			want := whole[min(c[0], n):]
			if c[1] > 0 {
				want = want[:min(c[1], len(want))]
			}
			Same(t, strings.Fields(found(t, l, state.Query{Sort: sort, Skip: c[0], Limit: c[1]})), want)
		}
	}
	stop := errors.New("stop")
	for _, sort := range []state.Sort{state.SortInbox, state.SortName} {
		if err := l.Search(t.Context(), state.Query{Sort: sort}, func(state.Key, *state.Entry) error { return stop }); err != stop {
			t.Errorf("Search: %v", err)
		}
	}
}

// searchWhileMoving wants each entry once, although f changes all of them.
func (s suite) searchWhileMoving(t *testing.T) {
	l := s.fresh(t)
	const n = 600
	Must(t, l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) (cs []state.Change) {
		for i := range n {
			cs = append(cs, state.Change{Recording: fmt.Sprintf("%04d", i), To: state.StateListed})
		}
		return cs
	}))
	for _, sort := range []state.Sort{state.SortInbox, state.SortName} {
		seen := map[string]int{}
		Must(t, l.Search(t.Context(), state.Query{Sort: sort}, func(k state.Key, e *state.Entry) error {
			seen[k.Recording]++
			_, err := l.Move(t.Context(), k, e.State, state.StateFailed, func(e *state.Entry) { e.Name += "x" })
			return err
		}))
		if len(seen) != n || slices.ContainsFunc(slices.Collect(maps.Values(seen)), func(times int) bool { return times != 1 }) {
			t.Errorf("by %q: %d of %d", sort, len(seen), n)
		}
	}
	left := 0 // what is no longer selected does not come
	Must(t, l.Search(t.Context(), state.Query{Selection: state.Selection{State: state.StateFailed}, Sort: state.SortName}, func(k state.Key, e *state.Entry) error {
		left++
		if left > 1 {
			return nil
		}
		return l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) (cs []state.Change) {
			for i := range n {
				cs = append(cs, state.Change{Recording: fmt.Sprintf("%04d", i), From: state.StateFailed, To: state.StateListed})
			}
			return cs
		})
	}))
	if left != 1 {
		t.Errorf("%d came after they had changed", left-1)
	}
}

// describe returns an edit like that of a listing, which sets what a query can name.
func describe(n int) func(*state.Entry) {
	return func(e *state.Entry) {
		e.Name, e.ConversationID, e.Milliseconds = fmt.Sprint("Name ", n%3), fmt.Sprint("c", n%2), int64(n%4*1000)
		e.DateCreated = testTime.Add(time.Duration(n%5) * time.Second).Format(time.RFC3339Nano)
		e.Participants = []state.Participant{{UserID: fmt.Sprint("user ", n%3), Name: "Ann"}}[:n%2]
	}
}

var genQuery = rapid.Custom(func(t *rapid.T) state.Query {
	q := state.Query{
		Sort:    rapid.SampledFrom([]state.Sort{state.SortInbox, state.SortCreated, state.SortName, state.SortDuration, state.SortSize}).Draw(t, "sort"),
		Reverse: rapid.Bool().Draw(t, "reverse"),
		Skip:    rapid.IntRange(0, 2).Draw(t, "skip"), Limit: rapid.IntRange(0, 3).Draw(t, "limit"),
	}
	n := rapid.IntRange(0, 11).Draw(t, "n")
	switch rapid.IntRange(0, 9).Draw(t, "by") {
	case 0:
		q.IDs = []string{genID.Draw(t, "id"), "none"}
	case 1:
		q.Conversation = fmt.Sprint("c", n%2)
	case 2:
		q.Participant = fmt.Sprint("USER ", n%3)
	case 3:
		q.Name = fmt.Sprint("aME ", n%3)
	case 4:
		q.From = testTime.Add(time.Duration(n%5) * time.Second)
	case 5:
		q.To = testTime.Add(time.Duration(n%5) * time.Second)
	case 6:
		q.State = genState.Draw(t, "state")
	case 7:
		q.Case = "case-1"
	case 8:
		q.MinDuration = time.Duration(n%4) * time.Second
	case 9:
		q.MaxSize = int64(1000 + n*100)
	}
	return q
})

// compareSearch compares a search with a look at every entry of the model.
func (m *model) compareSearch(rt *rapid.T) {
	q := genQuery.Draw(rt, "query")
	var want []state.KeyedEntry
	for k, e := range m.entries {
		if q.Selects(k, &e) {
			want = append(want, state.KeyedEntry{Key: k, Entry: e})
		}
	}
	slices.SortFunc(want, func(a, b state.KeyedEntry) int {
		c := 0
		switch q.Sort {
		case state.SortCreated:
			c = cmp.Compare(a.Entry.Created().UnixMilli(), b.Entry.Created().UnixMilli())
		case state.SortName:
			c = cmp.Compare(state.Fold(a.Entry.Name), state.Fold(b.Entry.Name))
		case state.SortDuration:
			c = cmp.Compare(a.Entry.Milliseconds, b.Entry.Milliseconds)
		case state.SortSize:
			c = cmp.Compare(a.Entry.Newest().Size, b.Entry.Newest().Size)
		}
		if q.Reverse && q.Sort != state.SortInbox {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.Key.Org+"/"+a.Key.Inbox, b.Key.Org+"/"+b.Key.Inbox),
			cmp.Compare(a.Entry.Created().UnixMilli(), b.Entry.Created().UnixMilli()), cmp.Compare(a.Key.Recording, b.Key.Recording))
	})
	want = want[min(q.Skip, len(want)):]
	if q.Limit > 0 {
		want = want[:min(q.Limit, len(want))]
	}
	var got []state.KeyedEntry
	err := m.l.Search(rt.Context(), q, func(k state.Key, e *state.Entry) error {
		got = append(got, state.KeyedEntry{Key: k, Entry: *e})
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
	Same(rt, got, want)
}
