package postgres

import (
	"context"
	"fmt"

	"github.com/archiverd/archiverd/state"
)

// Move implements state.Recordings.
func (l *Ledger) Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	return l.move(ctx, nil, k, state.Change{Recording: k.Recording, From: from, To: to, Edit: edit})
}

func (l *Ledger) move(ctx context.Context, under *claim, k state.Key, c state.Change) (state.Entry, error) {
	var e *state.Entry
	late := under != nil && stageOf(c.From) == waiting && c.To == state.StateArchived
	err := l.change(ctx, change{place: place{k.Org, k.Inbox}, claim: under, reads: []string{k.Recording}, alone: true, late: late, f: func(p *page) (err error) {
		e, err = p.apply(c)
		return err
	}})
	if err != nil {
		return state.Entry{}, fmt.Errorf("move %s from %q to %q: %w", k, c.From, c.To, err)
	}
	return e.Clone(), nil // a change in the same transaction may still need its own
}

// List implements state.Recordings.
func (l *Ledger) List(ctx context.Context, org, inbox string, recordings []string, f func(get func(recording string) (state.Entry, bool)) []state.Change) error {
	return l.list(ctx, nil, place{org, inbox}, recordings, f)
}

func (l *Ledger) list(ctx context.Context, under *claim, at place, recordings []string, f func(get func(recording string) (state.Entry, bool)) []state.Change) error {
	err := l.change(ctx, change{place: at, claim: under, reads: recordings, f: func(p *page) error {
		changes := f(func(recording string) (state.Entry, bool) {
			e, err := p.entry(recording)
			if err != nil || e == nil {
				return state.Entry{}, false // an error is in p.broken, and ends the transaction
			}
			return e.Clone(), true
		})
		if p.broken == nil && len(changes) == 0 {
			return errUnchanged
		}
		for _, c := range changes {
			if _, err := p.apply(c); err != nil {
				return fmt.Errorf("%q from %q to %q: %w", c.Recording, c.From, c.To, err)
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("list %s/%s: %w", at.org, at.inbox, err)
	}
	return nil
}

// Restore implements state.Recordings.
func (l *Ledger) Restore(ctx context.Context, org, inbox string, all []state.Restored) error {
	reads := make([]string, len(all))
	for i, r := range all {
		reads[i] = r.Recording
	}
	err := l.change(ctx, change{place: place{org, inbox}, reads: reads, f: func(p *page) error {
		for _, r := range all {
			if err := p.restore(r); err != nil {
				return fmt.Errorf("%q: %w", r.Recording, err)
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("restore %s/%s: %w", org, inbox, err)
	}
	return nil
}

func (p *page) restore(r state.Restored) error {
	if err := state.CheckRecording(r.Recording); err != nil {
		return fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	old, err := p.entry(r.Recording)
	if err != nil {
		return err
	}
	e, err := r.Apply(old)
	if err != nil {
		return err
	}
	return p.put(r.Recording, old, e)
}
