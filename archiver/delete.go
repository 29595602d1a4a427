package archiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// deleteAll asks Genesys to delete originals, after everything else in the pass. Every
// condition must hold: those of the whole pass are here, those of one recording in
// deletable and deleteOne, in this order. If anything is absent or unclear, the original
// is kept.
func (p *pass) deleteAll(ctx context.Context, owned bool) error {
	if !p.Delete.allowed() || !owned || !p.confirmed() {
		return nil
	}
	if p.atStart.Rebuilt {
		p.log.Warn("nothing was deleted: the ledger was rebuilt from the archive, and archiverd reconcile has not found the inbox clean since")
		return nil
	}
	var g errgroup.Group
	g.SetLimit(p.Workers)
	trusts := sync.OnceValues(func() (bool, error) { return p.trusts(ctx) })
	err := p.eachDeletable(ctx, func(e state.KeyedEntry) error {
		if err := p.stopped(); err != nil {
			return err
		}
		if p.deletions.Load() >= int64(p.Delete.MaxPerPass) {
			return errCapped
		}
		trusted, err := trusts()
		if err != nil {
			return fmt.Errorf("nothing was deleted: %w", err)
		}
		if shared, err := p.register.Shared(ctx, e.Entry.Newest()); shared || err != nil {
			return err
		}
		g.Go(func() error {
			if err := p.goOn(p.deleteOne(ctx, e, trusted)); err != nil {
				p.halt(err)
			}
			return nil
		})
		return nil
	})
	_ = g.Wait() // no error: stopped has what ends the pass
	if halted := p.stopped(); halted != nil {
		return halted
	}
	if errors.Is(err, errCapped) {
		p.log.Info("more originals could be deleted; the next pass goes on", "max_per_pass", p.Delete.MaxPerPass)
		return nil
	}
	return err
}

// trusts checks the conditions of the whole pass that take requests. It reports whether the
// store's checksums are believed, or every byte is read back before a deletion.
func (p *pass) trusts(ctx context.Context) (bool, error) {
	if err := errors.Join(p.clocksAgree(), p.Journal.NotBehind(ctx, p.in.Org, p.in.ID)); err != nil {
		return false, err
	}
	trusted, err := p.Prover.Trusted(ctx)
	return trusted && !p.Delete.ReadBack, err
}

var errCapped = errors.New("max_per_pass reached")

// eachDeletable calls f for every original that may be deleted. Those of which an earlier
// request came to nothing come last: a thousand refusals must not use up the requests that
// a pass may send.
func (p *pass) eachDeletable(ctx context.Context, f func(state.KeyedEntry) error) error {
	left := false
	each := func(askedBefore bool) error {
		return p.eachLive(ctx, nil, func(e state.KeyedEntry) error {
			switch {
			case !p.deletable(e) || e.Entry.NextAttempt.After(p.record.Start): // the latter was perhaps requested in this very pass
				return nil
			case e.Entry.DeleteAttempts > 0 != askedBefore:
				left = true
				return nil
			}
			return f(e)
		})
	}
	if err := each(false); err != nil || !left {
		return err
	}
	return each(true)
}

// deletable checks the conditions that the ledger and this pass's walk can answer.
func (p *pass) deletable(e state.KeyedEntry) bool {
	if !p.Delete.allowed() || e.Entry.State != state.StateArchived || !p.walk.Saw(e.Key.Recording) {
		return false
	}
	return p.waited(e.Entry, time.Now())
}

// waited reports whether an archived entry has waited long enough: see Deletion.Due.
func (v *visit) waited(e state.Entry, now time.Time) bool {
	due, ok := v.Delete.Due(e)
	return ok && !now.Before(due)
}

// Due returns the time from which an archived entry's original may be deleted: it counts
// from the archiving, the last change, and a refusal by Genesys. It returns false if the
// original may never be deleted: the entry is held or disposed of, its media are doubted,
// Genesys has another version of it, or one of the times is not known.
func (d Deletion) Due(e state.Entry) (time.Time, bool) {
	if len(e.Acts) > 0 && (len(e.Cases()) > 0 || e.Disposal() != nil) {
		return time.Time{}, false
	}
	v := e.Versions[len(e.Versions)-1]
	modified, ok := genesys.ParseTime(v.DateModified)
	doubted := v.Suspect != "" || v.Unproved != "" && !d.Unproved || e.Twin != ""
	if !ok || v.ArchivedAt.IsZero() || doubted || differs(v.DateModified, v.Fingerprint, genesys.Recording{DateModified: e.DateModified, Fingerprint: e.Fingerprint}) {
		return time.Time{}, false
	}
	since := v.ArchivedAt
	if modified.After(since) {
		since = modified
	}
	due := since.Add(d.After)
	if e.NextAttempt.After(due) {
		due = e.NextAttempt
	}
	return due, true
}

// clocksAgree returns an error if this machine's clock differs from that of Genesys or of
// the store.
func (p *pass) clocksAgree() error {
	for _, of := range []struct {
		name string
		skew func() (time.Duration, bool)
	}{{"Genesys", p.in.API.Skew}, {"the store", p.Bucket.Skew}} {
		d, known := of.skew()
		if !known {
			return fmt.Errorf("%s has shown no clock to compare with", of.name)
		}
		if d.Abs() > proof.MaxSkew {
			return fmt.Errorf("the clock of this machine and that of %s differ by %s: set it right", of.name, d.Round(time.Second))
		}
	}
	return nil
}

// deleteOne checks the last conditions and requests the deletion. Its error says what
// could not be done. A good reason to keep the original is no error.
func (p *pass) deleteOne(ctx context.Context, e state.KeyedEntry, trusted bool) error {
	log := p.log.With("recording", e.Key.Recording)
	v := e.Entry.Versions[len(e.Entry.Versions)-1]
	_, m, err := p.stillStored(ctx, e, v, trusted)
	if err == nil && !v.Whole && v.Unproved == "" {
		v, err = p.proveWhole(ctx, e, v, m)
	}
	if err != nil {
		log.Error("original kept: the archive does not show what the ledger says", failure.Attr(err))
		// A lock that someone shortened concerns this object only: each write shows
		// whether the store holds locks at all.
		if errors.Is(err, failure.ErrCorrupt) || errors.Is(err, storage.ErrNotFound) || errors.Is(err, failure.ErrNotLocked) {
			p.noteCorrupt(v.MediaKey)
			return nil
		}
		return err
	}
	r, err := p.fetch(ctx, e.Key.Recording)
	if err != nil {
		log.Info("original kept: Genesys does not show the recording", failure.Attr(err))
		return err
	}
	if kept := p.changedAtLast(e, v, m, *r); kept != nil {
		log.Info("original kept", "reason", kept)
		return p.archiveAgain(ctx, e, *r, kept)
	}
	if doubted := doubt(v); doubted != "" && (v.Suspect != "" || !p.Delete.Unproved) {
		log.Info("original kept", "reason", doubted)
		return nil
	}
	if err := p.stopped(); err != nil {
		return err
	}
	if !p.Delete.allowed() {
		log.Info("original kept: deletions were switched off")
		return nil
	}
	if p.deletions.Add(1) > int64(p.Delete.MaxPerPass) {
		log.Info("original kept: max_per_pass reached", "max_per_pass", p.Delete.MaxPerPass)
		return nil
	}
	return p.requestDeletion(ctx, e, trusted)
}

// stillStored proves that the archive holds the ledger's versions of media and manifest
// now, and long enough. It reads the manifest. It reads the media only if HEAD proves
// nothing of them: the store shows no checksum, or is not trusted to check one. It returns
// the media and the manifest.
func (p *pass) stillStored(ctx context.Context, e state.KeyedEntry, v state.Version, trusted bool) (media storage.Object, m *record.Manifest, err error) {
	for _, o := range proof.Objects(e.Key, v, p.Retention.End(e.Entry.DateCreated, v.ArchivedAt)) {
		obj, err := p.Bucket.Head(ctx, o.Key, o.VersionID)
		if err != nil {
			return media, nil, err
		}
		c, err := o.Compare(ctx, p.Bucket, obj, o.Manifest || !trusted || v.Checksum == "")
		if err == nil {
			err = c.Flaws.Err(o.Key)
		}
		if err != nil {
			return media, nil, err
		}
		if m = c.Manifest; !o.Manifest {
			media = obj
		}
	}
	return media, m, nil
}

// proveWhole reads the media of a version that an earlier archiverd archived without
// checking whether the media are whole. It writes the result into the ledger.
func (p *pass) proveWhole(ctx context.Context, e state.KeyedEntry, v state.Version, m *record.Manifest) (state.Version, error) {
	rec, err := genesys.ParseRecording(m.Recording)
	if err != nil {
		return v, fmt.Errorf("read the recording in %s: %w", v.ManifestKey, err)
	}
	d := newMediaDigest(genesys.Format(v.Format))
	if err := proof.Read(ctx, p.Bucket, storage.Object{Key: v.MediaKey, VersionID: v.MediaVersionID, Size: v.Size}, d); err != nil {
		return v, err
	}
	if d.Hex() != v.SHA256 {
		return v, fmt.Errorf("%s read back has another SHA-256: %w", v.MediaKey, failure.ErrCorrupt)
	}
	found, err := d.judge(rec, true)
	if err != nil {
		found = verdict{suspect: err.Error()}
	}
	found.mark(&v)
	_, err = p.move(ctx, e.Key, state.StateArchived, state.StateArchived, func(e *state.Entry) {
		found.mark(&e.Versions[len(e.Versions)-1])
	})
	return v, err
}

// changedAtLast returns why the recording that Genesys shows right before its deletion is
// not the one in the manifest, or why its metadata leave that unclear.
func (p *pass) changedAtLast(e state.KeyedEntry, v state.Version, m *record.Manifest, now genesys.Recording) error {
	switch {
	case now.ID != e.Key.Recording || now.DateModified == "" || now.DurationMilliseconds == nil || *now.DurationMilliseconds == 0:
		return errUnclear
	case changedSince(v.DateModified, now.DateModified):
		return errChanged
	case m.Fingerprint() == now.Fingerprint:
		return nil
	case v.Fingerprint == now.Fingerprint && time.Since(v.ArchivedAt) < manifestEvery:
		return errors.New("its manifest is renewed once it is a day old")
	}
	return errChanged
}

var (
	errUnclear = errors.New("its metadata in Genesys name no id, dateModified or duration")
	errChanged = errors.New("it changed since it was archived")
)

// archiveAgain marks a recording that was found changed right before its deletion, so that
// the next pass archives it again. The next listing alone need not show the change.
func (p *pass) archiveAgain(ctx context.Context, e state.KeyedEntry, r genesys.Recording, kept error) error {
	if !errors.Is(kept, errChanged) {
		return nil
	}
	to, edit := p.changed(e.Entry, r, time.Now().UTC())
	_, err := p.move(ctx, e.Key, state.StateArchived, to, func(e *state.Entry) {
		edit(e)
		e.Expanded = true // the request for the recording included its conversation
	})
	return err
}

// requestDeletion writes the request into the ledger, durably, and then sends it. The next
// complete walk shows whether Genesys deleted the recording.
func (p *pass) requestDeletion(ctx context.Context, e state.KeyedEntry, trusted bool) error {
	now := time.Now().UTC()
	_, err := p.move(ctx, e.Key, state.StateArchived, state.StateDeleteRequested, func(e *state.Entry) {
		e.DeleteRequestedAt = now
		e.DeleteAttempts++
		e.LastError, e.NextAttempt = "", time.Time{}
		e.Why = deletionChecks(trusted, p.record.Complete)
	})
	if err != nil {
		return err
	}
	err = p.in.API.DeleteRecording(ctx, e.Key.Recording)
	switch {
	case err == nil || genesys.AsError(err).NotFound():
		p.Tally.Deleted.Add(1)
		p.count(func(r *state.Pass) { r.DeleteRequested++ })
		p.log.Info("deletion requested", "recording", e.Key.Recording)
		return nil
	case said4xx(err) || unsent(err): // Genesys deletes nothing
		p.log.Warn("the deletion was refused", "recording", e.Key.Recording, failure.Attr(err))
		_, merr := p.move(ctx, e.Key, state.StateDeleteRequested, state.StateArchived, func(e *state.Entry) {
			e.LastError = err.Error()
			e.NextAttempt = time.Now().UTC()
			if !failure.Temporary(err) && !failure.EndsPass(err) { // Genesys refuses to delete this recording
				e.NextAttempt = e.NextAttempt.Add(delay(eagerTries - 1 + e.DeleteAttempts))
			}
		})
		return errors.Join(merr, err)
	}
	p.log.Warn("not known whether the deletion was accepted", "recording", e.Key.Recording, failure.Attr(err))
	return err
}

// unsent reports whether the rate limit kept the request from being sent.
func unsent(err error) bool {
	_, limited := errors.AsType[*genesys.LimitedError](err)
	return limited
}

// deletionChecks returns the conditions that held when a deletion was requested, for the
// journal. The walk of a short inbox is not complete.
func deletionChecks(trusted, complete bool) string {
	walk, stored := "complete walk", "the store refuses wrong checksums and overwriting, HEAD"
	if !complete {
		walk = "listed (Genesys counts more recordings than it lists)"
	}
	if !trusted {
		stored = "bytes read back, HEAD"
	}
	return "enabled, owned, " + walk + ", waited, clocks, whole, " + stored + " of media and manifest, manifest read, no early expiry, unchanged in Genesys"
}

// said4xx reports whether Genesys itself refused the request. A 408 leaves open what was
// done.
func said4xx(err error) bool {
	e := genesys.AsError(err)
	return e != nil && e.Parsed && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusRequestTimeout
}
