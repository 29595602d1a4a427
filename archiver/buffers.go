package archiver

import "context"

// PartSize is the size in bytes of a transfer buffer, and so of a multipart part:
// S3's 10,000 parts carry 78 GiB. A recording up to this size is one put.
const PartSize = 8 << 20

// buffers hands out at most memory/PartSize buffers at a time. A buffer given back
// is used again; its pages are touched only as far as recordings reach.
type buffers struct {
	free chan []byte // nil stands for a buffer not yet made
}

func newBuffers(memory int64) *buffers {
	n := max(1, memory/PartSize)
	b := &buffers{free: make(chan []byte, n)}
	for range n {
		b.free <- nil
	}
	return b
}

// get waits for a buffer.
func (b *buffers) get(ctx context.Context) ([]byte, error) {
	select {
	case buf := <-b.free:
		if buf == nil {
			buf = make([]byte, PartSize)
		}
		return buf, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *buffers) put(buf []byte) { b.free <- buf }
