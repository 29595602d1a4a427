package bolt

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/archiverd/archiverd/state"
)

// claim implements state.Claim. Only one process has the file, so claims are kept in its
// memory, end with it, and do not run out.
type claim struct {
	l          *Ledger
	org, inbox string
	number     int64

	using sync.RWMutex // read-locked by each change, so that the claim does not end in the middle of one
	lost  bool
}

// Claim implements state.Claims.
func (l *Ledger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	if _, err := l.Inbox(ctx, org, inbox); err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	l.claiming.Lock()
	defer l.claiming.Unlock()
	key := org + "/" + inbox
	if l.claims[key] != nil {
		return nil, fmt.Errorf("claim inbox %s: %w: this process, in another run", key, state.ErrClaimed)
	}
	if l.claims == nil {
		l.claims = make(map[string]*claim)
	}
	l.claimed++
	c := &claim{l: l, org: org, inbox: inbox, number: l.claimed}
	l.claims[key] = c
	return c, nil
}

func (c *claim) Number() int64 { return c.number }

func (c *claim) Until() time.Time { return time.Time{} }

func (c *claim) Keep(ctx context.Context) error { return c.change(ctx.Err) }

// Release waits for the changes under way.
func (c *claim) Release(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.using.Lock()
	defer c.using.Unlock()
	if c.lost {
		return nil
	}
	c.lost = true
	c.l.claiming.Lock()
	defer c.l.claiming.Unlock()
	delete(c.l.claims, c.org+"/"+c.inbox)
	return nil
}

// change runs f unless the claim has ended.
func (c *claim) change(f func() error) error {
	c.using.RLock()
	defer c.using.RUnlock()
	if c.lost {
		return fmt.Errorf("%w: %s/%s", state.ErrClaimLost, c.org, c.inbox)
	}
	return f()
}

func (c *claim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (e state.Entry, err error) {
	err = c.change(func() (err error) {
		e, err = c.l.Move(ctx, state.Key{Org: c.org, Inbox: c.inbox, Recording: recording}, from, to, edit)
		return err
	})
	return e, err
}

func (c *claim) List(ctx context.Context, recordings []string, f func(get func(recording string) (state.Entry, bool)) []state.Change) error {
	return c.change(func() error { return c.l.List(ctx, c.org, c.inbox, recordings, f) })
}

func (c *claim) EditInbox(ctx context.Context, edit func(*state.Inbox)) error {
	return c.change(func() error { return c.l.EditInbox(ctx, c.org, c.inbox, edit) })
}

func (c *claim) AddPass(ctx context.Context, p state.Pass, edit func(*state.Inbox)) error {
	return c.change(func() error { return c.l.AddPass(ctx, c.org, c.inbox, p, edit) })
}

func (c *claim) SaveToken(ctx context.Context, from, to state.Token) error {
	return c.change(func() error { return c.l.SaveToken(ctx, c.org, c.inbox, from, to) })
}

func (c *claim) MoveJournal(ctx context.Context, from, to state.JournalHead, has []state.Event) error {
	return c.change(func() error { return c.l.MoveJournal(ctx, c.org, c.inbox, from, to, has) })
}

func (c *claim) AddUpload(ctx context.Context, u state.UploadRef) error {
	u.Org, u.Inbox = c.org, c.inbox
	return c.change(func() error { return c.l.AddUpload(ctx, u) })
}

func (c *claim) RemoveUpload(ctx context.Context, key, id string) error {
	return c.change(func() error { return c.l.RemoveUpload(ctx, key, id) })
}
