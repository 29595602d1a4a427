package keeping

import (
	"context"
	"errors"
	"slices"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Hold holds recordings under the name of a case: the ledger has the case, and every version
// of media and manifest has the store's own legal hold, read back. What is archived of a held
// recording later is held when it is written. A store that keeps no holds is refused with
// [storage.ErrNoLocks] or [storage.ErrIgnored] before anything is changed.
func (k *Keeper) Hold(ctx context.Context, o Order) (Totals, error) {
	tried := false
	o.Recordings = k.tried(&tried, o)
	return k.carryOut(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		switch {
		case e.State.Disposed():
			return refusef("it is %s: nothing is there to hold", e.State)
		case e.Disposal() != nil:
			return refusef("it is being removed since %s: give the same order to %s again", day(e.Disposal().At), e.Disposal().Kind)
		}
		already := slices.Contains(e.Cases(), o.Case)
		if o.DryRun {
			if already {
				return errAlready
			}
			return nil
		}
		now := *e
		if !already {
			var err error
			if now, err = k.edit(ctx, key, o.Do); err != nil {
				return err
			}
		}
		changed, err := k.holdVersions(ctx, key, now)
		if err == nil && already && !changed {
			return errAlready
		}
		return err
	})
}

// tried returns the order's recordings. Before the first stored one it sets the store's hold
// on the newest media of that one (a dry run reads the hold), so that a store without holds is
// refused before the ledger changes.
func (k *Keeper) tried(done *bool, o Order) Recordings {
	return func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
		return o.Recordings(ctx, func(key state.Key, e *state.Entry) error {
			if !*done && e.State.Stored() && e.Disposal() == nil {
				v := e.Newest()
				try := func() error { return k.Bucket.SetHold(ctx, v.MediaKey, v.MediaVersionID, true) }
				if o.DryRun {
					try = func() error { _, err := k.Bucket.Hold(ctx, v.MediaKey, v.MediaVersionID); return err }
				}
				if err := try(); err != nil && !errors.Is(err, storage.ErrNotFound) {
					return err
				}
				*done = true
			}
			return f(key, e)
		})
	}
}

// holdVersions sets the store's hold on every version of a held entry, and marks the
// versions in the ledger once both objects show it. It reports whether the ledger changed.
func (k *Keeper) holdVersions(ctx context.Context, key state.Key, e state.Entry) (changed bool, err error) {
	for _, v := range e.Versions {
		if err := k.setHold(ctx, v, true); err != nil {
			return false, err
		}
	}
	held := func(v state.Version) bool { return v.Held }
	if !slices.ContainsFunc(e.Versions, func(v state.Version) bool { return !held(v) }) {
		return false, nil
	}
	n := len(e.Versions)
	_, err = k.edit(ctx, key, func(e *state.Entry) {
		for i := range e.Versions[:n] {
			e.Versions[i].Held = true
		}
	})
	return true, err
}

func (k *Keeper) setHold(ctx context.Context, v state.Version, on bool) error {
	if err := k.Bucket.SetHold(ctx, v.MediaKey, v.MediaVersionID, on); err != nil {
		return err
	}
	return k.Bucket.SetHold(ctx, v.ManifestKey, v.ManifestVersionID, on)
}

// Release ends a case's hold on recordings. The store's hold is released where no other case
// holds the recording.
func (k *Keeper) Release(ctx context.Context, o Order) (Totals, error) {
	return k.carryOut(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		cases := e.Cases()
		if !slices.Contains(cases, o.Case) {
			return refusef("the case does not hold it")
		}
		if o.DryRun {
			return nil
		}
		if len(cases) == 1 {
			for _, v := range e.Versions {
				if err := k.setHold(ctx, v, false); err != nil && !errors.Is(err, storage.ErrNotFound) {
					return err
				}
			}
		}
		now, err := k.edit(ctx, key, func(e *state.Entry) {
			o.Do(e)
			for i := range e.Versions {
				e.Versions[i].Held = e.Versions[i].Held && len(e.Cases()) > 0
			}
		})
		// Another case may have begun after the hold was taken off, here or by an interrupted
		// release.
		if err == nil && len(now.Cases()) > 0 {
			_, err = k.holdVersions(ctx, key, now)
		}
		return err
	})
}
