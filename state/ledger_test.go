package state

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMoveEditGetsFreshCopies(t *testing.T) {
	l := fresh(t)
	const n = 64
	for i := range n {
		bring(t, l, Key{"acme", "u1", fmt.Sprint("r", i)}, StateListed)
	}
	// Every other Move fails, and so makes bbolt run those it shares a
	// transaction with once more.
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			k := Key{"acme", "u1", fmt.Sprint("r", i)}
			e, err := l.Move(k, StateListed, StateArchived, func(e *Entry) {
				e.Attempts++
				if i%2 == 0 {
					addVersion(i)(e)
				}
			})
			if (err == nil) != (i%2 == 0) || err == nil && (e.Attempts != 1 || len(e.Versions) != 1) {
				t.Errorf("%s: %+v, %v", k, e, err)
			}
		})
	}
	wg.Wait()
	in, err := l.Inbox("acme", "u1")
	must(t, err)
	var bytes int64
	for i := range n / 2 {
		bytes += testVersion(2 * i).Size
	}
	same(t, in.Counts, map[State]int64{StateListed: n / 2, StateArchived: n / 2})
	same(t, in.Bytes, bytes)
}

// TestMoveRace lets many try the same changes: each is made once.
func TestMoveRace(t *testing.T) {
	l := fresh(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := make(map[string]int)
	for range 8 {
		wg.Go(func() {
			for i := range 20 {
				k := Key{"acme", fmt.Sprint("u", i%3), fmt.Sprint("r", i)}
				from := State("")
				for at, to := range crashWay {
					_, err := l.Move(k, from, to, func(e *Entry) {
						e.Attempts++
						if to == StateArchived {
							addVersion(i)(e)
						}
					})
					var conflict *ConflictError
					if err != nil && !errors.As(err, &conflict) {
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
	must(t, l.Scan("", "", func(k Key, e *Entry) error {
		if e.State != StateDeleted || e.Attempts != len(crashWay) {
			t.Errorf("%s: %+v", k, e)
		}
		return nil
	}))
}

func TestEntriesAreTheCallers(t *testing.T) {
	l := fresh(t)
	k := Key{"acme", "u1", "r1"}
	bring(t, l, k, StateListed)
	_, err := l.Move(k, StateListed, StateListed, func(e *Entry) {
		addVersion(0)(e)
		e.Raw, e.BadKeys = make([]byte, 10_000), []string{"b"} // enough for pages of its own
	})
	must(t, err)
	want, err := l.Entry(k)
	must(t, err)
	spoil := func(e *Entry) {
		e.Raw[0], e.Versions[0].SHA256, e.BadKeys[0] = 'x', "x", "x"
	}
	e, err := l.Entry(k)
	must(t, err)
	spoil(&e)
	live, err := l.Live("acme", "u1", "", 9, nil)
	must(t, err)
	spoil(&live[0].Entry)
	must(t, l.Scan("", "", func(_ Key, e *Entry) error { spoil(e); return nil }))
	must(t, l.List("acme", "u1", func(get func(string) (Entry, bool)) []Change {
		e, _ := get("r1")
		spoil(&e)
		return nil
	}))
	if _, err := l.Move(k, StateListed, StateListed, spoil); err == nil {
		t.Error("a spoilt version was taken")
	}
	got, err := l.Entry(k)
	must(t, err)
	same(t, got, want)
}

func TestRawIsKeptByteForByte(t *testing.T) {
	l := fresh(t)
	k := Key{"acme", "u1", "r1"}
	for _, raw := range []string{"{ \"a\" :\n1, \"<\": \"\xff\\u003c\"}\n", "{}", strings.Repeat("x", 100_000)} {
		from := StateListed
		if raw[1] == ' ' {
			from = ""
		}
		_, err := l.Move(k, from, StateListed, func(e *Entry) { e.Raw = []byte(raw) })
		must(t, err)
		e, err := l.Entry(k)
		must(t, err)
		if string(e.Raw) != raw {
			t.Errorf("%q came back as %q", raw, e.Raw)
		}
	}
}

func TestIDs(t *testing.T) {
	l := fresh(t)
	long := strings.Repeat("i\x00/\xff", 1000)
	good := []string{"a", "a/b", "/", "\x00", "\xff\xfe", "{id}", "=", " ", long, strings.Repeat("x", 32768)}
	for _, id := range good {
		for _, k := range []Key{{"acme", "u1", id}, {"a-0", id[:min(len(id), 32764)], "r1"}} {
			bring(t, l, k, StateArchived)
			e, err := l.Entry(k)
			if err != nil || e.State != StateArchived {
				t.Errorf("%.50s: %v, %v", k, e.State, err)
			}
		}
	}
	seen := 0
	must(t, l.Scan("", "", func(k Key, e *Entry) error {
		if !slices.Contains(good, k.Recording) && k.Recording != "r1" {
			t.Errorf("scanned %.50s", k)
		}
		seen++
		return nil
	}))
	if seen != 2*len(good) {
		t.Errorf("scanned %d of %d", seen, 2*len(good))
	}
	for _, k := range []Key{
		{"", "u", "r"}, {"A", "u", "r"}, {"a/b", "u", "r"}, {"ä", "u", "r"}, {"acme", "", "r"}, {"acme", "u", ""},
		{"acme", "u", strings.Repeat("x", 32769)}, {"acme", strings.Repeat("x", 32764), "r"},
	} {
		if _, err := l.Move(k, "", StateListed, nil); err == nil {
			t.Errorf("%.50s was taken", k)
		}
	}
	if _, err := l.Entry(Key{"acme", "u1", ""}); !errors.Is(err, ErrNotFound) {
		t.Errorf("no id: %v", err)
	}
}

func TestListIsAllOrNothing(t *testing.T) {
	l := fresh(t)
	bring(t, l, Key{"acme", "u1", "old"}, StateListed)
	before, err := l.Inbox("acme", "u1")
	must(t, err)
	boom := errors.New("none")
	for name, last := range map[string]Change{
		"conflict":  {"old", StateArchived, StateArchived, nil},
		"no edge":   {"old", StateListed, StateDeleted, nil},
		"invalid":   {"old", StateListed, StateArchived, nil},
		"duplicate": {"new", "", StateListed, nil},
	} {
		err := l.List("acme", "u1", func(get func(string) (Entry, bool)) []Change {
			if _, ok := get("new"); ok {
				boom = errors.New(name + ": something is left of the one before")
			}
			return []Change{{"new", "", StateListed, nil}, {"old", StateListed, StateFailed, nil}, {"old", StateFailed, StateListed, nil}, last}
		})
		if err == nil || !strings.Contains(err.Error(), `"`+last.Recording+`"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if boom.Error() != "none" {
		t.Error(boom)
	}
	after, err := l.Inbox("acme", "u1")
	must(t, err)
	same(t, after, before)
	err = l.List("acme", "u1", func(get func(string) (Entry, bool)) []Change {
		return []Change{{"new", "", StateListed, nil}, {"new", StateListed, StateArchived, addVersion(1)}}
	})
	must(t, err)
	e, err := l.Entry(Key{"acme", "u1", "new"})
	must(t, err)
	same(t, e, Entry{State: StateArchived, ListedAt: testTime, Versions: []Version{testVersion(1)}})
}

func TestLive(t *testing.T) {
	l := fresh(t)
	var want []string
	for s := range ways {
		if s != "" {
			bring(t, l, Key{"acme", "u1", string(s)}, s)
			if !s.past() {
				want = append(want, string(s))
			}
		}
	}
	slices.Sort(want)
	for limit := 1; limit < 6; limit++ {
		var got []string
		for after := ""; ; {
			page, err := l.Live("acme", "u1", after, limit, nil)
			must(t, err)
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
		same(t, got, want)
	}
	for _, inbox := range []string{"u", "u11", "u2"} {
		if got, err := l.Live("acme", inbox, "", 9, nil); err != nil || len(got) > 0 {
			t.Errorf("%s: %v, %v", inbox, got, err)
		}
	}
}

// TestScanWhileMoving: an entry comes exactly once though it moves between live
// and past from one chunk to the next, in both directions.
func TestScanWhileMoving(t *testing.T) {
	l := fresh(t)
	const n = 3*scanChunk + 7
	err := l.List("acme", "u1", func(func(string) (Entry, bool)) (cs []Change) {
		for i := range n {
			id := fmt.Sprintf("%04d", i)
			cs = append(cs, Change{id, "", StateListed, nil})
			if i%2 == 0 {
				cs = append(cs, Change{id, StateListed, StateVanished, nil})
			}
		}
		return cs
	})
	must(t, err)
	var seen []string
	must(t, l.Scan("acme", "", func(k Key, e *Entry) error {
		seen = append(seen, k.Recording)
		if len(seen)%200 != 100 {
			return nil
		}
		return l.List("acme", "u1", func(get func(string) (Entry, bool)) (cs []Change) {
			for i := range n {
				id := fmt.Sprintf("%04d", i)
				if e, _ := get(id); e.State == StateListed {
					cs = append(cs, Change{id, StateListed, StateVanished, nil})
				} else {
					cs = append(cs, Change{id, StateVanished, StateListed, nil})
				}
			}
			return cs
		})
	}))
	if len(seen) != n || !slices.IsSorted(seen) || len(slices.Compact(seen)) != n {
		t.Errorf("%d entries came, of %d", len(seen), n)
	}
}

func TestScanSelects(t *testing.T) {
	l := fresh(t)
	for _, k := range []Key{{"a", "u1", "r"}, {"a", "u2", "r"}, {"b", "u1", "r"}, {"a-", "u1", "r"}} {
		bring(t, l, k, StateListed)
	}
	for want, in := range map[string][2]string{
		"a-/u1/r a/u1/r a/u2/r b/u1/r": {"", ""},
		"a/u1/r a/u2/r":                {"a", ""},
		"a/u2/r":                       {"a", "u2"},
		"a-/u1/r a/u1/r b/u1/r":        {"", "u1"},
		"":                             {"c", ""},
	} {
		var got []string
		must(t, l.Scan(in[0], in[1], func(k Key, _ *Entry) error { got = append(got, k.String()); return nil }))
		same(t, strings.Join(got, " "), want)
	}
	stop := errors.New("stop")
	if err := l.Scan("", "", func(Key, *Entry) error { return stop }); err != stop {
		t.Errorf("Scan: %v", err)
	}
}

func TestInbox(t *testing.T) {
	l := fresh(t)
	if _, err := l.Inbox("acme", "u1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no inbox: %v", err)
	}
	bring(t, l, Key{"acme", "u1", "r1"}, StateArchived)
	must(t, l.AddPass("acme", "u1", Pass{Start: testTime}, noEdit))
	want := Inbox{
		Totals: Totals{Archived: 1}, OldestWaiting: testTime.Add(3),
		Org: "acme", ID: "u1", Name: "n", Email: "e", Condition: "c", Reason: "r",
		Counts: map[State]int64{StateArchived: 1}, Bytes: 1000, LastPass: &Pass{Start: testTime},
		AddedAt: testTime, LastSuccess: testTime.Add(1), NotBefore: testTime.Add(2),
		OwnerClaimed: true, AcceptGone: true, LoggedOut: true,
	}
	must(t, l.EditInbox("acme", "u1", func(in *Inbox) {
		if in.Org != "acme" || in.ID != "u1" || in.LastPass == nil || in.Bytes != 1000 {
			t.Errorf("edit gets %+v", in)
		}
		in.Counts[StateArchived] = 7 // no use
		*in = want
		in.Org, in.ID, in.Counts, in.Bytes, in.Totals, in.NeedsPerson, in.LastPass = "x", "y", nil, 3, Totals{}, 7, nil
		in.AcceptedFaults = []AcceptedFault{{Key: "k"}}
	}))
	got, err := l.Inbox("acme", "u1")
	must(t, err)
	same(t, got, want)

	must(t, l.EditInbox("beta", "u/2", func(in *Inbox) { in.Name = "new" }))
	must(t, l.SetToken("beta", "u3", testToken))
	all, err := l.Inboxes("")
	must(t, err)
	same(t, all, []Inbox{want, {Org: "beta", ID: "u/2", Name: "new", AddedAt: testTime}, {Org: "beta", ID: "u3", AddedAt: testTime}})
	one, err := l.Inboxes("acme")
	must(t, err)
	same(t, one, []Inbox{want})
}

func TestPasses(t *testing.T) {
	l := fresh(t)
	at := func(i int) time.Time { return testTime.Add(time.Duration(i) * 100 * time.Millisecond) }
	for i := range 130 {
		must(t, l.AddPass("acme", "u1", Pass{Start: at(i * 37 % 130), Listed: int64(i)}, noEdit))
	}
	must(t, l.AddPass("acme", "u1", Pass{Start: at(129).In(time.FixedZone("", 3600)), Error: "again"}, noEdit))
	must(t, l.AddPass("acme", "u2", Pass{Start: at(0)}, noEdit))
	got, err := l.Passes("acme", "u1", 1000)
	must(t, err)
	if len(got) != 100 || got[0].Error != "again" {
		t.Errorf("%d passes, the newest %+v", len(got), got[0])
	}
	for i, p := range got {
		if !p.Start.Equal(at(129 - i)) {
			t.Errorf("pass %d started %v", i, p.Start)
		}
	}
	got, err = l.Passes("acme", "u1", 3)
	must(t, err)
	same(t, len(got), 3)
	if err := l.AddPass("acme", "u1", Pass{}, noEdit); err == nil {
		t.Error("a pass without start was taken")
	}
}

func TestUploads(t *testing.T) {
	l := fresh(t)
	a, b := UploadRef{Key: "k", ID: "2", Started: testTime}, UploadRef{Key: "k", ID: "1", Started: testTime, Aborted: testTime}
	must(t, l.AddUpload(a))
	must(t, l.AddUpload(b))
	must(t, l.AddUpload(b))
	got, err := l.Uploads()
	must(t, err)
	same(t, got, []UploadRef{b, a})
	must(t, l.RemoveUpload("k", "2"))
	must(t, l.RemoveUpload("k", "2"))
	got, err = l.Uploads()
	must(t, err)
	same(t, got, []UploadRef{b})
	for _, u := range []UploadRef{{Key: "k"}, {ID: "i"}, {Key: "k\x00", ID: "i"}, {Key: strings.Repeat("k", 32768), ID: "i"}} {
		if err := l.AddUpload(u); err == nil {
			t.Errorf("%.20q was taken", u.Key)
		}
	}
}

func TestClosed(t *testing.T) {
	l := fresh(t)
	finish(t, l)
	if _, err := l.Move(Key{"acme", "u1", "r1"}, "", StateListed, nil); err == nil {
		t.Error("a closed ledger moves")
	}
	if _, err := l.Entry(Key{"acme", "u1", "r1"}); err == nil {
		t.Error("a closed ledger reads")
	}
}

func TestDisk(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	info, err := os.Stat(path)
	must(t, err)
	size, free, err := l.Disk()
	if err != nil || size != info.Size() || free <= 0 {
		t.Errorf("%d bytes, %d free, %v; the file has %d", size, free, err, info.Size())
	}
}
