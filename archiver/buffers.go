package archiver

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/archiverd/archiverd/storage"
)

const (
	// PartSize is the size in bytes of a transfer buffer, and so of a multipart part. It is
	// the smallest that S3 accepts; 10,000 parts of it carry 48 GiB. Two small buffers in
	// turn are faster than one large buffer. A recording up to this size is sent in one
	// request.
	PartSize = storage.MinPartSize
	// firstSize is how many bytes of a recording are read before the recording gets a buffer
	// of PartSize. Most recordings need no such buffer.
	firstSize = 256 << 10
)

// buffers lends buffers of PartSize: as many as the memory holds beside a small one for
// each worker. It lends the one given back last, so that no more exist than were in use at
// once.
type buffers struct {
	room   *semaphore.Weighted
	spares *semaphore.Weighted // the part of the room that second buffers may take

	mu    sync.Mutex
	large [][]byte
	small [][]byte
}

func newBuffers(memory int64, workers int) *buffers {
	room := max(1, (memory-int64(workers)*firstSize)/PartSize)
	return &buffers{room: semaphore.NewWeighted(room), spares: semaphore.NewWeighted(room / 6)}
}

// first returns a buffer of firstSize. Each worker has at most one.
func (b *buffers) first() []byte { return b.reuse(&b.small, firstSize) }

// get waits for a buffer of PartSize.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	if err := b.room.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return b.reuse(&b.large, PartSize), nil
}

// spare returns a second buffer of PartSize for a transfer, or nil. It lends one only if
// no other transfer waits for its first, and at most a sixth of all buffers.
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

// drop frees the buffers that nobody uses.
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
