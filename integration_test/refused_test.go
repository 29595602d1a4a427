package integration_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// TestRefusedDeletions wants deletions that Genesys refuses to keep no other original
// from being deleted, even where more are refused, and due again, than a pass may ask for.
func TestRefusedDeletions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.config["delete_originals"] = map[string]any{"enabled": true, "after": "0s", "max_per_pass": 3}
	w.config["transfer"] = map[string]any{"min_age": "0s", "workers": 1} // in the order of their ids
	inbox := w.cloud.ClientInbox()
	refused, others := []string{"a1", "a2", "a3", "a4", "a5"}, []string{"b1", "b2", "b3"}
	for _, id := range append(refused, others...) {
		inbox.Add(genesystest.Recording{ID: id})
	}
	for _, id := range refused {
		w.cloud.Inject(genesystest.Fault{Op: opDelete, Recording: id, Times: genesystest.Always, Effect: genesystest.Status(409, "conflict")})
	}
	pass := func(asked ...string) {
		t.Helper()
		before := len(w.cloud.Events())
		w.once(0)
		var sent []string
		for _, e := range w.cloud.Events()[before:] {
			if e.Op == opDelete {
				sent = append(sent, e.Recording)
			}
		}
		if got := strings.Join(sent, " "); got != strings.Join(asked, " ") {
			t.Errorf("deletions were asked for of %q, want %q", got, asked)
		}
	}
	due := func() { // as if their waits were over
		w.withLedger(func(l *bolt.Ledger) error {
			for _, id := range refused {
				k := state.Key{Org: "acme", Inbox: inbox.ID, Recording: id}
				if _, err := l.Move(t.Context(), k, state.StateArchived, state.StateArchived, func(e *state.Entry) { e.NextAttempt = time.Time{} }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	pass("a1", "a2", "a3")
	due()
	pass("a4", "a5", "b1") // those never asked for come first
	due()
	pass("b2", "b3", "a1")
	due()
	pass("a1", "a2", "a3")
	pass("a4", "a5") // the others wait
	pass()
	w.wantState(state.StateDeleted, inbox, others...)
	w.wantState(state.StateArchived, inbox, refused...)

	var e struct {
		Error string    `json:"error"`
		Next  time.Time `json:"next_attempt"`
	}
	if err := json.Unmarshal([]byte(w.expect(0, "show", "a1", "--json").stdout), &e); err != nil || !strings.Contains(e.Error, "409 conflict") || time.Until(e.Next) < time.Minute {
		t.Errorf("show says %+v, %v", e, err)
	}
	if out := w.expect(0, "run", "--once", "--dry-run").stdout; strings.Count(out, "its deletion was refused and is asked for again after") != len(refused) {
		t.Errorf("a dry run says %s", out)
	}
}
