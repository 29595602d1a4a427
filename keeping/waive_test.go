package keeping

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/statetest"
)

// order returns an order about every recording of a ledger, and what it emits.
func order(l *bolt.Ledger, kind state.ActKind) (Order, map[string]Result) {
	seen := map[string]Result{}
	return Order{
		Act: statetest.Act(kind),
		Recordings: func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
			return l.Search(ctx, state.Query{}, f)
		},
		Emit: func(o Outcome) error { seen[o.Recording] = o.Result; return nil },
	}, seen
}

func keeperOn(t *testing.T) (*Keeper, *bolt.Ledger, *[]string) {
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Check(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	var journals []string
	return New(Options{Ledger: l, Workers: 4, Journal: func(_ context.Context, org, inbox string) error {
		journals = append(journals, org+"/"+inbox)
		return nil
	}}), l, &journals
}

func TestWaive(t *testing.T) {
	k, l, journals := keeperOn(t)
	for _, s := range state.States() {
		statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: string(s)}, s)
	}
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u2", Recording: "kept"}, state.StateArchived)
	want := map[string]Result{
		"listed": Done, "failed": Done, "vanished": Done, "waived": Already,
		"archived": Left, "delete_requested": Left, "deleted": Left, "gone": Left, "erased": Left, "expired": Left, "kept": Left,
	}
	for _, dry := range []bool{true, false} {
		o, seen := order(l, state.ActWaive)
		o.ID, o.DryRun = "another act", dry
		totals, err := k.Waive(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, seen); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(Totals{Done: 3, Already: 1, Left: 7}, totals); diff != "" {
			t.Error(diff)
		}
		waived := int64(1)
		if !dry {
			waived = 4
		}
		if in, err := l.Inbox(t.Context(), "acme", "u1"); err != nil || in.Counts[state.StateWaived] != waived {
			t.Errorf("dry run %v: %v, %v", dry, in.Counts, err)
		}
	}
	if diff := cmp.Diff([]string{"acme/u1"}, *journals); diff != "" {
		t.Errorf("journals written: %s", diff)
	}
}

// A journal that can't be written is told, and the same order brings it up to date.
func TestJournalIsWrittenByTheSameOrder(t *testing.T) {
	k, l, _ := keeperOn(t)
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r"}, state.StateFailed)
	fails, wrote := errors.New("full"), 0
	k.Journal = func(context.Context, string, string) error { wrote++; return fails }
	for _, want := range []Result{Done, Already} {
		o, seen := order(l, state.ActWaive)
		_, err := k.Waive(t.Context(), o)
		if !errors.Is(err, fails) || seen["r"] != want {
			t.Errorf("%v, %v", seen, err)
		}
		fails = nil
	}
	if wrote != 2 {
		t.Errorf("the journal was written %d times", wrote)
	}
}

// movingLedger changes an entry between its reading and the order's change.
type movingLedger struct {
	*bolt.Ledger
	err error
}

func (m movingLedger) Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	if m.err != nil {
		return state.Entry{}, m.err
	}
	if _, err := m.Ledger.Move(ctx, k, from, state.StateListed, nil); err != nil {
		return state.Entry{}, err
	}
	return m.Ledger.Move(ctx, k, from, to, edit)
}

// What a pass changes meanwhile is left; a ledger that can't be written ends the order.
func TestWaiveBesideAPass(t *testing.T) {
	k, l, _ := keeperOn(t)
	for i := range 20 {
		statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: fmt.Sprint("r", i)}, state.StateFailed)
	}
	broken := errors.New("no space left")
	k.Ledger = movingLedger{l, broken}
	o, seen := order(l, state.ActWaive)
	if _, err := k.Waive(t.Context(), o); !errors.Is(err, broken) || failure.KindOf(err) != failure.KindLedger || len(seen) > 0 {
		t.Errorf("%v, %v", seen, err)
	}
	k.Ledger = movingLedger{l, nil}
	o, seen = order(l, state.ActWaive)
	if totals, err := k.Waive(t.Context(), o); err != nil || totals[Left] != 20 || len(seen) != 20 {
		t.Errorf("%v, %v", totals, err)
	}
}
