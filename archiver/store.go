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
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// stored is one object proved to be in the archive.
type stored struct {
	storage.Object
	verdict
	sha256   string
	detected string // content type by the bytes
}

// transfer downloads one recording into a free place and describes it there.
func (t *turn) transfer(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, pl place) error {
	p := t.pass
	src, err := t.ready(ctx, k.Recording)
	if err != nil {
		return err
	}
	body, err := src.body(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	begun := time.Now()
	m, err := p.store(ctx, k, e, rec, pl, body)
	var known *knownMediaError
	if errors.As(err, &known) {
		return p.keepVersion(ctx, k, e, rec, reseen{*known, begun, src.correlationIDs})
	}
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	p.count(func(r *state.Pass) { r.Bytes += m.Size })
	return p.describe(ctx, k, e, rec, m, description{downloaded: &now, correlationIDs: src.correlationIDs, fresh: pl.fresh})
}

// store writes a body to its key and proves that it is there.
func (p *pass) store(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, pl place, body *body) (*stored, error) {
	buf := p.buffers.first()
	defer p.buffers.put(buf)
	n := storage.New{
		Key:         pl.key,
		ContentType: contentType(p.in.Format, body.media.ContentType),
		Metadata:    p.keys.Metadata(k.Recording, e, p.in.Format),
		Retention:   p.Retention.Lock(e.DateCreated, time.Now()),
	}
	d := newMediaDigest(p.in.Format)
	filled, end, err := d.fill(body, buf)
	if err != nil {
		return nil, err
	}
	if !end {
		large, err := p.buffers.get(ctx)
		if err != nil {
			return nil, err
		}
		defer p.buffers.put(large)
		copy(large, buf)
		more := 0
		if more, end, err = d.fill(body, large[filled:]); err != nil {
			return nil, err
		}
		buf, filled = large, filled+more
	}
	if err := d.check.Magic(); err != nil {
		return nil, err
	}
	var v verdict
	var written storage.Object
	if end {
		if v, err = p.judge(ctx, d, k, e, rec); err != nil {
			return nil, err
		}
		n.Metadata[record.MetaSHA256] = d.Hex()
		written, err = p.Bucket.Put(ctx, n, buf[:filled], d.Sum())
	} else {
		if err := p.lookAtLast(ctx, pl); err != nil {
			return nil, err
		}
		judge := func() (verdict, error) { return p.judge(ctx, d, k, e, rec) }
		written, v, err = p.storeParts(ctx, n, d, body, buf, judge)
	}
	if err != nil {
		return nil, placeTaken(lockRefused(err, n.Retention))
	}
	obj, readBack, err := p.prover.Prove(ctx, pl.key, written.VersionID, d.Digest, n.Retention)
	if errors.Is(err, failure.ErrCorrupt) {
		err = p.reportCorrupt(ctx, k, e.State, pl.key, err)
	}
	if err != nil {
		return nil, err
	}
	return storedMedia(obj, d, v, readBack), nil
}

// lookAtLast looks at a fresh place before a multipart upload to it begins: a store that
// refuses a second create need not refuse one that comes in parts (Ceph RGW 16 does not).
func (p *pass) lookAtLast(ctx context.Context, pl place) error {
	if !pl.fresh {
		return nil
	}
	_, err := p.Bucket.Head(ctx, pl.key, "")
	switch {
	case err == nil:
		return fmt.Errorf("the place was taken meanwhile: %w", errAgain)
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}

// storeParts uploads a body longer than one buffer, whose first bytes are in buf.
// The upload becomes visible only after judge has decided on the whole body.
func (p *pass) storeParts(ctx context.Context, n storage.New, d mediaDigest, body io.Reader, buf []byte, judge func() (verdict, error)) (obj storage.Object, v verdict, err error) {
	u, err := p.Bucket.Create(ctx, n)
	if err != nil {
		return obj, v, err
	}
	if err := p.Ledger.AddUpload(ctx, state.UploadRef{Org: p.in.Org, Inbox: p.in.ID, Key: u.Key, ID: u.ID, Started: time.Now().UTC()}); err != nil {
		return obj, v, errors.Join(failure.OfLedger(err), u.Abort(ctx))
	}
	defer func() {
		if err != nil {
			p.abort(ctx, u)
		} else if lerr := p.Ledger.RemoveUpload(context.WithoutCancel(ctx), u.Key, u.ID); lerr != nil {
			err = failure.OfLedger(lerr)
		}
	}()
	if err = p.sendParts(ctx, u, d, body, buf); err != nil {
		return obj, v, err
	}
	if v, err = judge(); err != nil {
		return obj, v, err
	}
	obj, err = u.Complete(ctx, d.CRC32())
	return obj, v, err
}

// sendParts sends what is in buf, which is full, and the rest of the body. While a
// second buffer is free, one part is sent as the next is read.
func (p *pass) sendParts(ctx context.Context, u *storage.Upload, d mediaDigest, body io.Reader, buf []byte) error {
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

// abortTimeout bounds the clean-up of an abandoned upload.
const abortTimeout = 10 * time.Second

// abort ends an upload although its context may have ended. The ledger remembers it
// for the next runs, which make sure.
func (p *pass) abort(ctx context.Context, u *storage.Upload) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := u.Abort(ctx); err != nil {
		p.log.Warn("an unfinished upload stays behind until the next run", "key", u.Key, "error", err)
	}
}

// placeTaken turns a create-only refusal, a conflict with another write, or an upload
// that is gone when it is to be completed, into another look at the place: what stands
// there may be one's own, from a write whose reply was lost.
func placeTaken(err error) error {
	switch {
	case errors.Is(err, storage.ErrExists), errors.Is(err, storage.ErrNoUpload):
		return fmt.Errorf("the place was taken meanwhile, %w: %w", errAgain, err)
	case errors.Is(err, storage.ErrConflict):
		return fmt.Errorf("the place was being taken, %w: %w", errAgain, err)
	}
	return err
}

// lockRefused tells a bucket that has no Object Lock, to which S3 answers that the
// request is invalid, from a failure of the recording's own.
func lockRefused(err error, asked storage.Retention) error {
	var e *storage.Error
	if asked.Mode != "" && errors.As(err, &e) && e.Code == "InvalidRequest" {
		return fmt.Errorf("%w: %w", failure.ErrNotLocked, err)
	}
	return err
}

// storedMedia sums up what was proved of a media object.
func storedMedia(obj storage.Object, d mediaDigest, v verdict, readBack bool) *stored {
	if readBack {
		v.checks = append(v.checks, "read back")
	} else {
		v.checks = append(v.checks, "HEAD size and "+obj.Checksum.Algorithm)
	}
	return &stored{Object: obj, verdict: v, sha256: d.Hex(), detected: d.check.Detected()}
}

// contentType is what the media are stored as: the format's own type, or for an
// original what its host called it.
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
