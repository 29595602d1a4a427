package archiver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// digest follows media as they stream: hashes, and the checks of the media check.
type digest struct {
	*mediaCheck
	sha hash.Hash
	crc hash.Hash32
}

func newDigest(f genesys.Format) *digest {
	return &digest{mediaCheck: newMediaCheck(f), sha: sha256.New(), crc: crc32.NewIEEE()}
}

func (d *digest) Write(p []byte) (int, error) {
	d.sha.Write(p)
	d.crc.Write(p)
	return d.mediaCheck.Write(p)
}

func (d *digest) sum() (s [sha256.Size]byte) {
	d.sha.Sum(s[:0])
	return s
}

// matches compares a checksum that a store shows with the bytes that went by, if
// its algorithm is one of those followed.
func (d *digest) matches(c storage.Checksum) (equal, comparable bool) {
	switch c.Algorithm {
	case "SHA256":
		return c.Value == base64.StdEncoding.EncodeToString(d.sha.Sum(nil)), true
	case "CRC32":
		return c.Value == base64.StdEncoding.EncodeToString(d.crc.Sum(nil)), true
	}
	return false, false
}

// stored is one object proved to be in the archive.
type stored struct {
	storage.Object
	sha256   string
	detected string // content type by the bytes
	suspect  string
	checks   []string
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
	m, err := p.store(ctx, k, e, rec, pl.key, body)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	p.count(func(r *state.Pass) { r.Bytes += m.Size })
	return p.describe(ctx, k, e, rec, m, description{downloaded: &now, correlationIDs: src.correlationIDs})
}

// store writes a body to its key and proves that it is there.
func (p *pass) store(ctx context.Context, k state.Key, e state.Entry, rec genesys.Recording, key string, body *body) (*stored, error) {
	buf := p.buffers.first()
	defer p.buffers.put(buf)
	n := storage.New{
		Key:         key,
		ContentType: contentType(p.in.Format, body.media.ContentType),
		Metadata:    p.keys.metadata(k.Recording, e.DateModified, p.in.Format),
		Retention:   p.retention(e.DateCreated, time.Now()),
	}
	d := newDigest(p.in.Format)
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
	if err := d.magic(); err != nil {
		return nil, err
	}
	var suspect string
	var written storage.Object
	if end {
		if suspect, err = p.judge(d, rec, e); err != nil {
			return nil, err
		}
		n.Metadata[metaSHA256] = hex.EncodeToString(d.sha.Sum(nil))
		written, err = p.Bucket.Put(ctx, n, buf[:filled], d.sum())
	} else {
		written, suspect, err = p.storeParts(ctx, n, e, rec, d, body, buf)
	}
	if err != nil {
		return nil, placeTaken(lockRefused(err, n.Retention))
	}
	obj, readBack, err := p.prove(ctx, key, written.VersionID, d, n.Retention)
	if errors.Is(err, errCorrupt) {
		err = p.reportCorrupt(k, e.State, key, err)
	}
	if err != nil {
		return nil, err
	}
	return p.storedMedia(obj, d, suspect, readBack), nil
}

// storeParts uploads a body longer than one buffer, whose first bytes are in buf.
// The upload becomes visible only after every check on the whole body.
func (p *pass) storeParts(ctx context.Context, n storage.New, e state.Entry, rec genesys.Recording, d *digest, body io.Reader, buf []byte) (obj storage.Object, suspect string, err error) {
	u, err := p.Bucket.Create(ctx, n)
	if err != nil {
		return obj, "", err
	}
	if err := p.Ledger.AddUpload(state.UploadRef{Key: u.Key, ID: u.ID, Started: time.Now().UTC()}); err != nil {
		return obj, "", errors.Join(&ledgerError{err}, u.Abort(ctx))
	}
	defer func() {
		if err != nil {
			p.abort(ctx, u)
		} else if lerr := p.Ledger.RemoveUpload(u.Key, u.ID); lerr != nil {
			err = &ledgerError{lerr}
		}
	}()
	if err = p.sendParts(ctx, u, d, body, buf); err != nil {
		return obj, "", err
	}
	if suspect, err = p.judge(d, rec, e); err != nil {
		return obj, "", err
	}
	obj, err = u.Complete(ctx, d.crc.Sum32())
	return obj, suspect, err
}

// sendParts sends what is in buf, which is full, and the rest of the body. While a
// second buffer is free, one part is sent as the next is read.
func (p *pass) sendParts(ctx context.Context, u *storage.Upload, d *digest, body io.Reader, buf []byte) error {
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

// fill reads until the buffer is full or the body ends.
func (d *digest) fill(r io.Reader, buf []byte) (n int, end bool, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		d.Write(buf[n : n+m])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

// judge decides on the whole body. Media that disagree with themselves are stored
// as suspect once enough passes have seen the same.
func (p *pass) judge(d *digest, rec genesys.Recording, e state.Entry) (suspect string, err error) {
	err = d.finish(rec)
	var mismatch *mismatchError
	if errors.As(err, &mismatch) && e.Mismatches >= suspectPass-1 {
		return mismatch.reason, nil
	}
	return "", err
}

// placeTaken turns a create-only refusal, or an upload that is gone when it is to be
// completed, into another look at the place: what stands there may be one's own, from
// a write whose reply was lost.
func placeTaken(err error) error {
	if errors.Is(err, storage.ErrExists) || errors.Is(err, storage.ErrNoUpload) {
		return fmt.Errorf("the place was taken meanwhile, %w: %w", errAgain, err)
	}
	return err
}

// lockRefused tells a bucket that has no Object Lock, to which S3 answers that the
// request is invalid, from a failure of the recording's own.
func lockRefused(err error, asked storage.Retention) error {
	var e *storage.Error
	if asked.Mode != "" && errors.As(err, &e) && e.Code == "InvalidRequest" {
		return fmt.Errorf("%w: %w", errNotLocked, err)
	}
	return err
}

// errCorrupt says that an object in the archive has not the bytes it should have.
var errCorrupt = errors.New("the stored bytes are not the ones written")

// prove shows that an object is in the store with the digest's bytes and the
// retention asked for: by HEAD, or by reading all of it where HEAD shows no
// checksum or the store was seen not to check any. A write's own reply proves nothing.
func (p *pass) prove(ctx context.Context, key, versionID string, d *digest, want storage.Retention) (obj storage.Object, readBack bool, err error) {
	obj, err = p.Bucket.Head(ctx, key, versionID)
	if errors.Is(err, storage.ErrNotFound) {
		return obj, false, fmt.Errorf("the store accepted %s but does not show it: %w", key, err)
	}
	if err != nil {
		return obj, false, err
	}
	if obj.Size != d.size {
		return obj, false, fmt.Errorf("%s has %d bytes of %d: %w", key, obj.Size, d.size, errCorrupt)
	}
	trusted, err := p.storeTrusted(ctx)
	if err != nil {
		return obj, false, err
	}
	if equal, comparable := d.matches(obj.Checksum); !comparable || !trusted {
		readBack = true
		if err := p.compare(ctx, obj, d.sum()); err != nil {
			return obj, true, err
		}
	} else if !equal {
		return obj, false, fmt.Errorf("%s shows another %s: %w", key, obj.Checksum.Algorithm, errCorrupt)
	}
	return obj, readBack, locked(obj, want)
}

// compare reads a stored object and compares its SHA-256.
func (p *pass) compare(ctx context.Context, obj storage.Object, want [sha256.Size]byte) error {
	d := newDigest(genesys.FormatNone)
	if err := p.readInto(ctx, obj, d); err != nil {
		return err
	}
	if d.sum() != want {
		return fmt.Errorf("%s read back has another SHA-256: %w", obj.Key, errCorrupt)
	}
	return nil
}

func (a *Archiver) readInto(ctx context.Context, obj storage.Object, w io.Writer) error {
	r, _, err := a.Bucket.Get(ctx, obj.Key, obj.VersionID)
	if err != nil {
		return err
	}
	defer r.Close()
	if n, err := io.Copy(w, r); err != nil || n != obj.Size {
		return fmt.Errorf("read back %s: %d of %d bytes: %w", obj.Key, n, obj.Size, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}

// storedMedia sums up what was proved of a media object.
func (p *pass) storedMedia(obj storage.Object, d *digest, suspect string, readBack bool) *stored {
	checks := []string{"whole body", "magic bytes"}
	if d.isWAV() && d.size > 0 && suspect == "" {
		checks = append(checks, "WAV sizes and duration")
	}
	if readBack {
		checks = append(checks, "read back")
	} else {
		checks = append(checks, "HEAD size and "+obj.Checksum.Algorithm)
	}
	return &stored{Object: obj, sha256: hex.EncodeToString(d.sha.Sum(nil)), detected: d.detected(), suspect: suspect, checks: checks}
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
