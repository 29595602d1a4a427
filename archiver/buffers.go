package archiver

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// PartSize is the size in bytes of a transfer buffer, and so of a multipart part:
// S3's 10,000 parts carry 78 GiB. A recording up to this size is one put.
const PartSize = 8 << 20

// buffers hands out at most memory/PartSize buffers at a time. The one given back
// last is used next, so that there are never more than were in use at once; its
// pages are touched only as far as recordings reach.
type buffers struct {
	room *semaphore.Weighted

	mu   sync.Mutex
	free [][]byte
}

func newBuffers(memory int64) *buffers {
	return &buffers{room: semaphore.NewWeighted(max(1, memory/PartSize))}
}

// get waits for a buffer.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	if err := b.room.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.free); n > 0 {
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf, nil
	}
	return make([]byte, PartSize), nil
}

func (b *buffers) put(buf []byte) {
	b.mu.Lock()
	b.free = append(b.free, buf)
	b.mu.Unlock()
	b.room.Release(1)
}
