package statetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/archiverd/archiverd/state"
)

// claim claims inbox u1 of acme, which must be free.
func claim(t *testing.T, l state.Claims) state.Claim {
	t.Helper()
	c, err := l.Claim(t.Context(), "acme", "u1")
	Must(t, err)
	return c
}

// withInbox opens a ledger that knows inbox u1 and an archived recording r of it.
func (s suite) withInbox(t *testing.T) *opened {
	t.Helper()
	l := s.fresh(t)
	Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r"}, state.StateArchived)
	return l
}

func (s suite) claimAlone(t *testing.T) {
	l := s.withInbox(t)
	Must(t, l.EditInbox(t.Context(), "acme", "u2", noEdit))
	if _, err := l.Claim(t.Context(), "acme", "unknown"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("an inbox that the ledger does not know was claimed: %v", err)
	}
	first := claim(t, l)
	Must(t, first.Keep(t.Context()))
	if _, err := l.Claim(t.Context(), "acme", "u1"); !errors.Is(err, state.ErrClaimed) {
		t.Errorf("a second claim on an inbox: %v", err)
	}
	other, err := l.Claim(t.Context(), "acme", "u2") // another inbox is free
	Must(t, err)
	Must(t, other.Release(t.Context()))
	Must(t, first.Release(t.Context()))
	Must(t, first.Release(t.Context()))

	second := claim(t, l) // free at once
	Must(t, first.Release(t.Context()))
	Must(t, second.Keep(t.Context())) // the earlier holder's Release does not end it
	Must(t, l.RunOut("acme", "u1"))
	third := claim(t, l)
	Must(t, second.Release(t.Context()))
	Must(t, third.Keep(t.Context()))
	if !(first.Number() < second.Number() && second.Number() < third.Number()) {
		t.Errorf("the numbers are %d, %d, %d", first.Number(), second.Number(), third.Number())
	}
}

// changes are a claim's methods that change the ledger, each with a change that would
// succeed.
func changes(c state.Claim) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"Move": func(ctx context.Context) error {
			_, err := c.Move(ctx, "r", state.StateArchived, state.StateDeleteRequested, nil)
			return err
		},
		"List": func(ctx context.Context) error {
			return c.List(ctx, nil, func(func(string) (state.Entry, bool)) []state.Change {
				return []state.Change{{Recording: "new", To: state.StateListed}}
			})
		},
		"EditInbox": func(ctx context.Context) error {
			return c.EditInbox(ctx, func(i *state.Inbox) { i.Name = "Ann" })
		},
		"AddPass": func(ctx context.Context) error {
			return c.AddPass(ctx, state.Pass{Start: testTime}, func(i *state.Inbox) { i.Condition = "ok" })
		},
		"SaveToken": func(ctx context.Context) error {
			return c.SaveToken(ctx, state.Token{}, state.Token{Access: "a"})
		},
		"MoveJournal": func(ctx context.Context) error {
			return c.MoveJournal(ctx, state.JournalHead{}, state.JournalHead{Key: "j"}, nil)
		},
		"AddUpload":    func(ctx context.Context) error { return c.AddUpload(ctx, state.UploadRef{Key: "k", ID: "i"}) },
		"RemoveUpload": func(ctx context.Context) error { return c.RemoveUpload(ctx, "other", "i") },
		"Keep":         c.Keep,
	}
}

// A claim that was released or ran out changes nothing, whether the inbox is free or
// another's by then. Neither does one with a context that has ended.
func (s suite) claimLost(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	type ways map[string]func(l *opened, c state.Claim) (context.Context, error)
	for name, lose := range (ways{
		"released": func(l *opened, c state.Claim) (context.Context, error) {
			Must(t, c.Release(t.Context()))
			return t.Context(), state.ErrClaimLost
		},
		"run out": func(l *opened, _ state.Claim) (context.Context, error) {
			Must(t, l.RunOut("acme", "u1"))
			return t.Context(), state.ErrClaimLost
		},
		"another's": func(l *opened, _ state.Claim) (context.Context, error) {
			Must(t, l.RunOut("acme", "u1"))
			claim(t, l)
			return t.Context(), state.ErrClaimLost
		},
		"context ended": func(*opened, state.Claim) (context.Context, error) { return ended, context.Canceled },
	}) {
		t.Run(name, func(t *testing.T) {
			l := s.withInbox(t)
			Must(t, l.AddUpload(t.Context(), state.UploadRef{Org: "acme", Inbox: "u1", Key: "other", ID: "i"}))
			c := claim(t, l)
			ctx, want := lose(l, c)
			before := content(t, l)
			for name, change := range changes(c) {
				if err := change(ctx); !errors.Is(err, want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			Same(t, content(t, l), before)
		})
	}
}

// content is what a ledger holds of inbox u1.
func content(t *testing.T, l *opened) (all []any) {
	t.Helper()
	inbox, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	passes, err := l.Passes(t.Context(), "acme", "u1", 10)
	Must(t, err)
	token, err := l.Token(t.Context(), "acme", "u1")
	Must(t, err)
	uploads, err := l.Uploads(t.Context(), "acme", "u1")
	Must(t, err)
	events, err := l.Events(t.Context(), "acme", "u1", 10)
	Must(t, err)
	Must(t, l.Scan(t.Context(), "acme", "u1", func(k state.Key, e *state.Entry) error {
		all = append(all, k, *e)
		return nil
	}))
	return append(all, inbox, passes, token.Access, uploads, events)
}

func (s suite) claimChanges(t *testing.T) {
	l := s.withInbox(t)
	Must(t, l.AddUpload(t.Context(), state.UploadRef{Org: "acme", Inbox: "u1", Key: "other", ID: "i"}))
	for name, change := range changes(claim(t, l)) {
		if err := change(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	i, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, i.Counts, map[state.State]int64{state.StateListed: 1, state.StateDeleteRequested: 1})
	if i.Name != "Ann" || i.Condition != "ok" || i.LastPass == nil || i.Journal.Key != "j" {
		t.Errorf("the inbox is %+v", i)
	}
	wantToken(t, l, state.Token{Access: "a"})
	uploads, err := l.Uploads(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, uploads, []state.UploadRef{{Org: "acme", Inbox: "u1", Key: "k", ID: "i"}})
}

// Of many that claim an inbox at the same time, one at a time has it.
func (s suite) claimRace(t *testing.T) {
	l := s.fresh(t)
	Must(t, l.EditInbox(t.Context(), "acme", "u1", func(i *state.Inbox) { i.Name = "0" }))
	const holders, turns = 4, 10
	var g sync.WaitGroup
	for range holders {
		g.Go(func() {
			for n := 0; n < turns; {
				c, err := l.Claim(t.Context(), "acme", "u1")
				if errors.Is(err, state.ErrClaimed) {
					continue
				}
				if err == nil {
					err = errors.Join(countUp(t.Context(), l, c), c.Release(t.Context()))
				}
				if err != nil {
					t.Error(err)
					return
				}
				n++
			}
		})
	}
	g.Wait()
	i, err := l.Inbox(t.Context(), "acme", "u1")
	Must(t, err)
	Same(t, i.Name, strconv.Itoa(holders*turns))
}

// countUp counts in the inbox's name in two steps: a second holder between them would make
// it lose a count.
func countUp(ctx context.Context, l Ledger, c state.Claim) error {
	i, err := l.Inbox(ctx, "acme", "u1")
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(i.Name)
	if err != nil {
		return err
	}
	return c.EditInbox(ctx, func(i *state.Inbox) { i.Name = strconv.Itoa(n + 1) })
}
