package audit

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/storage"
)

// ObjectTotal counts the objects of a kind.
type ObjectTotal struct {
	Kind    ObjectKind `json:"kind"`
	Objects int64      `json:"objects"`
}

// Unnamed is an object that the ledger does not name.
type Unnamed struct {
	Kind  ObjectKind `json:"kind"`
	Org   string     `json:"org"`
	Inbox string     `json:"inbox"`
	Key   string     `json:"key"`
	Size  int64      `json:"size"`
}

// readBucket lists the inbox's media and manifests, and sends a HEAD for every object that the
// ledger does not name.
func (r *reconciler) readBucket(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Workers)
	err := r.list(ctx, func(obj storage.Object, k record.Key, ok bool) {
		if !r.expected(obj.Key, k) {
			g.Go(func() error { return r.unnamed(ctx, obj, k, ok) })
		}
	})
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return failure.ErrStopped
	}
	return err
}

// expected reports whether the ledger names the object, and counts it if so.
func (r *reconciler) expected(key string, k record.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch _, named := slices.BinarySearch(r.named, r.hash(key)); {
	case named:
		r.kinds[ObjectNamed]++
		r.sides[r.hash(k.Recording)] |= inBucket
	case r.bad[key]:
		r.kinds[ObjectBad]++
	default:
		return false
	}
	return true
}

// list calls f with the selected objects and the content of their keys.
func (r *reconciler) list(ctx context.Context, f func(obj storage.Object, k record.Key, ok bool)) error {
	for _, kind := range []string{"media", "manifests"} {
		prefix, last := r.Prefix+"/"+kind+"/org="+r.out.Org+"/inbox="+record.EscapeID(r.out.Inbox)+"/", ""
		for obj, err := range r.Bucket.ListAfter(ctx, prefix, "") {
			if err != nil {
				return err
			}
			k, ok := record.ParseKey(r.Prefix, obj.Key)
			if obj.Key == last || !r.span.holds(k.Day) {
				continue // versitygw begins a page with the last key of the one before
			}
			last = obj.Key
			r.objects++
			f(obj, k, ok)
		}
	}
	return nil
}

// unnamed reports an object that the ledger does not name. The object's metadata show whether
// archiverd wrote it.
func (r *reconciler) unnamed(ctx context.Context, obj storage.Object, k record.Key, ok bool) error {
	kind := ObjectForeign
	if ok {
		var err error
		if kind, err = r.kind(ctx, obj.Key, k); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds[kind]++
	h := r.hash(k.Recording)
	s := r.sides[h]
	switch {
	case kind == ObjectReturned, kind == ObjectUnknown && s&inLedger != 0:
		r.sides[h] |= inBucket | extra
	case kind == ObjectUnknown:
		r.sides[h] |= inBucket
		if s&inBucket == 0 {
			id, _ := record.UnescapeID(k.Recording)
			if err := r.to.Recording(Reconciled{ClassUnknown, r.out.Org, r.out.Inbox, id, obj.Key}); err != nil {
				return err
			}
		}
	case kind == ObjectAdopt || kind == ObjectLeftover:
		r.sides[h] |= inBucket
	}
	return r.to.Object(Unnamed{kind, r.out.Org, r.out.Inbox, obj.Key, obj.Size})
}

func (r *reconciler) kind(ctx context.Context, key string, k record.Key) (ObjectKind, error) {
	var obj storage.Object
	again := func(err error) { r.Log.Debug("trying again", "error", err) }
	err := failure.Retry(ctx, again, func() (err error) { obj, err = r.Bucket.Head(ctx, key, ""); return err })
	if errors.Is(err, storage.ErrNotFound) {
		return ObjectRemoved, r.Bucket.Check(ctx)
	}
	if err != nil {
		return "", err
	}
	r.mu.Lock()
	s := r.sides[r.hash(k.Recording)]
	r.mu.Unlock()
	switch {
	case !record.SameRecording(obj.Metadata, map[string]string{record.MetaOrg: k.Org, record.MetaInbox: k.Inbox, record.MetaRecording: k.Recording}):
		return ObjectForeign, nil
	case s&removed != 0:
		return ObjectReturned, nil
	case s&waits != 0:
		return ObjectAdopt, nil
	case s&inLedger != 0 && r.superseded(ctx, k, obj.Metadata[record.MetaDateModified]):
		return ObjectLeftover, nil
	}
	return ObjectUnknown, nil
}

// superseded reports whether the ledger has a version of the recording that is as new. If a
// recording changed after an interrupted transfer, no ledger ever names the object that the
// transfer left. But an object that is newer than the ledger's versions should be named.
func (r *reconciler) superseded(ctx context.Context, k record.Key, dateModified string) bool {
	id, _ := record.UnescapeID(k.Recording)
	e, err := r.Ledger.Entry(ctx, r.key(id))
	if err != nil {
		return false
	}
	have, ok := genesys.ParseTime(dateModified)
	newest, known := genesys.ParseTime(e.Newest().DateModified)
	return ok && known && !have.After(newest)
}

// add counts a recording that was found on these sides.
func (t *ClassTotal) add(s side) {
	t.Recordings++
	for on, n := range map[side]*int64{inGenesys: &t.Genesys, inLedger: &t.Ledger, inBucket: &t.Bucket} {
		if s&on != 0 {
			*n++
		}
	}
}

// sum counts the recordings that the ledger does not know, and makes the checks.
func (r *reconciler) sum() {
	for _, s := range r.sides {
		switch {
		case s&inLedger != 0:
		case s&inBucket != 0:
			r.classes[ClassUnknown].add(s)
		default:
			r.classes[ClassWaiting].add(s)
		}
	}
	for _, c := range Classes {
		r.out.Classes = append(r.out.Classes, *r.classes[c])
	}
	for _, k := range ObjectKinds {
		r.out.Objects = append(r.out.Objects, ObjectTotal{k, r.kinds[k]})
	}
	total, stored := r.out.Total(), r.out.Stored
	r.out.Checks = []CrossCheck{
		{"recordings in all classes, and recordings met on any side", total.Recordings, int64(len(r.sides))},
		{"recordings in the column Genesys, and recordings listed", total.Genesys, r.out.Genesys.Listed},
		{"recordings in the column ledger, and entries read", total.Ledger, r.entries},
		{"objects of all kinds, and objects in the bucket", r.out.TotalObjects(), r.objects},
		{"objects sound and faulty, and objects that the ledger names", stored.Sound + stored.Found(), stored.Objects},
	}
}
