package rebuild

import (
	"context"
	"errors"
	"strings"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// holds enters which versions of a recording that cases hold the store shows as held. What it
// does not hold is a finding.
func (r *rebuild) holds(ctx context.Context, k state.Key) error {
	e, err := r.Ledger.Entry(ctx, k)
	if err != nil || r.ReadOnly {
		return failure.OfLedger(err)
	}
	cases := e.Cases()
	held := make([]bool, len(e.Versions))
	for i, v := range e.Versions {
		media, err := r.held(ctx, v.MediaKey, v.MediaVersionID)
		if err != nil {
			return err
		}
		manifest, err := r.held(ctx, v.ManifestKey, v.ManifestVersionID)
		if err != nil {
			return err
		}
		if held[i] = media && manifest; held[i] {
			continue
		}
		err = r.find(record.FaultHold, k, v.MediaKey, "the store does not hold this version, or its manifest, and the recording is held by %s", strings.Join(cases, ", "))
		if err != nil {
			return err
		}
	}
	return r.edit(ctx, k, func(e *state.Entry) {
		for i := range held {
			e.Versions[i].Held = held[i]
		}
	})
}

func (r *rebuild) held(ctx context.Context, key, versionID string) (held bool, err error) {
	err = r.reading.Try(ctx, func() (err error) {
		held, err = r.Bucket.Hold(ctx, key, versionID)
		if errors.Is(err, storage.ErrNoLocks) {
			err = nil
		}
		return err
	})
	if unreadable(err) { // other findings tell of the object
		return false, nil
	}
	return held, err
}
