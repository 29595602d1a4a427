package archiver

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/archiverd/archiverd/storage"
)

const (
	// PartSize is the size in bytes of a transfer buffer, and so of a multipart part:
	// the smallest that S3 takes, of which 10,000 carry 48 GiB. Two small buffers
	// that take turns are faster than one large. A recording up to this size is one put.
	PartSize = storage.MinPartSize
	// firstSize is how many bytes of a recording are read before it gets a buffer
	// of PartSize: most recordings need none.
	firstSize = 256 << 10
)

// buffers hands out buffers of PartSize, as many at a time as memory holds beside
// a small one for each worker. The one given back last is used next, so that there
// are never more than were in use at once.
type buffers struct {
	room   *semaphore.Weighted
	spares *semaphore.Weighted // of the room, what second buffers may take

	mu    sync.Mutex
	large [][]byte
	small [][]byte
}

func newBuffers(memory int64, workers int) *buffers {
	room := max(1, (memory-int64(workers)*firstSize)/PartSize)
	return &buffers{room: semaphore.NewWeighted(room), spares: semaphore.NewWeighted(room / 6)}
}

// first gives a buffer of firstSize; each worker has one at most.
func (b *buffers) first() []byte { return b.reuse(&b.small, firstSize) }

// get waits for a buffer of PartSize.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	if err := b.room.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return b.reuse(&b.large, PartSize), nil
}

// spare gives a transfer its second buffer of PartSize, or nil: only some get one,
// and none that another's first one waits for.
func (b *buffers) spare() []byte {
	if !b.spares.TryAcquire(1) {
		return nil
	}
	if !b.room.TryAcquire(1) {
		b.spares.Release(1)
		return nil
	}
	return b.reuse(&b.large, PartSize)
}

// putSpare takes back what spare gave.
func (b *buffers) putSpare(buf []byte) {
	b.put(buf)
	b.spares.Release(1)
}

// drop leaves the buffers that nobody uses to the collector.
func (b *buffers) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.large, b.small = nil, nil
}

func (b *buffers) reuse(free *[][]byte, size int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(*free); n > 0 {
		buf := (*free)[n-1]
		*free = (*free)[:n-1]
		return buf
	}
	return make([]byte, size)
}

// put takes back a buffer of either size.
func (b *buffers) put(buf []byte) {
	b.mu.Lock()
	if len(buf) == firstSize {
		b.small = append(b.small, buf)
		b.mu.Unlock()
		return
	}
	b.large = append(b.large, buf)
	b.mu.Unlock()
	b.room.Release(1)
}
