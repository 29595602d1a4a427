package keeping

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Hold holds recordings under the name of a case: the ledger has the case, and every version
// of media and manifest has the store's own legal hold, read back. What is archived of a held
// recording later is held when it is written. A store that keeps no holds is refused with
// [storage.ErrNoLocks] or [storage.ErrIgnored] before anything is changed.
func (k *Keeper) Hold(ctx context.Context, o Order) (Totals, error) {
	if !o.DryRun {
		if err := k.tryHold(ctx, o); err != nil {
			return nil, err
		}
	}
	return k.carryOut(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		switch {
		case e.State.Disposed():
			return refusef("it is %s: nothing is there to hold", e.State)
		case e.Disposal() != nil:
			return refusef("it is being removed since %s: give the same order to %s again", day(e.Disposal().At), e.Disposal().Kind)
		}
		already := slices.Contains(e.Cases(), o.Case)
		if o.DryRun {
			return k.wouldHold(ctx, e, already)
		}
		now := *e
		if !already {
			var err error
			if now, err = k.edit(ctx, key, o.Do); err != nil {
				return err
			}
		}
		changed, err := k.matchHolds(ctx, key, now)
		switch {
		case err != nil:
			return err
		case already && !changed:
			return errAlready
		case now.State == state.StateDeleteRequested:
			return &remark{"media and manifest are held, but the deletion of the original in Genesys Cloud had been requested before: it may be gone"}
		}
		return nil
	})
}

// wouldHold says what Hold would do: it reads a hold, so that a store without holds is told.
func (k *Keeper) wouldHold(ctx context.Context, e *state.Entry, already bool) error {
	if already {
		return errAlready
	}
	if len(e.Versions) == 0 {
		return nil
	}
	v := e.Newest()
	_, err := k.Bucket.Hold(ctx, v.MediaKey, v.MediaVersionID)
	return err
}

// tryHold has the store hold an object that is made for it, and release it again, before the
// ledger says that anything is held.
func (k *Keeper) tryHold(ctx context.Context, o Order) error {
	text := []byte("archiverd tried with this object whether the store keeps a hold\n")
	n := storage.New{Key: k.Prefix + "/doctor/" + record.EscapeID(o.ID) + "-hold", ContentType: "text/plain"}
	obj, err := k.Bucket.Put(ctx, n, text, sha256.Sum256(text))
	if errors.Is(err, storage.ErrExists) { // by the same put, whose reply was lost
		err = nil
	}
	for _, on := range []bool{true, false} {
		if err == nil {
			err = k.Bucket.SetHold(ctx, n.Key, obj.VersionID, on)
		}
	}
	if err != nil {
		return fmt.Errorf("nothing was held: the store did not hold an object that was made for a trial: %w", err)
	}
	return nil
}

// matchHolds makes the store hold every version of an entry if a case holds the recording,
// and none if none does. It marks the versions in the ledger once both objects of each show
// it, and looks again whether that is still so: another command, or a pass, may have changed
// the entry meanwhile. It reports whether the ledger changed.
func (k *Keeper) matchHolds(ctx context.Context, key state.Key, e state.Entry) (changed bool, err error) {
	for {
		n, on := len(e.Versions), len(e.Cases()) > 0
		for _, v := range e.Versions {
			if err := k.setHold(ctx, v, on); err != nil {
				return changed, err
			}
		}
		if !slices.ContainsFunc(e.Versions, func(v state.Version) bool { return v.Held != on }) {
			return changed, nil
		}
		changed = true
		e, err = k.edit(ctx, key, func(e *state.Entry) {
			for i := range e.Versions[:n] {
				e.Versions[i].Held = on
			}
		})
		if err != nil || len(e.Versions) == n && len(e.Cases()) > 0 == on {
			return changed, err
		}
	}
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
		now := *e
		for {
			cases := now.Cases()
			if !slices.Contains(cases, o.Case) {
				return refusef("the case does not hold it")
			}
			if o.DryRun {
				return nil
			}
			if last := len(cases) == 1; last {
				if err := k.releaseVersions(ctx, now); err != nil {
					return err
				}
			}
			released, err := k.release(ctx, key, o, &now)
			if err != nil || released {
				return err
			}
		}
	})
}

// releaseVersions takes off the store's hold of every version of an entry. What is missing
// needs no release.
func (k *Keeper) releaseVersions(ctx context.Context, e state.Entry) error {
	for _, v := range e.Versions {
		if err := k.setHold(ctx, v, false); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}

// release enters a release into the ledger, if the store's holds are as they were when the
// entry was read: no version was added since, and no other case released. Otherwise it
// returns false, and e is the entry as it is now.
func (k *Keeper) release(ctx context.Context, key state.Key, o Order, e *state.Entry) (done bool, err error) {
	versions, cases := len(e.Versions), e.Cases()
	*e, err = k.edit(ctx, key, func(e *state.Entry) {
		if done = len(e.Versions) == versions && slices.Equal(e.Cases(), cases); !done {
			return
		}
		o.Do(e)
		for i := range e.Versions {
			e.Versions[i].Held = e.Versions[i].Held && len(e.Cases()) > 0
		}
	})
	// Another case may have begun after the hold was taken off, here or by an interrupted
	// release.
	if err == nil && done && len(e.Cases()) > 0 {
		_, err = k.matchHolds(ctx, key, *e)
	}
	return done, err
}
