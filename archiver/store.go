package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/uploads"
)

// stored is a media object that the store was proved to hold.
type stored struct {
	storage.Object
	verdict
	sha256   string
	detected string // content type by the bytes
}

// download downloads the recording into a free place and describes it there.
func (t *transfer) download(ctx context.Context, pl place) error {
	src, err := t.turn.ready(ctx, t.key.Recording)
	if err != nil {
		return err
	}
	body, err := src.body(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	begun := time.Now()
	m, err := t.store(ctx, pl, body)
	if known, ok := errors.AsType[*knownMediaError](err); ok {
		return t.keepVersion(ctx, reseen{*known, begun, src.correlationIDs})
	}
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	t.count(func(r *state.Pass) { r.Bytes += m.Size })
	return t.describe(ctx, m, description{downloaded: &now, correlationIDs: src.correlationIDs, fresh: pl.fresh})
}

// store writes a body to its key and proves that it is there.
func (t *transfer) store(ctx context.Context, pl place, body *body) (*stored, error) {
	n := storage.New{
		Key:         pl.key,
		ContentType: contentType(t.in.Format, body.media.ContentType),
		Metadata:    t.keys.Metadata(t.key.Recording, t.entry, t.in.Format),
		Retention:   t.Retention.Lock(t.entry.DateCreated, t.Prover.Now()),
	}
	d := newMediaDigest(t.in.Format)
	versionID, v, err := t.send(ctx, n, d, body, pl.fresh)
	if err != nil {
		return nil, err
	}
	obj, readBack, err := t.Prover.Prove(ctx, n.Key, versionID, d.Digest, n.Retention)
	if errors.Is(err, failure.ErrCorrupt) {
		err = t.reportCorrupt(ctx, n.Key, err)
	}
	if err != nil {
		return nil, err
	}
	return storedMedia(obj, d, v, readBack), nil
}

// send sends a body to the store: in one request if a buffer holds it, else in parts. The
// object becomes visible only after judge has decided on the whole body. send returns the
// object's version id.
func (t *transfer) send(ctx context.Context, n storage.New, d mediaDigest, body io.Reader, fresh bool) (string, verdict, error) {
	buf := t.buffers.first()
	defer t.buffers.put(buf)
	filled, end, err := d.fill(body, buf)
	if err != nil {
		return "", verdict{}, err
	}
	if !end {
		large, err := t.buffers.get(ctx)
		if err != nil {
			return "", verdict{}, err
		}
		defer t.buffers.put(large)
		copy(large, buf)
		more := 0
		if more, end, err = d.fill(body, large[filled:]); err != nil {
			return "", verdict{}, err
		}
		buf, filled = large, filled+more
	}
	if err := d.check.Magic(); err != nil {
		return "", verdict{}, err
	}
	if end {
		return t.sendWhole(ctx, n, d, buf[:filled])
	}
	if fresh {
		if err := t.lookAtLast(ctx, n.Key); err != nil {
			return "", verdict{}, err
		}
	}
	return t.sendParts(ctx, n, d, body, buf)
}

// sendWhole sends a body in one request.
func (t *transfer) sendWhole(ctx context.Context, n storage.New, d mediaDigest, text []byte) (string, verdict, error) {
	v, err := t.judge(ctx, d)
	if err != nil {
		return "", v, err
	}
	n.Metadata[record.MetaSHA256] = d.Hex()
	written, err := t.Bucket.Put(ctx, n, text, d.Sum())
	return written.VersionID, v, placeTaken(proof.LockRefused(err, n.Retention))
}

// lookAtLast looks at a fresh place before a multipart upload to it begins: a store that
// refuses a second create may still accept one in parts (Ceph RGW 16 does).
func (t *transfer) lookAtLast(ctx context.Context, key string) error {
	_, err := t.Bucket.Head(ctx, key, "")
	switch {
	case err == nil:
		return fmt.Errorf("the place was taken meanwhile: %w", errAgain)
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}

// sendParts uploads a body longer than one buffer, whose first bytes are in buf.
func (t *transfer) sendParts(ctx context.Context, n storage.New, d mediaDigest, body io.Reader, buf []byte) (versionID string, v verdict, err error) {
	u, err := t.Uploads.Begin(ctx, t.claim, n)
	if err != nil {
		return "", v, placeTaken(proof.LockRefused(err, n.Retention))
	}
	defer func() { err = u.End(ctx, err) }()
	if err = t.sendEach(ctx, u, d, body, buf); err != nil {
		return "", v, placeTaken(proof.LockRefused(err, n.Retention))
	}
	if v, err = t.judge(ctx, d); err != nil {
		return "", v, err
	}
	written, err := u.Complete(ctx, d.CRC32())
	return written.VersionID, v, placeTaken(proof.LockRefused(err, n.Retention))
}

// sendEach sends what is in buf, which is full, and the rest of the body. If a second buffer
// is free, it sends one part while it reads the next.
func (p *pass) sendEach(ctx context.Context, u *uploads.Upload, d mediaDigest, body io.Reader, buf []byte) error {
	spare := p.buffers.spare()
	if spare != nil {
		defer p.buffers.putSpare(spare)
	}
	for filled, end := len(buf), false; filled > 0; {
		var sending errgroup.Group
		part := buf[:filled]
		sending.Go(func() error { return u.Part(ctx, part) })
		if end {
			return sending.Wait()
		}
		var err error
		if spare == nil {
			if err = sending.Wait(); err != nil {
				return err
			}
		} else {
			buf, spare = spare, buf
		}
		filled, end, err = d.fill(body, buf)
		if err = errors.Join(sending.Wait(), err); err != nil {
			return err
		}
	}
	return nil
}

// placeTaken makes errAgain of the refusal of a second create, of a conflict with another
// write, and of an upload that is gone when it is to be completed. The place is looked at
// again: the object there may be our own, from a write whose reply was lost.
func placeTaken(err error) error {
	switch {
	case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNoUpload):
		return fmt.Errorf("the place was taken meanwhile, %w: %w", errAgain, err)
	case errors.Is(err, storage.ErrConflict):
		return fmt.Errorf("the place was being taken, %w: %w", errAgain, err)
	}
	return err
}

// storedMedia returns a media object with what was proved of it.
func storedMedia(obj storage.Object, d mediaDigest, v verdict, readBack bool) *stored {
	if readBack {
		v.checks = append(v.checks, "read back")
	} else {
		v.checks = append(v.checks, "HEAD size and "+obj.Checksum.Algorithm)
	}
	return &stored{Object: obj, verdict: v, sha256: d.Hex(), detected: d.check.Detected()}
}

// contentType returns the content type that media are stored with: the format's own, or
// for an original the one that its host served.
func contentType(f genesys.Format, served string) string {
	switch f {
	case genesys.FormatWAV, genesys.FormatWAVULAW:
		return "audio/wav"
	case genesys.FormatWEBM:
		return "video/webm"
	case genesys.FormatOggVorbis, genesys.FormatOggOpus:
		return "audio/ogg"
	case genesys.FormatMP3:
		return "audio/mpeg"
	}
	return "application/octet-stream"
}
