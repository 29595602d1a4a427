package state

import (
	"fmt"
	"time"
)

// Change is one compare-and-set of an entry; see Recordings.Move.
type Change struct {
	Recording string
	From, To  State
	Edit      func(*Entry)
}

// KeyedEntry is an entry with the key it is kept under.
type KeyedEntry struct {
	Key   Key
	Entry Entry
}

// Apply makes the change of old, the entry of key k as it is, nil where there is none.
// It returns the entry as it is to be kept, and the event to record, nil where the change
// makes none. Errors as those of Move. For what happens beside the edit see transition.
func (c Change) Apply(k Key, old *Entry, now time.Time) (*Entry, *Event, error) {
	if !Allowed(c.From, c.To) {
		return nil, nil, fmt.Errorf("%w: %q to %q", ErrEdge, c.From, c.To)
	}
	var have State
	if old != nil {
		have = old.State
	}
	if have != c.From {
		return nil, nil, &ConflictError{Key: k, Have: have, Want: c.From}
	}
	e, err := transition(old, c.To, c.Edit, now)
	if err != nil {
		return nil, nil, err
	}
	ev := newEvent(k.Recording, old, e, now)
	e.Why = ""
	return e, ev, nil
}
