package proof

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"

	"github.com/archiverd/archiverd/storage"
)

// canary remembers, for this process, whether the store was seen to check what it is given.
type canary struct {
	mu      sync.Mutex
	tried   bool
	trusted bool
}

// Trusted reports whether the store checks what it is given: it refuses a body with a wrong
// checksum, and a second create of one key. A store that does not may only echo the
// checksums that it was sent, so everything it holds must be read back. Trusted tries this
// once, and leaves one small object below {prefix}/doctor/ for each ledger.
func (p *Prover) Trusted(ctx context.Context) (bool, error) {
	p.canary.mu.Lock()
	defer p.canary.mu.Unlock()
	if p.canary.tried {
		return p.canary.trusted, nil
	}
	dir := p.Prefix + "/doctor/" + p.Ledger
	checks, err := p.refusesCorrupt(ctx, dir+"-corrupt")
	if err != nil {
		return false, err
	}
	creates, err := p.refusesSecond(ctx, dir+"-canary")
	if err != nil {
		return false, err
	}
	p.canary.tried, p.canary.trusted = true, checks && creates
	if !p.canary.trusted {
		p.Log.Warn("the store does not check what it is given: everything is read back after it was written, and before each deletion",
			"refuses_wrong_checksum", checks, "refuses_second_create", creates)
	}
	return p.canary.trusted, nil
}

func (p *Prover) refusesCorrupt(ctx context.Context, key string) (bool, error) {
	err := p.Bucket.PutCorrupt(ctx, key)
	if errors.Is(err, storage.ErrChecksum) {
		return true, nil
	}
	if errors.Is(err, storage.ErrExists) {
		return false, nil // the store accepted an earlier process's corrupt put
	}
	return false, err
}

func (p *Prover) refusesSecond(ctx context.Context, key string) (bool, error) {
	text := []byte("archiverd looks here whether this store refuses to overwrite\n")
	for range 2 {
		_, err := p.Bucket.Put(ctx, storage.New{Key: key, ContentType: "text/plain"}, text, sha256.Sum256(text))
		if errors.Is(err, storage.ErrExists) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}
