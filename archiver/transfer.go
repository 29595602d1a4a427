package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

const (
	// asksPerWorker bounds the recordings that one pass has begun and not finished.
	asksPerWorker = 16
	// downStreak recordings that fail temporarily one after the other mean that a
	// service is down.
	downStreak = 5
	// eagerTries failures are tried again by every pass; later ones wait longer and
	// longer, up to maxDelay. A deletion that was refused waits from the first time on.
	eagerTries = 3
	firstDelay = 15 * time.Minute
	maxDelay   = 12 * time.Hour
	// personAfter is how long a recording has failed when it needs a person.
	personAfter = 7 * 24 * time.Hour
)

// transferAll archives what the ledger says is waiting. A recording's own failure
// is written into the ledger. One that would fail every other recording too halts
// the pass: transfers under way are finished, and the failure is returned.
func (p *pass) transferAll(ctx context.Context) error {
	var g errgroup.Group
	g.SetLimit(p.asks)
	begun := 0
	err := p.eachWaiting(ctx, func(e state.KeyedEntry) error {
		if e.Entry.Twin != "" {
			p.org.twin(e.Entry.Twin)
			return nil // it waits for askTwins
		}
		if !p.due(e.Entry) {
			return nil
		}
		if err := p.stopped(); err != nil {
			return err
		}
		if begun == 0 {
			p.survey(ctx)
		}
		p.Tally.Found.Add(1)
		g.Go(func() error {
			if err := p.transferOne(ctx, e.Key, e.Entry); err != nil {
				p.halt(err)
			}
			return nil
		})
		begun++
		return p.keepUp(ctx, begun)
	})
	_ = g.Wait() // what ends the pass is in stopped
	if halted := p.stopped(); halted != nil {
		return halted
	}
	return err
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

// due tells whether an entry is to be transferred in this pass.
func (p *pass) due(e state.Entry) bool {
	now := time.Now()
	switch e.State {
	case state.StateListed:
		return !p.young(e, now)
	case state.StateFailed:
		return !now.Before(e.NextAttempt)
	}
	return false
}

// young tells a recording that ended or was changed so lately that more may come.
func (p *pass) young(e state.Entry, now time.Time) bool {
	if p.MinAge == 0 {
		return false
	}
	var lasted time.Duration
	if rec, err := genesys.ParseRecording(e.Raw); err == nil && rec.DurationMilliseconds != nil {
		lasted = time.Duration(min(*rec.DurationMilliseconds, int64(longest/time.Millisecond))) * time.Millisecond
	}
	created, ok := genesys.ParseTime(e.DateCreated)
	if ok && !created.After(now.Add(MaxSkew)) && now.Sub(created.Add(lasted)) < p.MinAge {
		return true
	}
	modified, ok := genesys.ParseTime(e.DateModified)
	return ok && !modified.After(now.Add(MaxSkew)) && now.Sub(modified) < p.MinAge
}

// longest is the duration up to which a recording's metadata are believed when they
// say when it ended.
const longest = 24 * time.Hour

// transferOne archives one recording. Its error ends the pass.
func (p *pass) transferOne(ctx context.Context, k state.Key, e state.Entry) error {
	log := p.log.With("recording", k.Recording)
	err := p.archive(ctx, k, e)
	if err != nil && ctx.Err() != nil {
		return failure.ErrStopped
	}
	if err == nil || failure.EndsPass(err) {
		return p.goOn(err)
	}
	var twin *twinError
	if errors.As(err, &twin) {
		return p.setAside(ctx, k, e.State, twin.sha256)
	}
	missed := p.record.Complete && !p.walk.Saw(k.Recording) // settle deals with it
	if errors.Is(err, errMoved) && (e.Attempts == 0 || missed) {
		log.Info("left to the next pass", "reason", err)
		_, err := p.move(ctx, k, e.State, e.State, func(e *state.Entry) { e.Attempts++ })
		return err
	}
	if err := p.fail(ctx, k, e.State, err); err != nil {
		return err
	}
	log.Error("not archived", failure.Attr(err), "attempts", e.Attempts+1)
	return p.goOn(err)
}

// fail writes a recording's failure into the ledger.
func (p *pass) fail(ctx context.Context, k state.Key, from state.State, cause error) error {
	p.Tally.Failed.Add(1)
	p.count(func(r *state.Pass) { r.Failed++ })
	now := time.Now().UTC()
	var mismatch *media.MismatchError
	_, err := p.move(ctx, k, from, state.StateFailed, func(e *state.Entry) {
		e.Attempts++
		e.LastError = cause.Error()
		e.NextAttempt = now.Add(delay(e.Attempts))
		if e.FailedSince.IsZero() {
			e.FailedSince = now
		}
		e.NeedsPerson = now.Sub(e.FailedSince) >= personAfter
		if errors.As(cause, &mismatch) {
			e.Mismatches++
		}
	})
	return err
}

// delay is how long after its n-th failure a recording is left alone.
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

// goOn tells one broken recording from a broken service. It gets what came of each
// recording that is transferred, settled or deleted, and gives the error that ends the
// pass: one that would meet every other recording too.
func (p *pass) goOn(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.streak = 0
	case failure.EndsPass(err):
		return err
	case failure.Temporary(err):
		if p.streak++; p.streak >= downStreak {
			return &failure.DownError{Err: err}
		}
	}
	return nil
}

// archive takes one recording through the write order. It starts over where the
// place was taken meanwhile or the media changed during the download.
func (p *pass) archive(ctx context.Context, k state.Key, e state.Entry) error {
	rec, err := p.recording(ctx, k, e)
	if err != nil {
		return err
	}
	for n := range failure.Tries {
		if err = p.attempt(ctx, k, e, rec, n == 0 && p.fresh(e)); !errors.Is(err, errAgain) {
			break
		}
	}
	return err
}

// attempt looks for the recording's place, unless that is fresh, and adopts what is
// there or transfers what is not.
func (p *pass) attempt(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, fresh bool) error {
	t, err := p.begin(ctx)
	if err != nil {
		return err
	}
	defer t.end()
	if fresh {
		return t.transfer(ctx, k, e, rec, place{key: record.Nth(e.MediaKey, 1, p.in.Format), fresh: true})
	}
	pl, err := p.place(ctx, k, e)
	if err != nil {
		return err
	}
	if pl.found != nil {
		return p.adopt(ctx, k, e, rec, pl)
	}
	return t.transfer(ctx, k, e, rec, pl)
}

// errAgain says that what an attempt began with is no longer so.
var errAgain = errors.New("begin again")

// recording gives the metadata that go into the manifest. Where they were too large
// to be listed with the conversation they are fetched singly.
func (p *pass) recording(ctx context.Context, k state.Key, e state.Entry) (genesys.Recording, error) {
	if e.Expanded {
		return genesys.ParseRecording(e.Raw)
	}
	r, err := p.fetch(ctx, k.Recording)
	if genesys.AsError(err).NotFound() {
		return genesys.Recording{}, errMoved
	}
	if err != nil {
		return genesys.Recording{}, err
	}
	if changedSince(e.DateModified, r.DateModified) {
		return genesys.Recording{}, fmt.Errorf("its dateModified is another now: %w", errMoved)
	}
	return *r, nil
}

// fetch asks for one recording.
func (p *pass) fetch(ctx context.Context, id string) (r *genesys.Recording, err error) {
	err = p.retry(ctx, func() error {
		r, err = p.in.API.Recording(ctx, id, "conversation")
		return err
	})
	return r, err
}

// errMoved says that a recording is not any more what the listing showed: normal
// once, since listing and transfer take time; a failure if the next pass meets it again.
var errMoved = errors.New("changed or deleted in Genesys since it was listed")

// A wrongDownloadAPIError says that the configured download operation does not exist.
type wrongDownloadAPIError struct{ api genesys.DownloadAPI }

func (e *wrongDownloadAPIError) Error() string {
	other := genesys.DownloadMedia
	if e.api == other {
		other = genesys.DownloadTranscoding
	}
	return fmt.Sprintf("the download operation answers 404 for recordings that exist: download_api: %s is not served here, try download_api: %s", e.api, other)
}

// Is says that every other recording would meet this too.
func (e *wrongDownloadAPIError) Is(target error) bool { return target == failure.ErrWholeInbox }
