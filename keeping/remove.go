package keeping

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// remover deletes versions, with credentials of its own. *storage.Remover implements it.
type remover interface {
	Versions(ctx context.Context, prefix string) iter.Seq2[storage.Version, error]
	Removable(ctx context.Context, v storage.Version, bypass bool) error
	Remove(ctx context.Context, v storage.Version, bypass bool) error
}

// Removal says with what recordings are removed.
type Removal struct {
	With   remover
	Bypass bool // overrule governance locks
}

// Erase removes recordings from the archive: all versions and delete markers of media and
// manifests, also of what no ledger names. What stays is the ledger's entry and the journal's
// event, without personal data. A held recording and one under a lock are left, with the
// reason.
func (k *Keeper) Erase(ctx context.Context, o Order, r Removal) (Totals, error) {
	if err := k.tryRemoval(ctx, o, r); err != nil {
		return nil, err
	}
	return k.removeAll(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		return k.begin(ctx, key, e, o, r)
	}, r)
}

// removalGroup is how many recordings are begun before their objects go. Each group costs an
// object of the journal in each of its inboxes, and what an interrupted order leaves
// unfinished is one group at most.
const removalGroup = 100

// removeAll removes in groups. For each group it enters the acts into the ledger, writes them
// into the journals, and only then removes objects: a ledger that is lost in between, and
// rebuilt, would otherwise see damage and no order. Exception: while a pass has the claim on an
// inbox, Journal leaves that journal to the pass, which may write it after the objects are gone.
func (k *Keeper) removeAll(ctx context.Context, o Order, begin func(context.Context, state.Key, *state.Entry) error, r Removal) (Totals, error) {
	if o.DryRun {
		return k.carryOut(ctx, o, begin)
	}
	totals := Totals{}
	var group []state.Key
	next := func() error {
		of, err := k.removeGroup(ctx, o, group, begin, r)
		totals.add(of)
		group = group[:0]
		return err
	}
	err := o.Recordings(ctx, func(key state.Key, _ *state.Entry) error {
		if group = append(group, key); len(group) < removalGroup {
			return nil
		}
		return next()
	})
	if err == nil && len(group) > 0 {
		err = next()
	}
	return totals, err
}

func (k *Keeper) removeGroup(ctx context.Context, o Order, group []state.Key, begin func(context.Context, state.Key, *state.Entry) error, r Removal) (Totals, error) {
	var begun []state.Key
	first := o
	first.Recordings = k.each(group)
	first.Emit = func(out Outcome) error {
		if out.Result != Done {
			return o.Emit(out)
		}
		begun = append(begun, state.Key{Org: out.Org, Inbox: out.Inbox, Recording: out.Recording})
		return nil
	}
	totals, err := k.carryOut(ctx, first, begin)
	delete(totals, Done)
	if err != nil {
		return totals, err
	}
	o.Recordings = k.each(begun)
	finished, err := k.carryOut(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		return k.finish(ctx, key, e, o.Kind, r)
	})
	totals.add(finished)
	return totals, err
}

// each calls f with the entries of the keys as they are now; the zero Entry where the ledger
// has none.
func (k *Keeper) each(keys []state.Key) Recordings {
	return func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
		for _, key := range keys {
			e, err := k.Ledger.Entry(ctx, key)
			if err != nil && !errors.Is(err, state.ErrNotFound) {
				return failure.OfLedger(err)
			}
			if err := f(key, &e); err != nil {
				return err
			}
		}
		return nil
	}
}

// tryRemoval has the credentials remove an object that is made for it, before anything else
// is done: credentials without the right must leave nothing half-done.
func (k *Keeper) tryRemoval(ctx context.Context, o Order, r Removal) error {
	if o.DryRun {
		return nil
	}
	n := storage.New{Key: k.Prefix + "/doctor/" + record.EscapeID(o.ID) + "-removal", ContentType: "text/plain"}
	if r.Bypass {
		n.Retention = storage.Retention{Mode: "GOVERNANCE", Until: time.Now().Add(2 * time.Minute)}
	}
	text := []byte("archiverd tried with this object whether credentials may remove it\n")
	if _, err := k.Bucket.Put(ctx, n, text, sha256.Sum256(text)); err != nil && !errors.Is(err, storage.ErrExists) {
		return fmt.Errorf("try whether the credentials may remove: %w", err)
	}
	for v, err := range r.With.Versions(ctx, n.Key) {
		if err == nil {
			err = r.With.Remove(ctx, v, r.Bypass)
		}
		if _, locked := errors.AsType[*storage.LockedError](err); err != nil && !locked { // locked: the bucket locks what is new
			return fmt.Errorf("nothing was removed: the credentials may not do what the order takes (s3:ListBucketVersions, s3:DeleteObjectVersion, s3:GetObjectRetention, s3:GetObjectLegalHold, and s3:BypassGovernanceRetention to bypass): %w", err)
		}
	}
	return nil
}

// begin enters an order to erase or expire into the ledger, if one recording may be removed.
// What was removed before may be there again, from a put that arrived late, or put back by
// somebody: it is removed like the first time.
func (k *Keeper) begin(ctx context.Context, key state.Key, e *state.Entry, o Order, r Removal) error {
	if err := k.mayBegin(ctx, key, e, o.Kind); err != nil {
		return err
	}
	there, err := k.stored(ctx, key, e, r.With)
	if err != nil {
		return err
	}
	if e.State.Disposed() && len(there) == 0 {
		return errAlready
	}
	for _, v := range there {
		if err := r.With.Removable(ctx, v, r.Bypass); err != nil {
			return k.kept(ctx, key, v, err, r.Bypass)
		}
	}
	switch {
	case o.DryRun:
		return original(e)
	case e.Disposal() != nil && !e.State.Disposed():
		return nil // the ledger has the order, and an interruption left it unfinished
	}
	return k.enter(ctx, key, e, o)
}

// mayBegin says why the ledger, or a pass, keeps an entry from being removed.
func (k *Keeper) mayBegin(ctx context.Context, key state.Key, e *state.Entry, kind state.ActKind) error {
	if e.State.Disposed() {
		return nil
	}
	if err := mayRemove(e, kind); err != nil || e.State != state.StateWaived {
		return err
	}
	return k.idle(ctx, key)
}

// enter enters the order into the ledger, unless the entry is no longer the one that was
// looked at: a version that came meanwhile may be locked, and then could not be removed.
func (k *Keeper) enter(ctx context.Context, key state.Key, e *state.Entry, o Order) error {
	same := false
	now, err := k.edit(ctx, key, func(now *state.Entry) {
		if same = len(now.Versions) == len(e.Versions) && len(now.Acts) == len(e.Acts); same {
			o.Do(now)
		}
	})
	if err != nil || same {
		return err
	}
	if err := mayRemove(&now, o.Kind); err != nil {
		return err
	}
	return refusef("it changed while the order was carried out: give the order again")
}

// finish removes the objects of a recording of which the ledger has the order.
func (k *Keeper) finish(ctx context.Context, key state.Key, e *state.Entry, kind state.ActKind, r Removal) error {
	if err := k.empty(ctx, key, e, r); err != nil {
		return err
	}
	if e.State.Disposed() {
		return &remark{"objects of it were there again, and are removed"}
	}
	if _, err := k.move(ctx, key, disposed[kind], nil); err != nil {
		return err
	}
	return original(e)
}

// idle refuses a recording while a pass has its inbox. A waived recording may have been
// waived in the middle of its transfer: the pass would store it behind the removal.
func (k *Keeper) idle(ctx context.Context, key state.Key) error {
	k.claiming.Lock()
	defer k.claiming.Unlock()
	c, err := k.Ledger.Claim(ctx, key.Org, key.Inbox)
	if errors.Is(err, state.ErrClaimed) {
		return refusef("a run works on its inbox, and may be storing the recording: give the order again after the run")
	}
	if err == nil {
		err = c.Release(ctx)
	}
	return failure.OfLedger(err)
}

// original says where the original of an entry may still be.
func original(e *state.Entry) error {
	if e.State == state.StateArchived {
		return &remark{"the original may still be in Genesys Cloud: it has to be deleted there, too; archiverd never archives it again"}
	}
	return nil
}

// disposed are the states of what an act removed.
var disposed = map[state.ActKind]state.State{state.ActErase: state.StateErased, state.ActExpire: state.StateExpired}

// mayRemove says why the ledger keeps an entry from being removed.
func mayRemove(e *state.Entry, kind state.ActKind) error {
	switch act := e.Disposal(); {
	case act != nil && act.Kind != kind:
		return refusef("%s began to %s it on %s: give that order again", act.By, act.Kind, day(act.At))
	case act != nil:
		return nil
	}
	if cases := e.Cases(); len(cases) > 0 {
		return refusef("it is held by %s", strings.Join(cases, ", "))
	}
	switch {
	case e.State == state.StateDeleteRequested:
		return refusef("the deletion of its original has been requested and is not confirmed: give the order again after the next run")
	case !e.State.Stored() && len(e.Versions) > 0 && e.State != state.StateWaived:
		return refusef("it is %s, and about to be archived again: give the order again after the next run, or waive it first", e.State)
	case len(e.Versions) == 0:
		return refusef("it is %s: nothing of it is stored", e.State)
	}
	return nil
}

// kept turns what keeps a version into a reason to leave its recording.
func (k *Keeper) kept(ctx context.Context, key state.Key, v storage.Version, err error, bypass bool) error {
	locked, isLocked := errors.AsType[*storage.LockedError](err)
	switch {
	case errors.Is(err, storage.ErrHeld):
		now, err := k.Ledger.Entry(ctx, key)
		if err != nil {
			return failure.OfLedger(err)
		}
		if len(now.Cases()) > 0 { // since it was looked at
			return mayRemove(&now, state.ActErase)
		}
		return refusef("%s has a legal hold that no case of the ledger's names: release it in the store if it is not wanted", v.Key)
	case isLocked && locked.Retention.Mode == "GOVERNANCE" && !bypass:
		return refusef("governance retention keeps %s until %s: only --bypass-governance removes it before", v.Key, day(locked.Retention.Until))
	case isLocked:
		return refusef("compliance retention keeps %s until %s: nobody can remove it before", v.Key, day(locked.Retention.Until))
	}
	return err
}

// empty removes all that the store holds of a recording, and lists again until nothing is
// left.
func (k *Keeper) empty(ctx context.Context, key state.Key, e *state.Entry, r Removal) error {
	for range 3 {
		there, err := k.stored(ctx, key, e, r.With)
		if err != nil || len(there) == 0 {
			return err
		}
		for _, v := range there {
			if err := r.With.Remove(ctx, v, r.Bypass); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("remove %s: the store accepts the removals, and still lists versions", key)
}

// stored lists what the store holds of a recording: media first, manifests last, so that
// what a crash leaves still says what it is of.
func (k *Keeper) stored(ctx context.Context, key state.Key, e *state.Entry, with remover) (all []storage.Version, err error) {
	stems, err := k.stems(key, e)
	if err != nil {
		return nil, err
	}
	for _, stem := range stems {
		for v, err := range with.Versions(ctx, stem) {
			if err != nil {
				return nil, err
			}
			if k.owns(key, v.Key) {
				all = append(all, v)
			}
		}
	}
	return all, nil
}

// stems returns what the keys of the recording's objects begin with: of media, then of
// manifests. It refuses an entry that names a key of another recording.
func (k *Keeper) stems(key state.Key, e *state.Entry) ([]string, error) {
	media, manifests := map[string]bool{}, map[string]bool{}
	add := func(to map[string]bool, object string) error {
		if !k.owns(key, object) {
			return refusef("the ledger names %s, which is no key of this recording: nothing is removed", object)
		}
		parsed, _ := record.ParseKey(k.Prefix, object)
		parsed.Number = 1
		to[record.Stem(parsed.Path(k.Prefix))] = true
		return nil
	}
	for _, object := range append([]string{e.MediaKey}, e.BadKeys...) {
		if err := add(media, object); err != nil {
			return nil, err
		}
	}
	manifest := record.Keys{Prefix: k.Prefix, Org: key.Org, Inbox: key.Inbox}.Manifest(e.MediaKey, 1)
	if err := add(manifests, manifest); err != nil {
		return nil, err
	}
	for _, v := range e.Versions {
		if err := errors.Join(add(media, v.MediaKey), add(manifests, v.ManifestKey)); err != nil {
			return nil, err
		}
	}
	return append(slices.Sorted(maps.Keys(media)), slices.Sorted(maps.Keys(manifests))...), nil
}

// owns reports whether an object's key is one of the recording's.
func (k *Keeper) owns(key state.Key, object string) bool {
	parsed, ok := record.ParseKey(k.Prefix, object)
	return ok && parsed.Org == key.Org && parsed.Inbox == record.EscapeID(key.Inbox) && parsed.Recording == record.EscapeID(key.Recording)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
