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

// KeyedEntry is an entry with its key.
type KeyedEntry struct {
	Key   Key
	Entry Entry
}

// ReadSize is how many entries Each reads at a time.
const ReadSize = 256

// Each calls f with every entry that read returns: Live's or Waiting's, after a recording,
// at most limit of them. Neither memory nor a transaction grows with the inbox. Each ends
// with the first error.
func Each(read func(after string, limit int) ([]KeyedEntry, error), f func(KeyedEntry) error) error {
	for after := ""; ; {
		entries, err := read(after, ReadSize)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f(e); err != nil {
				return err
			}
			after = e.Key.Recording
		}
		if len(entries) < ReadSize {
			return nil
		}
	}
}

// Apply applies the change to old, the present entry of key k; nil if there is none. It
// returns the entry to store, and the event to record, nil if the change makes none. Its
// errors are those of Move. See transition for the changes beside the edit.
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
