package bolt

import (
	"context"
	"fmt"

	"github.com/archiverd/archiverd/state"
)

// Restore implements state.Recordings.
func (l *Ledger) Restore(ctx context.Context, org, inbox string, all []state.Restored) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		for _, r := range all {
			if err := p.restore(state.Key{Org: org, Inbox: inbox, Recording: r.Recording}, r); err != nil {
				return fmt.Errorf("%q: %w", r.Recording, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore %s/%s: %w", org, inbox, err)
	}
	return nil
}

func (p *page) restore(k state.Key, r state.Restored) error {
	if err := state.CheckRecording(k.Recording); err != nil {
		return fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	old, err := p.l.getEntry(p.tx, p.key, k)
	if err != nil {
		return err
	}
	e, err := r.Apply(old)
	if err != nil {
		return err
	}
	if err := p.l.putEntry(p.tx, p.key, k, old, e); err != nil {
		return err
	}
	p.inbox.Account(old, e)
	return nil
}
