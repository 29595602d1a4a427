package main

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// A person accepts for one inbox alone: every organization with client credentials has an
// inbox of the same name.
func TestAcceptOneInbox(t *testing.T) {
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, org := range []string{"a", "b"} {
		if err := l.EditInbox(t.Context(), org, clientInbox, func(*state.Inbox) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		only selection
		code int
		a, b bool
	}{
		{selection{inbox: clientInbox}, exitUsage, false, false},
		{selection{inbox: "other"}, exitUsage, false, false},
		{selection{org: "b", inbox: clientInbox}, exitOK, false, true},
	} {
		err := (&app{}).prepare(t.Context(), nil, l, nil, tt.only, acceptance{gone: true})
		code := exitOK
		if failed, ok := errors.AsType[*exitError](err); ok {
			code = failed.code
		}
		a, errA := l.Inbox(t.Context(), "a", clientInbox)
		b, errB := l.Inbox(t.Context(), "b", clientInbox)
		if code != tt.code || a.AcceptGone != tt.a || b.AcceptGone != tt.b || errors.Join(errA, errB) != nil {
			t.Errorf("%+v: exit code %d, %v; accepted %v and %v", tt.only, code, err, a.AcceptGone, b.AcceptGone)
		}
	}
}
