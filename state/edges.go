package state

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Edge is one change of state that a ledger allows.
type Edge struct{ From, To State }

// edges are all edges. An edge from a state to itself edits the entry, for instance
// its MissingSince or its Acts.
var edges = [...]Edge{
	{"", StateListed},

	{StateListed, StateListed},
	{StateListed, StateArchived},
	{StateListed, StateFailed},
	{StateListed, StateVanished},
	{StateListed, StateWaived},

	{StateFailed, StateFailed},
	{StateFailed, StateListed},
	{StateFailed, StateArchived},
	{StateFailed, StateVanished},
	{StateFailed, StateWaived},

	{StateArchived, StateArchived},
	{StateArchived, StateDeleteRequested},
	{StateArchived, StateGone},
	{StateArchived, StateListed}, // the recording changed
	{StateArchived, StateFailed}, // the recording keeps changing
	{StateArchived, StateErased},
	{StateArchived, StateExpired},

	{StateDeleteRequested, StateDeleteRequested},
	{StateDeleteRequested, StateDeleted},
	{StateDeleteRequested, StateArchived}, // the recording is still listed: the request had no effect
	{StateDeleteRequested, StateListed},

	{StateDeleted, StateDeleted},
	{StateDeleted, StateListed},
	{StateDeleted, StateArchived},
	{StateDeleted, StateErased},
	{StateDeleted, StateExpired},

	{StateGone, StateGone},
	{StateGone, StateListed},
	{StateGone, StateArchived},
	{StateGone, StateErased},
	{StateGone, StateExpired},

	{StateVanished, StateVanished},
	{StateVanished, StateListed},
	{StateVanished, StateWaived},

	{StateWaived, StateWaived},
	{StateWaived, StateListed},
	{StateWaived, StateErased}, // of its earlier versions
	{StateWaived, StateExpired},

	{StateErased, StateErased},   // removed once more
	{StateExpired, StateExpired}, // certified, or removed once more
}

// Edges returns the whole table. The caller owns it.
func Edges() []Edge { return slices.Clone(edges[:]) }

// Allowed reports whether the table has an edge from one state to another.
func Allowed(from, to State) bool {
	for _, e := range edges {
		if e == (Edge{from, to}) {
			return true
		}
	}
	return false
}

// ConflictError says that an entry was not in the state that the caller expected.
// Nothing was changed.
type ConflictError struct {
	Key        Key
	Have, Want State // "" stands for no entry
}

func (e *ConflictError) Error() string {
	name := func(s State) State {
		if s == "" {
			return "not in the ledger"
		}
		return s
	}
	return fmt.Sprintf("%s is %s, expected %s", e.Key, name(e.Have), name(e.Want))
}

// transition returns old (nil: there is no entry) as it becomes in state to, with edit
// applied. Beside the edit it does this:
//
//   - If the entry enters listed or archived from another state, transition first clears
//     LastError, FailedSince, NextAttempt, NeedsPerson, MissingSince and
//     DeleteRequestedAt, which describe the past. Attempts, Mismatches, Changes, Twin and
//     DeleteAttempts stay. Then edit runs, and its values are kept.
//   - In archived, delete_requested, deleted and gone, Raw and Expanded are dropped after
//     the edit: the manifest now holds the recording.
//   - In erased and expired, everything that may tell of a person is dropped after the edit.
//   - In waived, NeedsPerson and NextAttempt are dropped: nothing is left to do.
//   - A new entry without ListedAt gets now.
//
// It refuses an entry that breaks a promise: see checkHistory, checkActs and Entry.Check.
func transition(old *Entry, to State, edit func(*Entry), now time.Time) (*Entry, error) {
	if old == nil {
		old = &Entry{}
	}
	copied := old.Clone()
	e := &copied
	if e.State != to && (to == StateListed || to == StateArchived) {
		e.LastError, e.NeedsPerson = "", false
		e.FailedSince, e.NextAttempt, e.MissingSince, e.DeleteRequestedAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	if edit != nil {
		edit(e)
	}
	e.State = to
	switch {
	case to.Stored():
		e.Raw, e.Expanded = nil, false
	case to.Disposed():
		e.forget()
	case to == StateWaived:
		e.NeedsPerson, e.NextAttempt = false, time.Time{}
	}
	if e.ListedAt.IsZero() {
		e.ListedAt = now
	}
	if err := errors.Join(checkHistory(old, e), checkActs(old, e), e.Check()); err != nil {
		return nil, err
	}
	return e, nil
}

// checkHistory refuses a change that would lose the record of an object in the archive.
func checkHistory(old, e *Entry) error {
	if old.MediaKey != "" && e.MediaKey != old.MediaKey {
		return fmt.Errorf("%w: media key changed from %q to %q", ErrInvalid, old.MediaKey, e.MediaKey)
	}
	if len(e.Versions) < len(old.Versions) {
		return fmt.Errorf("%w: %d versions left of %d", ErrInvalid, len(e.Versions), len(old.Versions))
	}
	if n := len(old.BadKeys); len(e.BadKeys) < n || !slices.Equal(e.BadKeys[:n], old.BadKeys) {
		return fmt.Errorf("%w: bad keys %q became %q", ErrInvalid, old.BadKeys, e.BadKeys)
	}
	for i, was := range old.Versions {
		is := e.Versions[i]
		if is.MediaKey != was.MediaKey || is.Size != was.Size || is.SHA256 != was.SHA256 {
			return fmt.Errorf("%w: version %d changed its media", ErrInvalid, i+1)
		}
		if is.RetainUntil.Before(was.RetainUntil) {
			return fmt.Errorf("%w: version %d is retained until %v, no longer until %v", ErrInvalid, i+1, is.RetainUntil, was.RetainUntil)
		}
	}
	return nil
}
