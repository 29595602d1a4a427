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

// manifestEvery is the shortest time between two manifests of a recording whose media stay
// the same: under a lock, no manifest can be removed for years.
const manifestEvery = 24 * time.Hour

// reseen is a download of media that the archive holds already.
type reseen struct {
	knownMediaError
	begun          time.Time // when the download was asked for
	correlationIDs []string
}

// keepVersion gives a recording that changed, while its media did not, its new metadata.
// It writes a new manifest if one of the metadata that matter changed, or if the doubt
// about the media changed; otherwise it changes only the ledger. The media are not stored
// again.
func (t *transfer) keepVersion(ctx context.Context, how reseen) error {
	e := t.entry
	v := e.Versions[how.version]
	trusted, err := t.Prover.Trusted(ctx)
	if err != nil {
		return err
	}
	obj, m, err := t.stillStored(ctx, t.keyed(), v, trusted)
	if err != nil {
		return t.notKept(ctx, v.MediaKey, err)
	}
	newest := how.version == len(e.Versions)-1
	moved := m.Fingerprint() != t.rec.Fingerprint
	doubted := (v.Suspect == "") != (how.verdict.suspect == "")
	if !newest || doubted || moved && time.Since(v.ArchivedAt) >= manifestEvery {
		same := &stored{Object: obj, verdict: how.verdict, sha256: v.SHA256, detected: m.Media.ContentType}
		return t.describe(ctx, same, description{correlationIDs: how.correlationIDs})
	}
	shown := e.DateModified
	if !moved {
		if shown, err = t.movedByDownload(ctx, how.begun); err != nil {
			return err
		}
	}
	t.leaveWorker()
	err = t.edit(ctx, state.StateArchived, func(e *state.Entry) {
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
	t.log.Info("changed in Genesys, but its media are those in the archive", "recording", t.key.Recording)
	t.warnDoubt(state.Version{Suspect: how.verdict.suspect, Unproved: how.verdict.unproved})
	t.Tally.Archived.Add(1)
	return nil
}

// notKept handles a version whose objects are not what the ledger says. If the media are
// missing or altered, the next pass stores them again.
func (t *transfer) notKept(ctx context.Context, mediaKey string, err error) error {
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, failure.ErrCorrupt) {
		return t.reportCorrupt(ctx, mediaKey, fmt.Errorf("the archive does not hold %s any more: %w", mediaKey, err))
	}
	if errors.Is(err, failure.ErrNotLocked) { // concerns this object only
		t.noteCorrupt(mediaKey)
		return fmt.Errorf("the lock of %s was shortened or taken away: %v", mediaKey, err)
	}
	return err
}

// movedByDownload returns the dateModified that Genesys shows after the media were
// downloaded, if the download itself moved that date. Otherwise every archived recording
// would look changed on a platform that moves the date. The download moved the date if no
// other metadata that matter changed, and if the date lies, by Genesys' clock, after the
// request for the download. In every other case movedByDownload returns the listing's
// date.
func (t *transfer) movedByDownload(ctx context.Context, begun time.Time) (string, error) {
	e := t.entry
	r, err := t.fetch(ctx, t.key.Recording)
	if err != nil {
		if failure.EndsPass(err) || failure.Temporary(err) {
			return "", err
		}
		return e.DateModified, nil
	}
	skew, _ := t.in.API.Skew()
	at, ok := genesys.ParseTime(r.DateModified)
	// The Date header that the skew comes from has whole seconds.
	if !ok || r.Fingerprint != e.Fingerprint || at.Before(begun.Add(skew-2*time.Second)) {
		return e.DateModified, nil
	}
	return r.DateModified, nil
}
