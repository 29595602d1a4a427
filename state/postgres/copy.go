package postgres

import (
	"context"
	"fmt"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// Binding returns the archive and the organizations that the ledger is bound to.
func (l *Ledger) Binding(ctx context.Context) (state.Binding, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	have, err := readContent(ctx, l.pool)
	return have.binding, Classify(err)
}

// CopyInbox returns all that the ledger keeps of an inbox beside its entries and uploads.
func (l *Ledger) CopyInbox(ctx context.Context, org, inbox string) (c state.InboxCopy, err error) {
	if c.Inbox, err = l.Inbox(ctx, org, inbox); err != nil {
		return c, err
	}
	if c.Token, err = l.Token(ctx, org, inbox); err != nil {
		return c, err
	}
	if c.Passes, err = l.Passes(ctx, org, inbox, kept); err != nil {
		return c, err
	}
	const all = 1 << 31
	if c.Events, err = l.Events(ctx, org, inbox, all); err != nil {
		return c, err
	}
	err = l.row(ctx, &c.LastEvent, "select event from inboxes where org = $1 and id = $2", org, []byte(inbox))
	return c, err
}

// PutInbox stores what CopyInbox of another ledger returned. The entries must be there
// already: PutInbox replaces the counters.
func (l *Ledger) PutInbox(ctx context.Context, c state.InboxCopy) error {
	err := l.change(ctx, change{place: place{c.Inbox.Org, c.Inbox.ID}, f: func(p *page) error {
		p.inbox, p.event, p.events = c.Inbox.Clone(), c.LastEvent, c.Events
		for _, pass := range c.Passes {
			key, err := startKey(pass.Start)
			if err != nil {
				return err
			}
			data, err := codec.Marshal(pass)
			if err != nil {
				return err
			}
			p.add("insert into passes (inbox, start, pass) values ($1, $2, $3)", p.row, key, data)
		}
		if c.Token == (state.Token{}) {
			return nil
		}
		return p.putToken(c.Token)
	}})
	if err != nil {
		return fmt.Errorf("copy inbox %s/%s: %w", c.Inbox.Org, c.Inbox.ID, err)
	}
	return nil
}
