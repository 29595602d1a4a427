package journal_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

const org, user = archivertest.Org, archivertest.UserID

func writer(r *archivertest.World) *journal.Writer {
	_, w, _, _ := r.Parts(r.Store(), proof.Retention{Until: func(from time.Time) time.Time { return from.AddDate(7, 0, 0) }})
	return w
}

// An order brings the journal up to date with what it did; an inbox of which there is
// nothing to tell gets no object.
func TestWriteOrdered(t *testing.T) {
	t.Parallel()
	r := archivertest.New(t, archivertest.Echoing, true)
	w := writer(r)
	for range 2 {
		if err := w.WriteOrdered(t.Context(), org, user); err != nil {
			t.Fatal(err)
		}
	}
	r.WantJournal()
	k := state.Key{Org: org, Inbox: user, Recording: "rec-01"}
	statetest.Bring(t, r.Ledger, k, state.StateWaived)
	if err := w.WriteOrdered(t.Context(), org, user); err != nil {
		t.Fatal(err)
	}
	objects := r.WantJournal("rec-01 listed→failed", "rec-01 failed→waived")
	claim, err := r.Ledger.Claim(t.Context(), org, user)
	if err != nil {
		t.Fatal(err)
	}
	statetest.Bring(t, r.Ledger, state.Key{Org: org, Inbox: user, Recording: "rec-02"}, state.StateVanished)
	if err := w.WriteOrdered(t.Context(), org, user); err != nil || len(r.Objects("journal")) != 1 {
		t.Errorf("beside a pass: %v, %q", err, r.Objects("journal"))
	}
	if err := claim.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if act := objects[0].Events[1].Act; act == nil || act.Kind != state.ActWaive || objects[0].SchemaVersion != 2 {
		t.Errorf("the journal tells of %+v with version %d", act, objects[0].SchemaVersion)
	}
}

// More events than one object may hold go into several.
func TestObjectsAreBounded(t *testing.T) {
	t.Parallel()
	r := archivertest.New(t, archivertest.Echoing, false)
	const n = 2*record.MaxEvents + 1
	var want []string
	err := r.Ledger.List(t.Context(), org, user, nil, func(func(string) (state.Entry, bool)) (all []state.Change) {
		for i := range n {
			id := fmt.Sprintf("rec-%05d", i)
			all = append(all, state.Change{Recording: id, To: state.StateListed},
				state.Change{Recording: id, From: state.StateListed, To: state.StateFailed, Edit: func(e *state.Entry) { e.LastError = "x" }})
			want = append(want, id+" listed→failed")
		}
		return all
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := writer(r).WriteOrdered(t.Context(), org, user); err != nil {
		t.Fatal(err)
	}
	if objects := r.WantJournal(want...); len(objects) != 3 {
		t.Errorf("%d events are in %d objects", n, len(objects))
	}
}
