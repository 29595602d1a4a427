package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// manifestEvery is how often at most a recording whose media stay the same gets a new
// manifest: under a lock none of them can be removed for years.
const manifestEvery = 24 * time.Hour

// reseen is a download of media that the archive holds already.
type reseen struct {
	knownMediaError
	begun          time.Time // when the download was asked for
	correlationIDs []string
}

// keepVersion gives a recording that changed, while its media did not, its new
// metadata: in a new manifest if one of those that matter changed or the media are
// doubted now, else in the ledger alone. The media are not stored again.
func (p *pass) keepVersion(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, how reseen) error {
	v := e.Versions[how.version]
	trusted, err := p.prover.Trusted(ctx)
	if err != nil {
		return err
	}
	obj, m, err := p.stillStored(ctx, k, e, v, trusted)
	if err != nil {
		return p.notKept(ctx, k, e, v, err)
	}
	newest := how.version == len(e.Versions)-1
	moved := m.Fingerprint() != rec.Fingerprint
	doubted := (v.Suspect == "") != (how.verdict.suspect == "")
	if !newest || doubted || moved && time.Since(v.ArchivedAt) >= manifestEvery {
		same := &stored{Object: obj, verdict: how.verdict, sha256: v.SHA256, detected: m.Media.ContentType}
		return p.describe(ctx, k, e, rec, same, description{correlationIDs: how.correlationIDs})
	}
	shown := e.DateModified
	if !moved {
		if shown, err = p.movedByDownload(ctx, k, e, how.begun); err != nil {
			return err
		}
	}
	_, err = p.move(ctx, k, e.State, state.StateArchived, func(e *state.Entry) {
		v := &e.Versions[len(e.Versions)-1]
		if v.ManifestModified == "" {
			v.ManifestModified = v.DateModified
		}
		v.DateModified, v.Fingerprint = shown, e.Fingerprint
		how.verdict.mark(v)
		e.DateModified, e.Twin, e.TwinAsked, e.Mismatches = shown, "", false, 0
	})
	if err != nil {
		return err
	}
	p.log.Info("changed in Genesys, but its media are those in the archive", "recording", k.Recording)
	p.warnDoubt(k, state.Version{Suspect: how.verdict.suspect, Unproved: how.verdict.unproved})
	p.Tally.Archived.Add(1)
	return nil
}

// notKept deals with a version whose objects are not as the ledger says. The media
// are stored anew by the next pass, where the old ones are missing or altered.
func (p *pass) notKept(ctx context.Context, k state.Key, e state.Entry, v state.Version, err error) error {
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, failure.ErrCorrupt) {
		return p.reportCorrupt(ctx, k, e.State, v.MediaKey, fmt.Errorf("the archive does not hold %s any more: %w", v.MediaKey, err))
	}
	if errors.Is(err, failure.ErrNotLocked) { // this object's alone, as before a deletion
		p.mu.Lock()
		p.corrupt = append(p.corrupt, v.MediaKey)
		p.mu.Unlock()
		return fmt.Errorf("the lock of %s was shortened or taken away: %v", v.MediaKey, err)
	}
	return err
}

// movedByDownload is the dateModified that Genesys shows for a recording after its
// media were downloaded. A platform that moves the date when media are downloaded
// would otherwise show every archived recording as changed. A date counts as moved by
// the download if nothing else that matters changed and if it lies, by Genesys' clock,
// after the download was asked for; else the date of the listing stays.
func (p *pass) movedByDownload(ctx context.Context, k state.Key, e state.Entry, begun time.Time) (string, error) {
	r, err := p.fetch(ctx, k.Recording)
	if err != nil {
		if failure.EndsPass(err) || failure.Temporary(err) {
			return "", err
		}
		return e.DateModified, nil
	}
	skew, _ := p.in.API.Skew()
	at, ok := genesys.ParseTime(r.DateModified)
	// The Date header that the skew comes from has whole seconds.
	if !ok || r.Fingerprint != e.Fingerprint || at.Before(begun.Add(skew-2*time.Second)) {
		return e.DateModified, nil
	}
	return r.DateModified, nil
}
