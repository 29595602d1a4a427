package statetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

func (s suite) moveEditGetsFreshCopies(t *testing.T) {
	l := s.fresh(t)
	const n = 64
	for i := range n {
		Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: fmt.Sprint("r", i)}, state.StateListed)
	}
	// Every other Move fails, so that the Moves which share its transaction
	// run once more.
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			k := state.Key{Org: "acme", Inbox: "u1", Recording: fmt.Sprint("r", i)}
			e, err := l.Move(t.Context(), k, state.StateListed, state.StateArchived, func(e *state.Entry) {
				e.Attempts++
				if i%2 == 0 {
					AddVersion(i)(e)
				}
			})
			if (err == nil) != (i%2 == 0) || err == nil && (e.Attempts != 1 || len(e.Versions) != 1) {
				t.Errorf("%s: %+v, %v", k, e, err)
			}
		})
	}
	wg.Wait()
	in, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	var bytes int64
	for i := range n / 2 {
		bytes += Version(2 * i).Size
	}
	Same(t, in.Counts, map[state.State]int64{state.StateListed: n / 2, state.StateArchived: n / 2})
	Same(t, in.Bytes, bytes)
}

// moveRace makes the same changes concurrently: each is made once.
func (s suite) moveRace(t *testing.T) {
	l := s.fresh(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := make(map[string]int)
	for range 8 {
		wg.Go(func() {
			for i := range 20 {
				k := state.Key{Org: "acme", Inbox: fmt.Sprint("u", i%3), Recording: fmt.Sprint("r", i)}
				from := state.State("")
				for at, to := range crashWay {
					_, err := l.Move(t.Context(), k, from, to, func(e *state.Entry) {
						e.Attempts++
						if to == state.StateArchived {
							AddVersion(i)(e)
						}
					})
					_, conflict := errors.AsType[*state.ConflictError](err)
					if err != nil && !conflict {
						t.Error(err)
					}
					if err == nil {
						mu.Lock()
						won[fmt.Sprint(k, at)]++
						mu.Unlock()
					}
					from = to
				}
			}
		})
	}
	wg.Wait()
	for k, n := range won {
		if n != 1 {
			t.Errorf("%s was made %d times", k, n)
		}
	}
	if len(won) != 20*len(crashWay) {
		t.Errorf("%d changes were made", len(won))
	}
	Must(t, l.Scan(t.Context(), "", "", func(k state.Key, e *state.Entry) error {
		if e.State != state.StateDeleted || e.Attempts != len(crashWay) {
			t.Errorf("%s: %+v", k, e)
		}
		return nil
	}))
}

func (s suite) entriesAreTheCallers(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	Bring(t, l, k, state.StateListed)
	_, err := l.Move(t.Context(), k, state.StateListed, state.StateListed, func(e *state.Entry) {
		AddVersion(0)(e)
		e.Raw, e.BadKeys = make([]byte, 10_000), []string{"b"} // enough for pages of its own
	})
	Must(t, err)
	want, err := l.Entry(t.Context(), k)
	Must(t, err)
	spoil := func(e *state.Entry) {
		e.Raw[0], e.Versions[0].SHA256, e.BadKeys[0] = 'x', "x", "x"
	}
	e, err := l.Entry(t.Context(), k)
	Must(t, err)
	spoil(&e)
	live, err := l.Live(t.Context(), "acme", "u1", "", 9, nil)
	Must(t, err)
	spoil(&live[0].Entry)
	Must(t, l.Scan(t.Context(), "", "", func(_ state.Key, e *state.Entry) error { spoil(e); return nil }))
	entries, err := l.Entries(t.Context(), "acme", "u1", []string{"r1"})
	Must(t, err)
	e = entries["r1"]
	spoil(&e)
	Must(t, l.List(t.Context(), "acme", "u1", []string{"r1"}, func(get func(string) (state.Entry, bool)) []state.Change {
		e, _ := get("r1")
		spoil(&e)
		return nil
	}))
	if _, err := l.Move(t.Context(), k, state.StateListed, state.StateListed, spoil); err == nil {
		t.Error("a spoilt version was taken")
	}
	got, err := l.Entry(t.Context(), k)
	Must(t, err)
	Same(t, got, want)
}

func (s suite) rawIsKeptByteForByte(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}
	for _, raw := range []string{"{ \"a\" :\n1, \"<\": \"\xff\\u003c\"}\n", "{}", strings.Repeat("x", 100_000)} {
		from := state.StateListed
		if raw[1] == ' ' {
			from = ""
		}
		_, err := l.Move(t.Context(), k, from, state.StateListed, func(e *state.Entry) { e.Raw = []byte(raw) })
		Must(t, err)
		e, err := l.Entry(t.Context(), k)
		Must(t, err)
		if string(e.Raw) != raw {
			t.Errorf("%q came back as %q", raw, e.Raw)
		}
	}
}

func (s suite) ids(t *testing.T) {
	l := s.fresh(t)
	long := strings.Repeat("i\x00/\xff", 1000)
	good := []string{"a", "a/b", "/", "\x00", "\xff\xfe", "{id}", "=", " ", long, strings.Repeat("x", 32768)}
	for _, id := range good {
		for _, k := range []state.Key{{Org: "acme", Inbox: "u1", Recording: id}, {Org: "a-0", Inbox: id[:min(len(id), 32764)], Recording: "r1"}} {
			Bring(t, l, k, state.StateArchived)
			e, err := l.Entry(t.Context(), k)
			if err != nil || e.State != state.StateArchived {
				t.Errorf("%.50s: %v, %v", k, e.State, err)
			}
		}
	}
	seen := 0
	Must(t, l.Scan(t.Context(), "", "", func(k state.Key, e *state.Entry) error {
		if !slices.Contains(good, k.Recording) && k.Recording != "r1" {
			t.Errorf("scanned %.50s", k)
		}
		seen++
		return nil
	}))
	if seen != 2*len(good) {
		t.Errorf("scanned %d of %d", seen, 2*len(good))
	}
	for _, k := range []state.Key{
		{Org: "", Inbox: "u", Recording: "r"}, {Org: "A", Inbox: "u", Recording: "r"}, {Org: "a/b", Inbox: "u", Recording: "r"}, {Org: "ä", Inbox: "u", Recording: "r"}, {Org: "acme", Inbox: "", Recording: "r"}, {Org: "acme", Inbox: "u", Recording: ""},
		{Org: "acme", Inbox: "u", Recording: strings.Repeat("x", 32769)}, {Org: "acme", Inbox: strings.Repeat("x", 32764), Recording: "r"},
	} {
		if _, err := l.Move(t.Context(), k, "", state.StateListed, nil); err == nil {
			t.Errorf("%.50s was taken", k)
		}
	}
	if _, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: ""}); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("no id: %v", err)
	}
}

func (s suite) listIsAllOrNothing(t *testing.T) {
	l := s.fresh(t)
	Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "old"}, state.StateListed)
	before, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	boom := errors.New("none")
	for name, last := range map[string]state.Change{
		"conflict":  {Recording: "old", From: state.StateArchived, To: state.StateArchived, Edit: nil},
		"no edge":   {Recording: "old", From: state.StateListed, To: state.StateDeleted, Edit: nil},
		"invalid":   {Recording: "old", From: state.StateListed, To: state.StateArchived, Edit: nil},
		"duplicate": {Recording: "new", From: "", To: state.StateListed, Edit: nil},
	} {
		err := l.List(t.Context(), "acme", "u1", []string{"new"}, func(get func(string) (state.Entry, bool)) []state.Change {
			if _, ok := get("new"); ok {
				boom = errors.New(name + ": something is left of the one before")
			}
			return []state.Change{{Recording: "new", From: "", To: state.StateListed, Edit: nil}, {Recording: "old", From: state.StateListed, To: state.StateFailed, Edit: nil}, {Recording: "old", From: state.StateFailed, To: state.StateListed, Edit: nil}, last}
		})
		if err == nil || !strings.Contains(err.Error(), `"`+last.Recording+`"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if boom.Error() != "none" {
		t.Error(boom)
	}
	after, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, after, before)
	err = l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) []state.Change {
		return []state.Change{{Recording: "new", From: "", To: state.StateListed, Edit: nil}, {Recording: "new", From: state.StateListed, To: state.StateArchived, Edit: AddVersion(1)}}
	})
	Must(t, err)
	e, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "new"})
	Must(t, err)
	Same(t, e, state.Entry{State: state.StateArchived, ListedAt: testTime, Versions: []state.Version{Version(1)}})
}

func (s suite) live(t *testing.T) {
	l := s.fresh(t)
	var want []string
	for s := range ways {
		if s != "" {
			Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: string(s)}, s)
			if !s.Past() {
				want = append(want, string(s))
			}
		}
	}
	slices.Sort(want)
	for limit := 1; limit < 6; limit++ {
		var got []string
		for after := ""; ; {
			page, err := l.Live(t.Context(), "acme", "u1", after, limit, nil)
			Must(t, err)
			if len(page) > limit {
				t.Fatalf("%d of %d", len(page), limit)
			}
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				got = append(got, e.Key.Recording)
			}
			after = got[len(got)-1]
		}
		Same(t, got, want)
	}
	for _, inbox := range []string{"u", "u11", "u2"} {
		if got, err := l.Live(t.Context(), "acme", inbox, "", 9, nil); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", inbox, got, err)
		}
	}
}

// scanWhileMoving wants every entry exactly once, although entries move between
// live and past from one chunk to the next, in both directions.
func (s suite) scanWhileMoving(t *testing.T) {
	l := s.fresh(t)
	ids := make([]string, 775)
	for i := range ids {
		ids[i] = fmt.Sprintf("%04d", i)
	}
	err := l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) (cs []state.Change) {
		for i, id := range ids {
			cs = append(cs, state.Change{Recording: id, From: "", To: state.StateListed, Edit: nil})
			if i%2 == 0 {
				cs = append(cs, state.Change{Recording: id, From: state.StateListed, To: state.StateVanished, Edit: nil})
			}
		}
		return cs
	})
	Must(t, err)
	var seen []string
	Must(t, l.Scan(t.Context(), "acme", "", func(k state.Key, e *state.Entry) error {
		seen = append(seen, k.Recording)
		if len(seen)%200 != 100 {
			return nil
		}
		return l.List(t.Context(), "acme", "u1", ids, func(get func(string) (state.Entry, bool)) (cs []state.Change) {
			for _, id := range ids {
				if e, _ := get(id); e.State == state.StateListed {
					cs = append(cs, state.Change{Recording: id, From: state.StateListed, To: state.StateVanished, Edit: nil})
				} else {
					cs = append(cs, state.Change{Recording: id, From: state.StateVanished, To: state.StateListed, Edit: nil})
				}
			}
			return cs
		})
	}))
	if len(seen) != len(ids) || !slices.IsSorted(seen) || len(slices.Compact(seen)) != len(ids) {
		t.Errorf("%d entries came, of %d", len(seen), len(ids))
	}
}

func (s suite) scanSelects(t *testing.T) {
	l := s.fresh(t)
	for _, k := range []state.Key{{Org: "a", Inbox: "u1", Recording: "r"}, {Org: "a", Inbox: "u2", Recording: "r"}, {Org: "b", Inbox: "u1", Recording: "r"}, {Org: "a-", Inbox: "u1", Recording: "r"}} {
		Bring(t, l, k, state.StateListed)
	}
	for want, in := range map[string][2]string{
		"a-/u1/r a/u1/r a/u2/r b/u1/r": {"", ""},
		"a/u1/r a/u2/r":                {"a", ""},
		"a/u2/r":                       {"a", "u2"},
		"a-/u1/r a/u1/r b/u1/r":        {"", "u1"},
		"":                             {"c", ""},
	} {
		var got []string
		Must(t, l.Scan(t.Context(), in[0], in[1], func(k state.Key, _ *state.Entry) error { got = append(got, k.String()); return nil }))
		Same(t, strings.Join(got, " "), want)
	}
	stop := errors.New("stop")
	if err := l.Scan(t.Context(), "", "", func(state.Key, *state.Entry) error { return stop }); err != stop {
		t.Errorf("Scan: %v", err)
	}
}

func (s suite) inbox(t *testing.T) {
	l := s.fresh(t)
	if _, err := l.Inbox(t.Context(), "acme", "u1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("no inbox: %v", err)
	}
	Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateArchived)
	Must(t, l.AddPass(t.Context(), "acme", "u1", state.Pass{Start: testTime}, noEdit))
	want := state.Inbox{
		Totals: state.Totals{Archived: 1}, OldestWaiting: testTime.Add(3),
		Org: "acme", ID: "u1", Name: "n", Email: "e", Condition: "c", Reason: "r",
		Counts: map[state.State]int64{state.StateArchived: 1}, Bytes: 1000, LastPass: &state.Pass{Start: testTime},
		AddedAt: testTime, LastSuccess: testTime.Add(1), NotBefore: testTime.Add(2),
		OwnerClaimed: true, AcceptGone: true, LoggedOut: true,
	}
	Must(t, l.EditInbox(t.Context(), "acme", "u1", func(in *state.Inbox) {
		if in.Org != "acme" || in.ID != "u1" || in.LastPass == nil || in.Bytes != 1000 {
			t.Errorf("edit gets %+v", in)
		}
		in.Counts[state.StateArchived] = 7 // has no effect
		*in = want
		in.Org, in.ID, in.Counts, in.Bytes, in.Totals, in.NeedsPerson, in.LastPass = "x", "y", nil, 3, state.Totals{}, 7, nil
		in.AcceptedFaults = []state.AcceptedFault{{Key: "k"}}
	}))
	got, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, got, want)

	Must(t, l.EditInbox(t.Context(), "beta", "u/2", func(in *state.Inbox) { in.Name = "new" }))
	Must(t, l.Login(t.Context(), "beta", "u3", state.Token{Refresh: "r"}, nil))
	all, err := l.Inboxes(t.Context(), "")
	Must(t, err)
	Same(t, all, []state.Inbox{want, {Org: "beta", ID: "u/2", Name: "new", AddedAt: testTime}, {Org: "beta", ID: "u3", AddedAt: testTime}})
	one, err := l.Inboxes(t.Context(), "acme")
	Must(t, err)
	Same(t, one, []state.Inbox{want})
}

func (s suite) passes(t *testing.T) {
	l := s.fresh(t)
	at := func(i int) time.Time { return testTime.Add(time.Duration(i) * 100 * time.Millisecond) }
	for i := range 130 {
		Must(t, l.AddPass(t.Context(), "acme", "u1", state.Pass{Start: at(i * 37 % 130), Listed: int64(i)}, noEdit))
	}
	Must(t, l.AddPass(t.Context(), "acme", "u1", state.Pass{Start: at(129).In(time.FixedZone("", 3600)), Error: "again"}, noEdit))
	Must(t, l.AddPass(t.Context(), "acme", "u2", state.Pass{Start: at(0)}, noEdit))
	got, err := l.Passes(t.Context(), "acme", "u1", 1000)
	Must(t, err)
	if len(got) != 100 || got[0].Error != "again" {
		t.Errorf("%d passes, the newest %+v", len(got), got[0])
	}
	for i, p := range got {
		if !p.Start.Equal(at(129 - i)) {
			t.Errorf("pass %d started %v", i, p.Start)
		}
	}
	got, err = l.Passes(t.Context(), "acme", "u1", 3)
	Must(t, err)
	Same(t, len(got), 3)
	if err := l.AddPass(t.Context(), "acme", "u1", state.Pass{}, noEdit); err == nil {
		t.Error("a pass without start was taken")
	}
}

func (s suite) uploads(t *testing.T) {
	l := s.fresh(t)
	a := state.UploadRef{Org: "acme", Inbox: "u", Key: "k", ID: "2", Started: testTime}
	b := state.UploadRef{Key: "k", ID: "1", Started: testTime, Aborted: testTime} // of an earlier version
	other := state.UploadRef{Org: "acme", Inbox: "v", Key: "other", ID: "1"}
	Must(t, l.AddUpload(t.Context(), other))
	Must(t, l.AddUpload(t.Context(), a))
	Must(t, l.AddUpload(t.Context(), b))
	Must(t, l.AddUpload(t.Context(), b))
	got, err := l.Uploads(t.Context(), "acme", "u")
	Must(t, err)
	Same(t, got, []state.UploadRef{a})
	got, err = l.Uploads(t.Context(), "", "")
	Must(t, err)
	Same(t, got, []state.UploadRef{b, a, other})
	Must(t, l.RemoveUpload(t.Context(), "k", "2"))
	Must(t, l.RemoveUpload(t.Context(), "k", "2"))
	got, err = l.Uploads(t.Context(), "", "")
	Must(t, err)
	Same(t, got, []state.UploadRef{b, other})
	for _, u := range []state.UploadRef{{Key: "k"}, {ID: "i"}, {Key: "k\x00", ID: "i"}, {Key: strings.Repeat("k", 32768), ID: "i"}} {
		if err := l.AddUpload(t.Context(), u); err == nil {
			t.Errorf("%.20q was taken", u.Key)
		}
	}
}
