package keeping

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// minLock is the shortest retention worth setting: clocks differ.
const minLock = time.Hour

// Retain makes the retention of media and manifests last until the time that until gives for
// an entry, and that of the journal objects that tell of them. A longer one stays as it is.
// Objects that have a lock keep its mode; others get the configured one.
func (k *Keeper) Retain(ctx context.Context, o Order, until func(*state.Entry) time.Time) (Totals, error) {
	told := &told{until: map[state.Key]storage.Retention{}}
	totals, err := k.carryOut(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		act := o.Act
		act.Mode, act.Until = cmp.Or(k.Retention.Mode, e.Newest().RetentionMode), until(e)
		if err := retainable(e, act); err != nil {
			return err
		}
		told.add(key, storage.Retention{Mode: act.Mode, Until: act.Until})
		shorter := func(v state.Version) bool { return v.RetainUntil.Before(act.Until) }
		already := !slices.ContainsFunc(e.Versions, shorter)
		if !o.DryRun {
			changed, err := k.retain(ctx, key, e, act)
			if err != nil {
				return err
			}
			if already && changed {
				return &remark{"a lock was shorter in the store than in the ledger, and is as long again"}
			}
		}
		if already {
			return errAlready
		}
		return &remark{fmt.Sprintf("until %s, %s", day(act.Until), strings.ToLower(cmp.Or(e.Newest().RetentionMode, act.Mode)))}
	})
	if err != nil || o.DryRun {
		return totals, err
	}
	return totals, k.retainJournals(ctx, told.until)
}

// retainable says why an entry's retention can't be extended.
func retainable(e *state.Entry, act state.Act) error {
	switch {
	case e.State.Disposed():
		return refusef("it is %s: nothing is there to keep", e.State)
	case e.Disposal() != nil:
		return refusef("it is being removed since %s", day(e.Disposal().At))
	case len(e.Versions) == 0:
		return refusef("it is %s: nothing is stored yet", e.State)
	case act.Mode == "":
		return refusef("it has no lock, and storage.object_lock.mode is none: set a mode")
	case act.Until.Before(time.Now().Add(minLock)):
		return refusef("it would be kept until %s, which has passed or is less than an hour away", day(act.Until))
	}
	return nil
}

// retain extends the locks of every version, unless they are as long, then enters the act,
// unless the ledger has every version kept for as long. It reports whether it extended a lock.
func (k *Keeper) retain(ctx context.Context, key state.Key, e *state.Entry, act state.Act) (changed bool, err error) {
	enter := false
	for _, v := range e.Versions {
		enter = enter || v.RetainUntil.Before(act.Until)
		lock := storage.Retention{Mode: act.Mode, Until: act.Until}
		if v.RetainUntil.After(lock.Until) {
			lock.Until = v.RetainUntil
		}
		for _, o := range []struct{ key, version string }{{v.MediaKey, v.MediaVersionID}, {v.ManifestKey, v.ManifestVersionID}} {
			have, err := k.Bucket.Retention(ctx, o.key, o.version)
			if err == nil && have.Until.Before(lock.Until.Truncate(time.Second)) {
				changed = true
				_, err = k.Bucket.Extend(ctx, o.key, o.version, lock)
			}
			if err != nil {
				return changed, err
			}
		}
	}
	if !enter {
		return changed, nil
	}
	for _, v := range e.Versions {
		if v.ArchivedAt.After(act.At) { // by the store's clock, which may be ahead of this one
			act.At = v.ArchivedAt
		}
	}
	n := len(e.Versions)
	now, err := k.edit(ctx, key, act.Do)
	if err == nil && len(now.Versions) > n { // archived again meanwhile
		return k.retain(ctx, key, &now, act)
	}
	return changed, err
}

// told are the recordings whose journal objects are to be kept as long as they are.
type told struct {
	mu    sync.Mutex
	until map[state.Key]storage.Retention
}

func (t *told) add(key state.Key, until storage.Retention) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until[key] = until
}

// retainJournals extends the lock of each journal object that tells of one of the recordings,
// to the latest of these recordings' times. A pass gives the objects that it writes later the
// same locks.
func (k *Keeper) retainJournals(ctx context.Context, until map[state.Key]storage.Retention) error {
	inboxes := map[[2]string]bool{}
	for key := range until {
		inboxes[[2]string{key.Org, key.Inbox}] = true
	}
	for in := range inboxes {
		chain := record.Chain{Bucket: k.Bucket, Keys: record.Keys{Prefix: k.Prefix, Org: in[0], Inbox: in[1]}}
		_, err := chain.Walk(ctx, state.JournalHead{}, func(at state.JournalHead, j *record.Journal) error {
			var latest storage.Retention
			for _, ev := range j.Events {
				if r := until[state.Key{Org: in[0], Inbox: in[1], Recording: ev.Recording}]; r.Until.After(latest.Until) {
					latest = r
				}
			}
			if latest.Until.IsZero() {
				return nil
			}
			return failure.Retry(ctx, func(error) {}, func() error {
				_, err := k.Bucket.Extend(ctx, at.Key, at.VersionID, latest)
				return err
			})
		})
		if err != nil {
			return fmt.Errorf("keep the journal of inbox %s/%s as long as what it tells of: %w", in[0], in[1], err)
		}
	}
	return nil
}
