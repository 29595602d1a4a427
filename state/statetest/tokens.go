package statetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

// wantToken checks the token of inbox u1.
func wantToken(t *testing.T, l Ledger, want state.Token) {
	t.Helper()
	got, err := l.Token(t.Context(), "acme", "u1")
	Must(t, err)
	if got != want {
		t.Errorf("the token is not the wanted one: same %v, zero %v, expiry %v", got.Same(want), got == (state.Token{}), got.Expiry)
	}
}

func (s suite) tokens(t *testing.T) {
	path := newPath(t)
	l := s.open(t, path)
	token := state.Token{Access: "access", Refresh: "refresh", Expiry: testTime.Add(time.Hour), Confirmed: true}
	wantToken(t, l, state.Token{})
	Must(t, l.Login(t.Context(), "acme", "u1", token, nil))
	wantToken(t, l, token)
	finish(t, l)
	l = s.open(t, path)
	wantToken(t, l, token)
	Must(t, l.Login(t.Context(), "acme", "u1", state.Token{Refresh: "next"}, func(i *state.Inbox) { i.Name = "Ann" }))
	wantToken(t, l, state.Token{Refresh: "next"})
	if i, err := l.Inbox(t.Context(), "acme", "u1"); err != nil || i.Name != "Ann" || i.LoggedOut {
		t.Errorf("after the login the inbox is %+v, %v", i, err)
	}
	Must(t, l.Logout(t.Context(), "acme", "u1"))
	wantToken(t, l, state.Token{})
	if i, err := l.Inbox(t.Context(), "acme", "u1"); err != nil || !i.LoggedOut || i.Name != "Ann" {
		t.Errorf("after the logout the inbox is %+v, %v", i, err)
	}
}

// A renewal of an earlier token must not undo a login.
func (s suite) logins(t *testing.T) {
	l := s.fresh(t)
	old, renewed, login := state.Token{Refresh: "old"}, state.Token{Access: "a", Refresh: "renewed"}, state.Token{Refresh: "login"}
	Must(t, l.SaveToken(t.Context(), "acme", "u1", state.Token{}, old)) // of an inbox that is new
	Must(t, l.SaveToken(t.Context(), "acme", "u1", old, renewed))
	confirmed := renewed
	confirmed.Confirmed, confirmed.Expiry = true, testTime
	Must(t, l.SaveToken(t.Context(), "acme", "u1", renewed, confirmed))
	Must(t, l.SaveToken(t.Context(), "acme", "u1", renewed, confirmed)) // the same token, now confirmed
	if err := l.SaveToken(t.Context(), "acme", "u1", old, renewed); !errors.Is(err, state.ErrTokenMoved) {
		t.Errorf("a renewal of a token that is no longer there: %v", err)
	}
	Must(t, l.Login(t.Context(), "acme", "u1", login, nil))
	if err := l.SaveToken(t.Context(), "acme", "u1", confirmed, renewed); !errors.Is(err, state.ErrTokenMoved) {
		t.Errorf("a renewal undoes a login: %v", err)
	}
	wantToken(t, l, login)
	Must(t, l.Logout(t.Context(), "acme", "u1"))
	for _, from := range []state.Token{login, {}} {
		if err := l.SaveToken(t.Context(), "acme", "u1", from, renewed); !errors.Is(err, state.ErrLoggedOut) {
			t.Errorf("a renewal undoes a logout: %v", err)
		}
	}
	wantToken(t, l, state.Token{})
	Must(t, l.Login(t.Context(), "acme", "u1", login, nil))
	Must(t, l.SaveToken(t.Context(), "acme", "u1", login, renewed))
}

// contexts that have ended change nothing, and their error comes back.
func (s suite) contexts(t *testing.T) {
	l := s.fresh(t)
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r"}
	Bring(t, l, k, state.StateArchived)
	before, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range map[string]func() error{
		"Entry":   func() error { _, err := l.Entry(ctx, k); return err },
		"Move":    func() error { _, err := l.Move(ctx, k, state.StateArchived, state.StateGone, nil); return err },
		"Restore": func() error { return l.Restore(ctx, "acme", "u1", nil) },
		"List": func() error {
			return l.List(ctx, "acme", "u1", nil, func(func(string) (state.Entry, bool)) []state.Change {
				return []state.Change{{Recording: "new", To: state.StateListed}}
			})
		},
		"Archived":    func() error { _, err := l.Archived(ctx, "acme", "u1", []string{"r"}); return err },
		"Live":        func() error { _, err := l.Live(ctx, "acme", "u1", "", 1, nil); return err },
		"Waiting":     func() error { _, err := l.Waiting(ctx, "acme", "u1", "", 1); return err },
		"Scan":        func() error { return l.Scan(ctx, "", "", func(state.Key, *state.Entry) error { return nil }) },
		"ScanWaiting": func() error { return l.ScanWaiting(ctx, "", "", func(state.Key, *state.Entry) error { return nil }) },
		"Search":      func() error { return l.Search(ctx, state.Query{}, func(state.Key, *state.Entry) error { return nil }) },
		"Inbox":       func() error { _, err := l.Inbox(ctx, "acme", "u1"); return err },
		"Inboxes":     func() error { _, err := l.Inboxes(ctx, ""); return err },
		"EditInbox":   func() error { return l.EditInbox(ctx, "acme", "u1", func(i *state.Inbox) { i.Name = "n" }) },
		"AddPass": func() error {
			return l.AddPass(ctx, "acme", "u1", state.Pass{Start: testTime}, func(i *state.Inbox) { i.Name = "n" })
		},
		"Passes":    func() error { _, err := l.Passes(ctx, "acme", "u1", 1); return err },
		"Token":     func() error { _, err := l.Token(ctx, "acme", "u1"); return err },
		"SaveToken": func() error { return l.SaveToken(ctx, "acme", "u1", state.Token{}, state.Token{Access: "a"}) },
		"Login":     func() error { return l.Login(ctx, "acme", "u1", state.Token{Access: "a"}, nil) },
		"Logout":    func() error { return l.Logout(ctx, "acme", "u1") },
		"Events":    func() error { _, err := l.Events(ctx, "acme", "u1", 1); return err },
		"MoveJournal": func() error {
			return l.MoveJournal(ctx, "acme", "u1", state.JournalHead{}, state.JournalHead{Key: "j"}, nil)
		},
		"AcceptFaults": func() error { return l.AcceptFaults(ctx, "acme", "u1", []state.AcceptedFault{{Key: "k"}}) },
		"AddUpload":    func() error { return l.AddUpload(ctx, state.UploadRef{Org: "acme", Inbox: "u1", Key: "k", ID: "i"}) },
		"RemoveUpload": func() error { return l.RemoveUpload(ctx, "k", "i") },
		"Uploads":      func() error { _, err := l.Uploads(ctx, "", ""); return err },
		"AddRun":       func() error { return l.AddRun(ctx, state.Run{ID: "r", Start: testTime}) },
		"Runs":         func() error { _, err := l.Runs(ctx, 1); return err },
	} {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that has ended: %v", name, err)
		}
	}
	after, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, after, before)
	uploads, err := l.Uploads(t.Context(), "", "")
	Must(t, err)
	runs, err := l.Runs(t.Context(), 1)
	Must(t, err)
	if len(uploads)+len(runs) > 0 {
		t.Errorf("there are uploads %v and runs %v", uploads, runs)
	}
	wantToken(t, l, state.Token{})
}
