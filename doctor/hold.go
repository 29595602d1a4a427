package doctor

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/storage"
)

// holds checks that the store keeps and shows a legal hold, and that it does not delete a held
// object, not even with permission to bypass locks. The hold is released afterwards.
func (v *visit) holds(ctx context.Context) {
	const name = "store.hold"
	const rights = "s3:PutObjectLegalHold and s3:GetObjectLegalHold: without them archiverd hold is refused, and a new version of a held recording gets no hold"
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
		v.fail(name, failure.KindIntegrity, "if recordings are to be held, use a store that keeps legal holds: archiverd hold is refused on this one", "%v", err)
		return
	case err != nil:
		v.warn(name, storeRemedy(err, rights), "an object can't be held: %v", err)
		return
	}
	deletion := v.Probe.Delete(ctx, key, obj.VersionID, true)
	if err := v.Bucket.SetHold(ctx, key, obj.VersionID, false); err != nil {
		v.fail(name, failure.KindIntegrity, "if recordings are to be held, use a store that keeps legal holds", "the hold of an object could not be released (before that, its deletion gave: %v): %v", deletion, err)
		return
	}
	if deletion == nil {
		v.fail(name, failure.KindIntegrity, "if recordings are to be held, use a store that keeps legal holds", "a held object was deleted")
		return
	}
	v.pass(name, "a held object is shown as held, was not deleted, and was released")
}
