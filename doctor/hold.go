package doctor

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/storage"
)

// holds wants a legal hold kept and shown, and what is held not deleted, not even with
// permission to bypass. The hold is released afterwards.
func (v *visit) holds(ctx context.Context) {
	const name = "store.hold"
	const rights = "s3:PutObjectLegalHold and s3:GetObjectLegalHold: without them archiverd hold is refused, and what is archived of a held recording is not held"
	key, text := v.dir+"-hold", []byte(canaryText)
	obj, err := v.Bucket.Put(ctx, storage.New{Key: key, ContentType: "text/plain"}, text, sha256.Sum256(text))
	if err == nil {
		err = v.Bucket.SetHold(ctx, key, obj.VersionID, true)
	}
	switch {
	case errors.Is(err, storage.ErrNoLocks):
		v.unchecked(name, "the bucket has no Object Lock, so nothing in it can be held: archiverd hold is refused")
		return
	case errors.Is(err, storage.ErrIgnored):
		v.fail(name, failure.KindIntegrity, "use a store that keeps legal holds where recordings are to be held: archiverd hold is refused on this one", "%v", err)
		return
	case err != nil:
		v.warn(name, storeRemedy(err, rights), "an object can't be held: %v", err)
		return
	}
	deletion := v.Probe.Delete(ctx, key, obj.VersionID, true)
	if err := v.Bucket.SetHold(ctx, key, obj.VersionID, false); err != nil {
		v.fail(name, failure.KindIntegrity, "use a store that keeps what is held where recordings are to be held", "a held object can't be released any more (a deletion of it gave: %v): %v", deletion, err)
		return
	}
	if deletion == nil {
		v.fail(name, failure.KindIntegrity, "use a store that keeps what is held where recordings are to be held", "a held object was deleted")
		return
	}
	v.pass(name, "a held object is shown as held, was not deleted, and was released")
}
