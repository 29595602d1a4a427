package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

const (
	// begunPerWorker bounds the recordings that one pass has begun and not finished.
	begunPerWorker = 16
	// downStreak is the number of recordings in a row that fail temporarily when a service
	// counts as down.
	downStreak = 5
	// Every pass tries a recording again until it has failed eagerTries times. After that the
	// waits grow, up to maxDelay. A deletion that was refused waits from the first refusal
	// on.
	eagerTries = 3
	firstDelay = 15 * time.Minute
	maxDelay   = 12 * time.Hour
	// personAfter is how long a recording has failed when it needs a person.
	personAfter = 7 * 24 * time.Hour
)

// transferAll archives the recordings that wait in the ledger. A failure of one recording
// is written into the ledger. A failure that every other recording would meet too halts
// the pass: transfers under way are finished, and transferAll returns the failure. It
// does likewise, with ErrYielded, once the pass has to yield.
func (p *pass) transferAll(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(p.maxBegun)
	begun, since := 0, time.Now()
	if err := p.mayTransfer(ctx); err != nil {
		return err
	}
	err := p.eachWaiting(ctx, func(e state.KeyedEntry) error {
		if e.Entry.Twin != "" {
			p.register.Note(e.Entry.Twin)
			return nil // askTwins asks for it
		}
		if !p.waits(e.Entry) {
			return nil
		}
		if err := p.stopped(); err != nil {
			return err
		}
		if p.slice > 0 && begun > 0 && time.Since(since) > p.slice {
			return ErrYielded
		}
		if begun == 0 {
			p.survey(ctx)
		}
		p.Tally.Found.Add(1)
		g.Go(func() error {
			if err := p.transferOne(ctx, e); err != nil {
				p.halt(err)
			}
			return nil
		})
		begun++
		return p.keepUp(ctx, begun)
	})
	_ = g.Wait() // no error: stopped has what ends the pass
	if halted := p.stopped(); halted != nil {
		return halted
	}
	return err
}

// mayTransfer asks the journal, if a recording waits, whether the ledger is behind. A
// journal that can't be read stops no transfer.
func (p *pass) mayTransfer(ctx context.Context) error {
	first, err := p.Ledger.Waiting(ctx, p.in.Org, p.in.ID, "", 1)
	if err != nil || len(first) == 0 {
		return failure.OfLedger(err)
	}
	err = p.Journal.NotBehind(ctx, p.in.Org, p.in.ID)
	if err == nil || errors.Is(err, journal.ErrBehind) || failure.KindOf(err) == failure.KindLedger {
		return err
	}
	p.log.Warn("the journal could not be read; the end of the pass tries again", "error", err)
	return nil
}

// eachLive calls f with every live entry of the inbox, except those for which skip, if set,
// returns true.
func (p *pass) eachLive(ctx context.Context, skip func(recording string) bool, f func(state.KeyedEntry) error) error {
	return state.Each(func(after string, limit int) ([]state.KeyedEntry, error) {
		all, err := p.Ledger.Live(ctx, p.in.Org, p.in.ID, after, limit, skip)
		return all, failure.OfLedger(err)
	}, f)
}

// eachWaiting calls f with every entry of the inbox that is listed or failed.
func (p *pass) eachWaiting(ctx context.Context, f func(state.KeyedEntry) error) error {
	return state.Each(func(after string, limit int) ([]state.KeyedEntry, error) {
		all, err := p.Ledger.Waiting(ctx, p.in.Org, p.in.ID, after, limit)
		return all, failure.OfLedger(err)
	}, f)
}

// waits reports whether an entry is due and has not failed in an earlier part of this pass.
func (p *pass) waits(e state.Entry) bool {
	failedInThis := p.goesOn && e.State == state.StateFailed && e.NextAttempt.After(p.record.Start)
	return p.due(e) && !failedInThis
}

// due reports whether a pass that begins now is to transfer an entry.
func (v *visit) due(e state.Entry) bool {
	now := time.Now()
	switch e.State {
	case state.StateListed:
		return !v.young(e, now)
	case state.StateFailed:
		return !now.Before(e.NextAttempt)
	}
	return false
}

// young reports whether a recording ended or was changed so recently that it may still
// change.
func (v *visit) young(e state.Entry, now time.Time) bool {
	if v.MinAge == 0 {
		return false
	}
	var lasted time.Duration
	if rec, err := genesys.ParseRecording(e.Raw); err == nil && rec.DurationMilliseconds != nil {
		lasted = time.Duration(min(*rec.DurationMilliseconds, int64(longest/time.Millisecond))) * time.Millisecond
	}
	created, ok := genesys.ParseTime(e.DateCreated)
	if ok && !created.After(now.Add(proof.MaxSkew)) && now.Sub(created.Add(lasted)) < v.MinAge {
		return true
	}
	modified, ok := genesys.ParseTime(e.DateModified)
	return ok && !modified.After(now.Add(proof.MaxSkew)) && now.Sub(modified) < v.MinAge
}

// longest is the longest duration in a recording's metadata that is believed when it says
// when the recording ended.
const longest = 24 * time.Hour

// transfer takes one recording into the archive.
type transfer struct {
	*pass
	key   state.Key
	entry state.Entry       // as the ledger has it
	rec   genesys.Recording // the metadata that go into the manifest
	turn  *turn             // of the attempt under way; nil: it needs none
}

// transferOne archives one recording. Its error ends the pass.
func (p *pass) transferOne(ctx context.Context, e state.KeyedEntry) error {
	t := &transfer{pass: p, key: e.Key, entry: e.Entry}
	log := p.log.With("recording", t.key.Recording)
	err := t.archive(ctx)
	if err != nil && ctx.Err() != nil {
		return failure.ErrStopped
	}
	if err == nil || failure.EndsPass(err) {
		return p.goOn(err)
	}
	if twin, ok := errors.AsType[*twinError](err); ok {
		return p.goOn(t.setAside(ctx, twin.sha256))
	}
	missed := p.record.Complete && !p.walk.Saw(t.key.Recording) // then settle deals with the recording
	if errors.Is(err, errMoved) && (t.entry.Attempts == 0 || missed) {
		log.Info("left to the next pass", "reason", err)
		return p.goOn(t.edit(ctx, t.entry.State, func(e *state.Entry) { e.Attempts++ }))
	}
	if err := t.fail(ctx, err); err != nil {
		return p.goOn(err)
	}
	log.Error("not archived", failure.Attr(err), "attempts", t.entry.Attempts+1)
	return p.goOn(err)
}

// archive takes the recording through the write order. It begins again if the place was
// taken meanwhile, or the media changed during the download.
func (t *transfer) archive(ctx context.Context) (err error) {
	if t.rec, err = t.metadata(ctx); err != nil {
		return err
	}
	for n := range failure.Tries {
		if err = t.attempt(ctx, n == 0 && t.fresh(t.entry)); !errors.Is(err, errAgain) {
			break
		}
	}
	return err
}

// errAgain says that what an attempt began with is no longer so.
var errAgain = errors.New("begin again")

// attempt looks for the recording's place, unless it is fresh. It adopts the media that are
// there, or downloads them.
func (t *transfer) attempt(ctx context.Context, fresh bool) error {
	var err error
	if t.turn, err = t.begin(ctx); err != nil {
		return err
	}
	defer t.turn.giveBack()
	if fresh {
		return t.download(ctx, place{key: record.Nth(t.entry.MediaKey, 1, t.in.Format), fresh: true})
	}
	pl, err := t.place(ctx)
	if err != nil {
		return err
	}
	if pl.found != nil {
		return t.adopt(ctx, *pl.found)
	}
	return t.download(ctx, pl)
}

// metadata returns the metadata that go into the manifest. If the listing was too large to
// hold the conversation, it asks for the recording singly.
func (t *transfer) metadata(ctx context.Context) (genesys.Recording, error) {
	if t.entry.Expanded {
		return genesys.ParseRecording(t.entry.Raw)
	}
	r, err := t.fetch(ctx, t.key.Recording)
	if genesys.AsError(err).NotFound() {
		return genesys.Recording{}, errMoved
	}
	if err != nil {
		return genesys.Recording{}, err
	}
	if changedSince(t.entry.DateModified, r.DateModified) {
		return genesys.Recording{}, fmt.Errorf("its dateModified is another now: %w", errMoved)
	}
	return *r, nil
}

// errMoved says that a recording is no longer what the listing showed. Once that is normal,
// because listing and transfer take time; it is a failure if the next pass meets it again.
var errMoved = errors.New("changed or deleted in Genesys since it was listed")

// keyed returns the entry with its key.
func (t *transfer) keyed() state.KeyedEntry { return state.KeyedEntry{Key: t.key, Entry: t.entry} }

// edit moves the recording's entry from its state.
func (t *transfer) edit(ctx context.Context, to state.State, edit func(*state.Entry)) error {
	_, err := t.move(ctx, t.key, t.entry.State, to, edit)
	return err
}

// fail writes a recording's failure into the ledger.
func (t *transfer) fail(ctx context.Context, cause error) error {
	t.Tally.Failed.Add(1)
	t.count(func(r *state.Pass) { r.Failed++ })
	now := time.Now().UTC()
	_, mismatch := errors.AsType[*media.MismatchError](cause)
	return t.edit(ctx, state.StateFailed, func(e *state.Entry) {
		e.Attempts++
		e.LastError = cause.Error()
		e.NextAttempt = now.Add(delay(e.Attempts))
		if e.FailedSince.IsZero() {
			e.FailedSince = now
		}
		e.NeedsPerson = now.Sub(e.FailedSince) >= personAfter
		if mismatch {
			e.Mismatches++
		}
	})
}

// delay returns how long a recording waits after its n-th failure.
func delay(n int) time.Duration {
	if n < eagerTries {
		return 0
	}
	d := firstDelay
	for ; n > eagerTries && d < maxDelay; n-- {
		d *= 2
	}
	return min(d, maxDelay)
}

// goOn gets the result of each recording that is transferred, settled or deleted. It
// returns the error if that ends the pass, because every other recording would meet it
// too: of a broken service, not of one broken recording.
func (p *pass) goOn(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, changed := errors.AsType[*state.ConflictError](err)
	switch {
	case err == nil:
		p.streak = 0
	case changed, errors.Is(err, state.ErrOrdered): // since it was read
		p.log.Info("left as it is: a person changed it in the ledger meanwhile", "reason", err)
	case errors.Is(err, state.ErrClaimLost):
		p.lose(err)
		return err
	case failure.EndsPass(err):
		return err
	case failure.Temporary(err):
		if p.streak++; p.streak >= downStreak {
			return &failure.DownError{Err: err}
		}
	}
	return nil
}

// fetch asks for one recording.
func (p *pass) fetch(ctx context.Context, id string) (r *genesys.Recording, err error) {
	err = p.retry(ctx, func() error {
		r, err = p.in.API.Recording(ctx, id, "conversation")
		return err
	})
	return r, err
}
