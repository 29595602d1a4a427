package archiver

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/archiverd/archiverd/storage"
)

// canary remembers, for this process, whether the store was seen to check what it
// is given.
type canary struct {
	mu      sync.Mutex
	sung    bool
	trusted bool
}

// storeTrusted shows by trying that the store refuses a wrong checksum and a
// second create. It leaves one small object below {prefix}/doctor/ for each ledger.
// A store that fails this may only echo the checksums it was sent, so it is not
// believed: what it holds is read back after each write and before each deletion.
func (a *Archiver) storeTrusted(ctx context.Context) (bool, error) {
	a.canary.mu.Lock()
	defer a.canary.mu.Unlock()
	if a.canary.sung {
		return a.canary.trusted, nil
	}
	dir := a.Prefix + "/doctor/" + a.Ledger.ID()
	checks, err := a.refusesCorrupt(ctx, dir+"-corrupt")
	if err != nil {
		return false, err
	}
	creates, err := a.refusesSecond(ctx, dir+"-canary")
	if err != nil {
		return false, err
	}
	a.canary.sung, a.canary.trusted = true, checks && creates
	if !a.canary.trusted {
		a.Log.Warn("the store does not check what it is given: everything is read back after it was written, and before each deletion",
			"refuses_wrong_checksum", checks, "refuses_second_create", creates)
	}
	return a.canary.trusted, nil
}

func (a *Archiver) refusesCorrupt(ctx context.Context, key string) (bool, error) {
	err := a.Bucket.PutCorrupt(ctx, key)
	if errors.Is(err, storage.ErrChecksum) {
		return true, nil
	}
	if errors.Is(err, storage.ErrExists) {
		return false, nil // an earlier process's corrupt put was accepted
	}
	return false, err
}

func (a *Archiver) refusesSecond(ctx context.Context, key string) (bool, error) {
	text := []byte("archiverd looks here whether this store refuses to overwrite\n")
	for range 2 {
		_, err := a.Bucket.Put(ctx, storage.New{Key: key, ContentType: "text/plain"}, text, sha256.Sum256(text))
		if errors.Is(err, storage.ErrExists) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
