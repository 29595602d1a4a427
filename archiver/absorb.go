package archiver

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// listingLag is how long a recording may stay listed after its deletion was accepted.
// After that the deletion counts as not done.
const listingLag = 24 * time.Hour

// absorb writes the recordings of a page into the ledger, in one transaction. A page on
// which every recording is archived and unchanged costs no transaction.
func (p *pass) absorb(ctx context.Context, page []genesys.Recording) (known int64, err error) {
	page, known, err = p.unsettled(ctx, page)
	if err != nil || len(page) == 0 {
		return known, err
	}
	now := time.Now().UTC()
	settled := known
	var waiting []string
	err = p.claim.List(ctx, idsOf(page), func(get func(string) (state.Entry, bool)) []state.Change {
		known, waiting = settled, nil
		var changes []state.Change
		for _, r := range page {
			e, _ := get(r.ID)
			to, edit := p.sighted(e, r, now)
			if edit != nil {
				changes = append(changes, state.Change{Recording: r.ID, From: e.State, To: to, Edit: edit})
			}
			if to.Expected() {
				known++
			}
			if to == state.StateListed {
				waiting = append(waiting, cmp.Or(e.MediaKey, p.keys.Media(r.ID, r.DateCreated, p.in.Format)))
			}
		}
		return changes
	})
	for _, key := range waiting {
		p.places.wait(key)
	}
	return known, p.written(err)
}

// unsettled returns the recordings of a page without those that are archived as they are
// listed, and the number of those.
func (p *pass) unsettled(ctx context.Context, page []genesys.Recording) (rest []genesys.Recording, settled int64, err error) {
	archived, err := p.Ledger.Archived(ctx, p.in.Org, p.in.ID, idsOf(page))
	if err != nil {
		return nil, 0, failure.OfLedger(err)
	}
	for i, r := range page {
		date, fingerprint, _ := strings.Cut(archived[i], " ")
		if date == "" || differs(date, fingerprint, r) {
			rest = append(rest, r)
		}
	}
	return rest, int64(len(page) - len(rest)), nil
}

func idsOf(page []genesys.Recording) []string {
	ids := make([]string, len(page))
	for i, r := range page {
		ids[i] = r.ID
	}
	return ids
}

// sighted returns what becomes of an entry whose recording is listed: the state, and the
// change, nil if there is none. The zero Entry stands for an unknown recording.
func (v *visit) sighted(e state.Entry, r genesys.Recording, now time.Time) (state.State, func(*state.Entry)) {
	relist := func(e *state.Entry) { v.fill(e, r, now) }
	found := func(e *state.Entry) { e.MissingSince = time.Time{} }
	if e.Disposal() != nil {
		return e.State, nil
	}
	switch changed := differs(e.Newest().DateModified, e.Newest().Fingerprint, r); e.State {
	case "", state.StateVanished:
		return state.StateListed, relist
	case state.StateListed, state.StateFailed:
		if differs(e.DateModified, e.Fingerprint, r) {
			if e.Changes >= maxChanges && now.Before(e.NextAttempt) {
				return e.State, relist // it still waits
			}
			return state.StateListed, relist
		}
		if !e.MissingSince.IsZero() {
			return e.State, found
		}
	case state.StateWaived:
		if !e.MissingSince.IsZero() || differs(e.DateModified, e.Fingerprint, r) {
			return state.StateListed, relist
		}
	case state.StateArchived:
		if changed {
			return v.changed(e, r, now)
		}
		if !e.MissingSince.IsZero() || e.Changes > 0 {
			return e.State, func(e *state.Entry) { e.MissingSince, e.Changes = time.Time{}, 0 }
		}
	case state.StateDeleteRequested, state.StateDeleted:
		if changed {
			return state.StateListed, relist
		}
		if now.Sub(e.DeleteRequestedAt) > listingLag {
			v.log.Warn("still listed a day after its deletion was accepted", "recording", r.ID)
			return state.StateArchived, found
		}
	case state.StateGone:
		if changed {
			return state.StateListed, relist
		}
		return state.StateArchived, found
	}
	return e.State, nil
}

// maxChanges is how many passes in a row may find an archived recording changed before it
// waits.
const maxChanges = 5

// changed returns what becomes of an archived recording that changed: it is archived
// again. If it changed in each of the last passes, it needs a person, and waits for a day,
// then for longer. Otherwise a platform that changes recordings when they are downloaded
// would have them downloaded for ever.
func (v *visit) changed(e state.Entry, r genesys.Recording, now time.Time) (state.State, func(*state.Entry)) {
	relist := func(e *state.Entry) {
		v.fill(e, r, now)
		e.Changes++
	}
	n := e.Changes + 1 - maxChanges
	if n < 0 {
		return state.StateListed, relist
	}
	return state.StateFailed, func(e *state.Entry) {
		relist(e)
		e.Attempts++
		e.LastError = fmt.Sprintf("changed in %d passes running: find out what changes it in Genesys Cloud; what was archived before stays", e.Changes)
		e.FailedSince, e.NeedsPerson = now, true
		e.NextAttempt = now.Add(changesDelay << min(n, 5))
	}
}

// changesDelay is how long a recording that keeps changing waits first.
const changesDelay = 24 * time.Hour

// fill copies what the listing says into the entry.
func (v *visit) fill(e *state.Entry, r genesys.Recording, now time.Time) {
	if e.ListedAt.IsZero() {
		e.ListedAt = now
	}
	if e.MediaKey == "" {
		e.MediaKey = v.keys.Media(r.ID, r.DateCreated, v.in.Format)
	}
	if differs(e.DateModified, e.Fingerprint, r) {
		e.Mismatches = 0 // those of another version do not count
	}
	record.Describe(e, r)
	e.DateModified, e.Fingerprint = r.DateModified, r.Fingerprint
	e.Raw, e.Expanded = r.Raw, v.walk.Expanded
	e.MissingSince = time.Time{}
}

// differs reports whether the recording that is shown now is another version than the one
// with this dateModified and fingerprint. An absent date and an unknown fingerprint prove
// no change.
func differs(date, fingerprint string, now genesys.Recording) bool {
	return changedSince(date, now.DateModified) || fingerprint != "" && now.Fingerprint != "" && fingerprint != now.Fingerprint
}
