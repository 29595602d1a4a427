package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// JournalFault is where a journal is not the unbroken chain that was written.
type JournalFault struct {
	Kind   JournalFaultKind `json:"fault"`
	Key    string           `json:"key"`
	SHA256 string           `json:"sha256,omitempty"` // of what stands there; "": nothing does
	Detail string           `json:"detail"`
}

// accepted tells whether a person has accepted what stands there. A pass that goes on
// after it may show it as another kind of fault: the bytes are what was accepted. A lock
// is none of them, and can be mended.
func (f JournalFault) accepted(in state.Inbox) bool {
	return f.Kind != JournalLock && slices.ContainsFunc(in.AcceptedFaults, func(a state.AcceptedFault) bool { return a.Key == f.Key && a.SHA256 == f.SHA256 })
}

// JournalFaultKind says what is wrong with an object of a journal.
type JournalFaultKind string

// The kinds of faults.
const (
	JournalMissing JournalFaultKind = "missing" // another object, or the ledger, names it, and it is not there
	JournalAltered JournalFaultKind = "altered" // it has not the SHA-256 by which it is named
	JournalForked  JournalFaultKind = "forked"  // it follows an object that another one follows already
	JournalForeign JournalFaultKind = "foreign" // it is no journal object of this inbox, or a torn one
	JournalLock    JournalFaultKind = "lock"    // its retention is shorter or weaker than recorded
)

// WalkJournal calls f with the objects of an inbox's journal, oldest first, and gives
// what is wrong with their chain. It goes on after a fault, and f gets every object
// that can be read. head is the newest object that the ledger knows of: it must be
// among them; without one, nothing tells that the newest objects were taken away, and
// nothing of the newest one's lock. The error is f's, or the store's.
func (a *Archiver) WalkJournal(ctx context.Context, org, inbox string, head state.JournalHead, f func(state.JournalHead, *Journal) error) ([]JournalFault, error) {
	fault := &JournalFault{JournalMissing, head.Key, "", "the ledger names it as the newest"}
	faults, err := a.walkJournal(ctx, org, inbox, state.JournalHead{}, a.readJournal, func(at state.JournalHead, j *Journal) (err error) {
		switch {
		case at.Key != head.Key:
		case at.SHA256 != head.SHA256:
			fault = &JournalFault{JournalAltered, at.Key, at.SHA256, fmt.Sprintf("has the SHA-256 %s, the ledger names %s", at.SHA256, head.SHA256)}
		default:
			fault, err = a.checkJournalLock(ctx, at, lockOf(head))
		}
		if err != nil {
			return err
		}
		return f(at, j)
	})
	said := fault != nil && slices.ContainsFunc(faults, func(f JournalFault) bool {
		return f.Key == head.Key && (f.Kind == JournalLock) == (fault.Kind == JournalLock)
	})
	if err != nil || head.Key == "" || fault == nil || said {
		return faults, err
	}
	return append(faults, *fault), nil
}

// AcceptJournal keeps in the ledger that a person accepts what is wrong with an inbox's
// journal now, and gives what that is. The journal itself tells it with the next pass;
// what is wrong later is not accepted by it. No pass over the inbox may be under way.
func (a *Archiver) AcceptJournal(ctx context.Context, org, inbox string) (faults []JournalFault, err error) {
	in, err := a.Ledger.Inbox(org, inbox)
	if err != nil {
		return nil, &ledgerError{err}
	}
	faults, err = a.WalkJournal(ctx, org, inbox, in.Journal, func(state.JournalHead, *Journal) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("read the inbox's journal: %w", err)
	}
	faults = slices.DeleteFunc(faults, func(f JournalFault) bool { return f.Kind == JournalLock || f.accepted(in) })
	var accepted []state.AcceptedFault
	for _, f := range faults {
		accepted = append(accepted, state.AcceptedFault{Key: f.Key, SHA256: f.SHA256, Fault: clip(fmt.Sprintf("%s: %s", f.Kind, f.Detail))})
	}
	if err := a.Ledger.AcceptFaults(org, inbox, accepted); err != nil {
		return nil, &ledgerError{err}
	}
	return faults, nil
}

// errUnread is of an object without which a walk is to go on.
var errUnread = errors.New("the object can't be read")

type journalReader func(ctx context.Context, key string) (state.JournalHead, []byte, error)

// walkJournal walks what comes after one object, the zero value for all. Nothing is said
// of an object that read has errUnread for.
func (a *Archiver) walkJournal(ctx context.Context, org, inbox string, from state.JournalHead, read journalReader, f func(state.JournalHead, *Journal) error) ([]JournalFault, error) {
	var faults []JournalFault
	prev, torn, unread := from, state.JournalHead{}, ""
	for o, err := range a.Bucket.ListAfter(ctx, keyspace{a.Prefix, org, inbox}.journal(), from.Key) {
		if err != nil {
			return faults, err
		}
		at, text, err := read(ctx, o.Key)
		if errors.Is(err, errUnread) {
			unread = o.Key
			continue
		}
		if err != nil {
			return faults, err
		}
		j, err := DecodeJournal(text)
		if _, named := journalStart(o.Key); err == nil && (!named || j.Organization != org || j.Inbox != inbox) {
			err = errors.New("it belongs to another place")
		}
		if err != nil {
			torn = at
			faults = append(faults, JournalFault{JournalForeign, at.Key, at.SHA256, err.Error()})
			continue
		}
		var fault *JournalFault
		if j.Previous == nil || j.Previous.Key != unread {
			if fault, err = a.checkLink(ctx, prev, torn, at, j.Previous); err != nil {
				return faults, err
			}
		}
		if fault != nil {
			if n := len(faults); n > 0 && faults[n-1].Kind == JournalForeign && faults[n-1].Key == fault.Key {
				faults = faults[:n-1] // what seemed foreign is a torn object of the chain
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

// checkLink compares what the object at says of the one before, and of its lock, with
// what came before: prev, or torn between the two.
func (a *Archiver) checkLink(ctx context.Context, prev, torn, at state.JournalHead, says *JournalLink) (*JournalFault, error) {
	altered := func(o state.JournalHead) *JournalFault {
		return &JournalFault{JournalAltered, o.Key, o.SHA256, fmt.Sprintf("has not the SHA-256 %s that the next object, %s, names", says.SHA256, at.Key)}
	}
	switch {
	case says == nil && prev.Key == "":
		return nil, nil
	case says == nil:
		return &JournalFault{JournalForked, at.Key, at.SHA256, "begins a journal, but does not come first"}, nil
	case says.Key == prev.Key && says.SHA256 == prev.SHA256:
		return a.checkJournalLock(ctx, prev, storage.Retention(says.Retention))
	case says.Key == prev.Key:
		return altered(prev), nil
	case says.Key == torn.Key:
		return altered(torn), nil
	}
	_, err := a.Bucket.Head(ctx, says.Key, "")
	if errors.Is(err, storage.ErrNotFound) {
		return &JournalFault{JournalMissing, says.Key, "", "the next object, " + at.Key + ", names it"}, nil
	}
	return &JournalFault{JournalForked, at.Key, at.SHA256, fmt.Sprintf("follows %s, as another object does: two archiverds work on this inbox, or one went on from an old ledger", says.Key)}, err
}

// checkJournalLock compares the lock that a GET showed of an object with the recorded
// one. Where that falls short HEAD decides: versitygw shows no lock to a GET.
func (a *Archiver) checkJournalLock(ctx context.Context, at state.JournalHead, recorded storage.Retention) (*JournalFault, error) {
	if shortLock(lockOf(at), recorded) == "" {
		return nil, nil
	}
	obj, err := a.Bucket.Head(ctx, at.Key, at.VersionID)
	if err != nil {
		return nil, err
	}
	if short := shortLock(obj.Retention, recorded); short != "" {
		return &JournalFault{JournalLock, at.Key, at.SHA256, short}, nil
	}
	return nil, nil
}

func lockOf(at state.JournalHead) storage.Retention {
	return storage.Retention{Mode: at.RetentionMode, Until: at.RetainUntil}
}

func (a *Archiver) readJournal(ctx context.Context, key string) (state.JournalHead, []byte, error) {
	text, obj, err := readSmall(ctx, a.Bucket, key, maxJournal)
	if err != nil {
		return state.JournalHead{}, nil, err
	}
	sum := sha256.Sum256(text)
	return journalHead(obj, hex.EncodeToString(sum[:])), text, nil
}

// DecodeJournal reads a stored journal object, strictly: what it has beside the form
// that is known here was not written by archiverd.
func DecodeJournal(text []byte) (*Journal, error) {
	var j Journal
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		return nil, fmt.Errorf("decode journal: %w", err)
	}
	switch {
	case j.SchemaVersion != JournalVersion:
		return nil, fmt.Errorf("decode journal: version %d is not known to this archiverd", j.SchemaVersion)
	case strings.TrimSpace(string(text[d.InputOffset():])) != "":
		return nil, errors.New("decode journal: more than one JSON value")
	case j.Ledger == "" || j.Previous != nil && j.Previous.Key == "":
		return nil, errors.New("decode journal: it names no ledger, or no object before")
	}
	return &j, nil
}

// journal returns what the keys of an inbox's journal begin with.
func (k keyspace) journal() string {
	return k.prefix + "/journal/org=" + k.org + "/inbox=" + escapeID(k.inbox) + "/"
}

// journalStart reads the time that names a journal object.
func journalStart(key string) (time.Time, bool) {
	name, ok := strings.CutSuffix(path.Base(key), ".json")
	t, err := time.Parse(journalTime, name)
	return t, ok && err == nil
}
