package fleet

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// What a person accepts is accepted of one inbox alone: every organization with client
// credentials has one of the same name.
func TestAcceptOneInbox(t *testing.T) {
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, org := range []string{"a", "b"} {
		if err := l.EditInbox(t.Context(), org, ClientInbox, func(*state.Inbox) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		only    Selection
		refused bool
		a, b    bool
	}{
		{Selection{Inbox: ClientInbox}, true, false, false},
		{Selection{Inbox: "other"}, true, false, false},
		{Selection{Org: "b", Inbox: ClientInbox}, false, false, true},
	} {
		_, err := Prepare(t.Context(), l, nil, tt.only, Acceptance{Gone: true})
		_, refused := errors.AsType[*UsageError](err)
		a, errA := l.Inbox(t.Context(), "a", ClientInbox)
		b, errB := l.Inbox(t.Context(), "b", ClientInbox)
		if refused != tt.refused || a.AcceptGone != tt.a || b.AcceptGone != tt.b || errors.Join(errA, errB) != nil {
			t.Errorf("%+v: refused %v, %v; accepted %v and %v", tt.only, refused, err, a.AcceptGone, b.AcceptGone)
		}
	}
}
