package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Chain is an inbox's journal in the bucket.
type Chain struct {
	Bucket Bucket
	Keys   Keys
}

// JournalFault is a place where a journal is not the unbroken chain that was written. Its
// kind is missing, altered, forked, foreign (torn included) or lock.
type JournalFault struct {
	Kind   Fault  `json:"fault"`
	Key    string `json:"key"`
	SHA256 string `json:"sha256,omitempty"` // of the object at the key; "": there is no object
	Detail string `json:"detail"`
}

// Accepted reports whether a person has accepted the object. The acceptance covers the
// object's bytes, not the kind of fault, which may change when later passes add objects.
// A short lock is not covered: it can be repaired by locking the object again.
func (f JournalFault) Accepted(in state.Inbox) bool {
	return f.Kind != FaultLock && slices.ContainsFunc(in.AcceptedFaults, func(a state.AcceptedFault) bool { return a.Key == f.Key && a.SHA256 == f.SHA256 })
}

// Walk calls f with the objects of an inbox's journal, oldest first, and returns the
// faults of their chain. It goes on after a fault, and f gets every object that can be
// read. head is the newest object that the ledger knows, which must be among them.
// Without a head, Walk cannot notice that the newest objects were removed, nor that the
// newest object's lock is too short. The error is f's, or the store's.
func (c Chain) Walk(ctx context.Context, head state.JournalHead, f func(state.JournalHead, *Journal) error) ([]JournalFault, error) {
	fault := &JournalFault{FaultMissing, head.Key, "", "the ledger names it as the newest"}
	faults, err := c.After(ctx, state.JournalHead{}, c.Read, func(at state.JournalHead, j *Journal) (err error) {
		switch {
		case at.Key != head.Key:
		case at.SHA256 != head.SHA256:
			fault = &JournalFault{FaultAltered, at.Key, at.SHA256, fmt.Sprintf("has the SHA-256 %s, the ledger names %s", at.SHA256, head.SHA256)}
		default:
			fault, err = c.CheckLock(ctx, at, LockOf(head))
		}
		if err != nil {
			return err
		}
		return f(at, j)
	})
	reported := fault != nil && slices.ContainsFunc(faults, func(f JournalFault) bool {
		return f.Key == head.Key && (f.Kind == FaultLock) == (fault.Kind == FaultLock)
	})
	if err != nil || head.Key == "" || fault == nil || reported {
		return faults, err
	}
	return append(faults, *fault), nil
}

// ErrUnread tells the walk to skip an object that could not be read.
var ErrUnread = errors.New("the object can't be read")

type journalReader func(ctx context.Context, key string) (state.JournalHead, []byte, error)

// After walks the objects after from; with the zero value, all objects. It reports no
// fault of an object for which read returns ErrUnread.
func (c Chain) After(ctx context.Context, from state.JournalHead, read journalReader, f func(state.JournalHead, *Journal) error) ([]JournalFault, error) {
	var faults []JournalFault
	prev, torn, unread := from, state.JournalHead{}, ""
	for o, err := range c.Bucket.ListAfter(ctx, c.Keys.journal(), from.Key) {
		if err != nil {
			return faults, err
		}
		at, text, err := read(ctx, o.Key)
		if errors.Is(err, ErrUnread) {
			unread = o.Key
			continue
		}
		if err != nil {
			return faults, err
		}
		j, err := DecodeJournal(text)
		if _, named := JournalStart(o.Key); err == nil && (!named || j.Organization != c.Keys.Org || j.Inbox != c.Keys.Inbox) {
			err = errors.New("it belongs to another place")
		}
		if err != nil {
			torn = at
			faults = append(faults, JournalFault{FaultForeign, at.Key, at.SHA256, err.Error()})
			continue
		}
		var fault *JournalFault
		if j.Previous == nil || j.Previous.Key != unread {
			if fault, err = c.checkLink(ctx, prev, torn, at, j.Previous); err != nil {
				return faults, err
			}
		}
		if fault != nil {
			if n := len(faults); n > 0 && faults[n-1].Kind == FaultForeign && faults[n-1].Key == fault.Key {
				faults = faults[:n-1] // the object that seemed foreign is a torn object of the chain
			}
			faults = append(faults, *fault)
		}
		if err := f(at, j); err != nil {
			return faults, err
		}
		prev = at
	}
	return faults, nil
}

// checkLink compares what the object at says of its previous object and that object's
// lock with the object before it: prev, or torn, an unreadable object after prev.
func (c Chain) checkLink(ctx context.Context, prev, torn, at state.JournalHead, says *JournalLink) (*JournalFault, error) {
	altered := func(o state.JournalHead) *JournalFault {
		return &JournalFault{FaultAltered, o.Key, o.SHA256, fmt.Sprintf("does not have the SHA-256 %s that the next object, %s, names", says.SHA256, at.Key)}
	}
	switch {
	case says == nil && prev.Key == "":
		return nil, nil
	case says == nil:
		return &JournalFault{FaultForked, at.Key, at.SHA256, "names no previous object, but is not the first"}, nil
	case says.Key == prev.Key && says.SHA256 == prev.SHA256:
		return c.CheckLock(ctx, prev, storage.Retention(says.Retention))
	case says.Key == prev.Key:
		return altered(prev), nil
	case says.Key == torn.Key:
		return altered(torn), nil
	}
	_, err := c.Bucket.Head(ctx, says.Key, "")
	if errors.Is(err, storage.ErrNotFound) {
		return &JournalFault{FaultMissing, says.Key, "", "the next object, " + at.Key + ", names it"}, nil
	}
	return &JournalFault{FaultForked, at.Key, at.SHA256, fmt.Sprintf("follows %s, which another object follows too: two archiverds work on this inbox, or one continued with an old ledger", says.Key)}, err
}

// CheckLock compares the lock that a GET showed of an object with the recorded lock. If
// it is shorter or weaker, a HEAD decides: versitygw shows no lock in reply to a GET. The
// fault is nil if the lock is neither.
func (c Chain) CheckLock(ctx context.Context, at state.JournalHead, recorded storage.Retention) (*JournalFault, error) {
	if ShortLock(LockOf(at), recorded) == "" {
		return nil, nil
	}
	obj, err := c.Bucket.Head(ctx, at.Key, at.VersionID)
	if err != nil {
		return nil, err
	}
	if short := ShortLock(obj.Retention, recorded); short != "" {
		return &JournalFault{FaultLock, at.Key, at.SHA256, short}, nil
	}
	return nil, nil
}

// Read returns one object of the journal: its head and its text.
func (c Chain) Read(ctx context.Context, key string) (state.JournalHead, []byte, error) {
	text, obj, err := ReadSmall(ctx, c.Bucket, key, maxJournal)
	if err != nil {
		return state.JournalHead{}, nil, err
	}
	sum := sha256.Sum256(text)
	return HeadOf(obj, hex.EncodeToString(sum[:])), text, nil
}
