package bolt

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// Binding returns the archive and the organizations that the ledger is bound to.
func (l *Ledger) Binding(context.Context) (b state.Binding, err error) {
	err = l.read(func(tx *bbolt.Tx) error {
		b, err = readBinding(tx)
		return err
	})
	return b, err
}

// CopyInbox returns all that the ledger keeps of an inbox beside its entries and uploads.
func (l *Ledger) CopyInbox(ctx context.Context, org, inbox string) (c state.InboxCopy, err error) {
	if c.Inbox, err = l.Inbox(ctx, org, inbox); err != nil {
		return c, err
	}
	if c.Token, err = l.Token(ctx, org, inbox); err != nil {
		return c, err
	}
	if c.Passes, err = l.Passes(ctx, org, inbox, passesKept); err != nil {
		return c, err
	}
	if c.Events, err = l.Events(ctx, org, inbox, math.MaxInt); err != nil {
		return c, err
	}
	err = l.view(ctx, func(tx *bbolt.Tx) error {
		if b := tx.Bucket([]byte("events")).Bucket([]byte(org + "/" + inbox)); b != nil {
			c.LastEvent = b.Sequence()
		}
		return nil
	})
	return c, err
}

// PutInbox stores what CopyInbox of another ledger returned. The entries must be there
// already: PutInbox replaces the counters.
func (l *Ledger) PutInbox(ctx context.Context, c state.InboxCopy) error {
	err := l.changeInbox(ctx, l.update, c.Inbox.Org, c.Inbox.ID, func(p *page) error {
		*p.inbox = *c.Inbox.Clone()
		passes, err := nested(p.tx, "passes", p.key)
		if err != nil {
			return err
		}
		for _, pass := range c.Passes {
			if err := addStarted(passes, pass.Start, "", &pass, passesKept); err != nil {
				return err
			}
		}
		return errors.Join(p.putToken(c.Token), p.putEvents(c))
	})
	if err != nil {
		return fmt.Errorf("copy inbox %s/%s: %w", c.Inbox.Org, c.Inbox.ID, err)
	}
	return nil
}

func (p *page) putEvents(c state.InboxCopy) error {
	b, err := nested(p.tx, "events", p.key)
	if err != nil {
		return err
	}
	for _, ev := range c.Events {
		data, err := codec.Marshal(ev)
		if err == nil {
			err = b.Put(eventKey(ev.Number), append(append(data, '\n'), ev.Recording...))
		}
		if err != nil {
			return err
		}
	}
	return b.SetSequence(c.LastEvent)
}
