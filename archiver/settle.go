package archiver

import (
	"context"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// Recordings disappear in mass if at least massCount of them, and more than a tenth of the
// inbox, disappear at once.
const massCount = 20

// settle handles the entries that this pass's complete walk did not see. If their deletion
// was requested, it is done. Others are marked the first time. If an earlier complete walk
// missed them too, and Genesys itself answers 404 for them, they are vanished or gone.
func (p *pass) settle(ctx context.Context) error {
	if !p.confirmed() {
		return nil
	}
	var twice []state.KeyedEntry
	err := p.eachLive(ctx, p.walk.Saw, func(e state.KeyedEntry) error {
		switch {
		case e.Entry.Disposal() != nil:
		case e.Entry.State == state.StateDeleteRequested:
			return p.goOn(p.deleted(ctx, e))
		case e.Entry.MissingSince.IsZero():
			_, err := p.move(ctx, e.Key, e.Entry.State, e.Entry.State, func(e *state.Entry) { e.MissingSince = p.record.Start })
			return p.goOn(err)
		case e.Entry.MissingSince.Before(p.record.Start):
			twice = append(twice, state.KeyedEntry{Key: e.Key, Entry: state.Entry{State: e.Entry.State}})
		}
		return nil
	})
	if err != nil || len(twice) == 0 {
		return err
	}
	return p.disappear(ctx, twice)
}

// settleShort ends requested deletions if the walk showed fewer recordings than Genesys
// counts. That such a walk did not see a recording proves nothing; a 404 of Genesys itself
// does.
func (p *pass) settleShort(ctx context.Context) error {
	if !p.confirmed() {
		return nil
	}
	return p.eachLive(ctx, p.walk.Saw, func(e state.KeyedEntry) error {
		if e.Entry.State != state.StateDeleteRequested {
			return nil
		}
		if err := p.stopped(); err != nil {
			return err
		}
		_, err := p.fetch(ctx, e.Key.Recording)
		if !genesys.AsError(err).NotFound() {
			return p.goOn(err)
		}
		return p.goOn(p.deleted(ctx, e))
	})
}

// deleted notes that Genesys has deleted a recording as it was asked to.
func (p *pass) deleted(ctx context.Context, e state.KeyedEntry) error {
	_, err := p.move(ctx, e.Key, e.Entry.State, state.StateDeleted, func(*state.Entry) {})
	if err == nil {
		p.count(func(r *state.Pass) { r.Deleted++ })
	}
	return err
}

// disappear handles the entries that two complete walks did not see.
func (p *pass) disappear(ctx context.Context, missing []state.KeyedEntry) error {
	inbox, err := p.Ledger.Inbox(ctx, p.in.Org, p.in.ID)
	if err != nil {
		return failure.OfLedger(err)
	}
	if n := int64(len(missing)); n >= massCount && n*10 > inbox.Expected() && !inbox.AcceptGone {
		return fmt.Errorf("%d of %d recordings disappeared from the inbox at once: nothing was called gone and nothing deleted. Find out why; if it is right, run: archiverd retry --accept-gone --org %s --inbox %s", n, inbox.Expected(), p.in.Org, p.in.ID)
	}
	if err := p.sameInbox(ctx); err != nil {
		return err
	}
	for _, e := range missing {
		if err := p.stopped(); err != nil {
			return err
		}
		if err := p.goOn(p.disappearOne(ctx, e)); err != nil {
			return err
		}
	}
	if !inbox.AcceptGone {
		return nil
	}
	return p.written(p.claim.EditInbox(ctx, func(i *state.Inbox) { i.AcceptGone = false }))
}

// disappearOne asks Genesys for one of them. Its error says what could not be found out;
// the next pass tries again.
func (p *pass) disappearOne(ctx context.Context, e state.KeyedEntry) error {
	log := p.log.With("recording", e.Key.Recording)
	_, err := p.fetch(ctx, e.Key.Recording)
	switch {
	case err == nil:
		log.Warn("the listing does not show a recording that exists")
		_, err := p.move(ctx, e.Key, e.Entry.State, e.Entry.State, func(e *state.Entry) { e.MissingSince = time.Time{} })
		return err
	case !genesys.AsError(err).NotFound():
		log.Warn("not known whether the recording still exists", failure.Attr(err))
		return err
	}
	if e.Entry.State != state.StateArchived {
		if e.Entry.State, err = p.adoptStored(ctx, e.Key, e.Entry.State); err != nil {
			log.Warn("deleted in Genesys, and not known whether its media were stored before", failure.Attr(err))
			return err
		}
	}
	to := state.StateVanished
	if e.Entry.State == state.StateArchived {
		to = state.StateGone
	}
	if _, err = p.move(ctx, e.Key, e.Entry.State, to, func(*state.Entry) {}); err != nil {
		return err
	}
	if to == state.StateGone {
		p.count(func(r *state.Pass) { r.Gone++ })
		return nil
	}
	log.Error("deleted in Genesys before it was archived")
	p.count(func(r *state.Pass) { r.Vanished++ })
	return nil
}

// adoptStored looks for media that were stored and not described before their original
// disappeared, and archives them with the metadata that the ledger has. It returns the
// entry's state. If that was changed since it was in state was, nothing is done.
func (p *pass) adoptStored(ctx context.Context, k state.Key, was state.State) (state.State, error) {
	found, err := p.Ledger.Entries(ctx, k.Org, k.Inbox, []string{k.Recording})
	if err != nil {
		return "", failure.OfLedger(err)
	}
	e := found[k.Recording]
	if e.State != was {
		return e.State, &state.ConflictError{Key: k, Have: e.State, Want: was}
	}
	t := &transfer{pass: p, key: k, entry: e}
	pl, err := t.place(ctx)
	if err != nil || pl.found == nil {
		return e.State, err
	}
	if len(e.Raw) > 0 {
		if t.rec, err = genesys.ParseRecording(e.Raw); err != nil {
			return e.State, err
		}
	}
	if err := t.adopt(ctx, *pl.found); err != nil {
		if failure.EndsPass(err) || failure.Temporary(err) {
			return e.State, err
		}
		p.log.Error("deleted in Genesys, and the media that were stored can't be archived", "recording", k.Recording, "error", err)
		return e.State, nil
	}
	return state.StateArchived, nil
}
