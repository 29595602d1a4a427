package state

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Act is what a person did with a recording, beside archiving it: who, when, why and what.
// All recordings that one command acted on have the same Act.
type Act struct {
	ID        string    `json:"id"` // of the command's run, random
	Kind      ActKind   `json:"kind"`
	Case      string    `json:"case,omitempty"` // of hold and release: the case's name
	By        string    `json:"by"`             // the person
	At        time.Time `json:"at"`
	Reason    string    `json:"reason"`
	Authority string    `json:"authority,omitempty"` // of erase: the request or order
	Mode      string    `json:"mode,omitempty"`      // of retain: "GOVERNANCE" or "COMPLIANCE", for objects that had no retention
	Until     time.Time `json:"until,omitzero"`      // of retain: the earliest end of the retention

	Certificate Certificate `json:"certificate,omitzero"` // of certify
}

// Certificate names two objects in the archive that certify a disposal, and their hashes.
type Certificate struct {
	Key        string `json:"key"`         // of the JSON; the page stands beside it, with the extension html
	SHA256     string `json:"sha256"`      // of the JSON, in hex
	PageSHA256 string `json:"page_sha256"` // of the page, in hex
}

// ActKind says what an act does.
type ActKind string

// The kinds of acts.
const (
	ActHold    ActKind = "hold"    // a case holds the recording
	ActRelease ActKind = "release" // the case holds it no more
	ActRetain  ActKind = "retain"  // all versions that are there are kept until Until at least
	ActErase   ActKind = "erase"   // media and manifests are removed from the archive, by an order
	ActExpire  ActKind = "expire"  // media and manifests are removed, because their retention has ended
	ActWaive   ActKind = "waive"   // a person accepts that the recording is not archived
	ActCertify ActKind = "certify" // a certificate says what became of the recordings that the act expire was about
)

// Disposes reports whether the act removes a recording from the archive.
func (k ActKind) Disposes() bool { return k == ActErase || k == ActExpire }

// Do adds the act to the entry. An act to retain also extends the retention of the versions
// that were archived before it. An act that the entry has already changes nothing. Edits call
// Do; the change's Event then carries the act.
func (a Act) Do(e *Entry) {
	if slices.ContainsFunc(e.Acts, func(b Act) bool { return b.ID == a.ID }) {
		return
	}
	e.Acts = append(e.Acts, a)
	if a.Kind != ActRetain {
		return
	}
	for i := range e.Versions {
		v := &e.Versions[i]
		if v.ArchivedAt.IsZero() || v.ArchivedAt.After(a.At) {
			continue // it was not there yet: a rebuild enters versions first, then their acts
		}
		if v.RetainUntil.Before(a.Until) {
			v.RetainUntil = a.Until
		}
		if v.RetentionMode == "" {
			v.RetentionMode = a.Mode
		}
	}
}

func (a Act) check() error {
	switch a.Kind {
	case ActHold, ActRelease:
		if a.Case == "" || strings.ContainsFunc(a.Case, unicode.IsControl) || !utf8.ValidString(a.Case) {
			return fmt.Errorf("%s for the case %q", a.Kind, a.Case)
		}
	case ActRetain:
		if a.Until.IsZero() || a.Mode == "" {
			return fmt.Errorf("%s until %v in mode %q", a.Kind, a.Until, a.Mode)
		}
	case ActErase:
		if a.Authority == "" {
			return fmt.Errorf("%s without an authority", a.Kind)
		}
	case ActCertify:
		if a.Certificate.Key == "" || !isSHA256(a.Certificate.SHA256) || !isSHA256(a.Certificate.PageSHA256) {
			return fmt.Errorf("%s %+v", a.Kind, a.Certificate)
		}
	case ActExpire, ActWaive:
	default:
		return fmt.Errorf("%q", a.Kind)
	}
	if a.ID == "" || a.By == "" || a.At.IsZero() || a.Reason == "" {
		return fmt.Errorf("%s %q by %q at %v with the reason %q", a.Kind, a.ID, a.By, a.At, a.Reason)
	}
	return nil
}

// Cases returns the names of the cases that hold the recording, sorted.
func (e *Entry) Cases() []string {
	var cases []string
	for _, a := range e.Acts {
		at, held := slices.BinarySearch(cases, a.Case)
		switch {
		case a.Kind == ActHold && !held:
			cases = slices.Insert(cases, at, a.Case)
		case a.Kind == ActRelease && held:
			cases = slices.Delete(cases, at, at+1)
		}
	}
	return cases
}

// Disposal returns the act that removes the recording from the archive, or nil. The act is
// in the ledger before the first object is removed. Until the entry is erased or expired,
// the removal is under way, or was interrupted: the same command finishes it.
func (e *Entry) Disposal() *Act {
	i := slices.IndexFunc(e.Acts, func(a Act) bool { return a.Kind.Disposes() })
	if i < 0 {
		return nil
	}
	return &e.Acts[i]
}

// checkActs refuses a change that an act does not allow.
func checkActs(old, e *Entry) error {
	n, entered := len(old.Acts), old.State != e.State
	if len(e.Acts) < n || !slices.Equal(old.Acts, e.Acts[:n]) {
		return fmt.Errorf("%w: an act was changed or removed", ErrInvalid)
	}
	acts := e.Acts[n:]
	waives := len(acts) > 0 && acts[0].Kind == ActWaive
	switch {
	case len(acts) > 1:
		return fmt.Errorf("%w: %d acts in one change", ErrInvalid, len(acts))
	case waives != (entered && e.State == StateWaived):
		return fmt.Errorf("%w: a recording is waived by the act to waive it, and by no other", ErrInvalid)
	case len(acts) > 0 && entered && !waives:
		return fmt.Errorf("%w: an act to %s does not change %q to %q", ErrInvalid, acts[0].Kind, old.State, e.State)
	case e.State == StateDeleteRequested && entered && (len(e.Cases()) > 0 || e.Disposal() != nil):
		return fmt.Errorf("%w: %w: the original of a recording that is held or disposed of is not deleted", ErrInvalid, ErrOrdered)
	}
	switch act := old.Disposal(); {
	case act == nil && e.State.Disposed():
		return fmt.Errorf("%w: %s without an act before it", ErrInvalid, e.State)
	case act == nil && e.Disposal() != nil && !Allowed(e.State, StateErased):
		return fmt.Errorf("%w: a recording that is %s can't be disposed of", ErrInvalid, e.State)
	case act != nil && (entered && !e.State.Disposed() || len(e.Versions) > len(old.Versions)):
		return fmt.Errorf("%w: %w: the recording is being disposed of, and can't become %s", ErrInvalid, ErrOrdered, e.State)
	}
	return nil
}

// checkDisposal returns what in the entry's acts contradicts its state.
func (e *Entry) checkDisposal() error {
	act := e.Disposal()
	want := map[State]ActKind{StateErased: ActErase, StateExpired: ActExpire}[e.State]
	switch {
	case e.State.Disposed() && (act == nil || act.Kind != want):
		return fmt.Errorf("%w: %s, and no act to %s it", ErrInvalid, e.State, want)
	case e.State.Disposed() && (e.Name != "" || e.ConversationID != "" || len(e.Participants)+len(e.Raw) > 0):
		return fmt.Errorf("%w: %s with personal data", ErrInvalid, e.State)
	case act == nil:
		return nil
	case len(e.Cases()) > 0:
		return fmt.Errorf("%w: disposed of, and held by %q", ErrInvalid, e.Cases())
	case len(e.Versions) == 0:
		return fmt.Errorf("%w: disposed of without a version", ErrInvalid)
	}
	return nil
}

// forget drops from an entry what may tell of a person.
func (e *Entry) forget() {
	e.Name, e.ConversationID, e.Fingerprint, e.LastError = "", "", "", ""
	e.Participants, e.Milliseconds = nil, 0
	e.Raw, e.Expanded = nil, false
	e.Twin, e.TwinAsked = "", false
	e.NeedsPerson, e.FailedSince, e.NextAttempt = false, time.Time{}, time.Time{}
	for i := range e.Versions {
		e.Versions[i].Held = false
	}
}
