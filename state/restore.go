package state

import "fmt"

// Restored is an entry that Restore makes, or adds to where it is there already.
type Restored struct {
	Recording string
	Edit      func(*Entry) // gets the entry, the zero Entry where there is none, and sets its State too
}

// Restore puts back what is known of an inbox's recordings from elsewhere, all of it
// or nothing. It asks no edge and records no event, since it tells what was, not what
// happens; but no entry gets in that Move would refuse: ErrInvalid.
func (l *Ledger) Restore(org, inbox string, all []Restored) error {
	err := l.changeInbox(l.update, org, inbox, func(p *page) error {
		for _, r := range all {
			if err := p.restore(Key{org, inbox, r.Recording}, r.Edit); err != nil {
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

func (p *page) restore(k Key, edit func(*Entry)) error {
	if err := checkLen("recording", k.Recording, maxKey); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	old, err := p.l.getEntry(p.tx, p.key, k)
	if err != nil {
		return err
	}
	e := &Entry{}
	if old != nil {
		e = old.clone()
	}
	edit(e)
	if e.State.stored() {
		e.Raw, e.Expanded = nil, false
	}
	if err := e.check(); err != nil {
		return err
	}
	if err := p.l.putEntry(p.tx, p.key, k, old, e); err != nil {
		return err
	}
	p.inbox.account(old, e)
	return nil
}
