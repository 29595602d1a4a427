package archiver

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/state"
)

// suspectPass is the number of the pass in which media that still contradict themselves
// are archived as suspect.
const suspectPass = 3

// A verdict says whether media are the whole recording. Exactly one holds: the media are
// whole, suspect, or not proved whole.
type verdict struct {
	whole    bool
	suspect  string        // why the media are doubted, or ""
	unproved string        // why it is not known whether the media are whole, or ""
	duration time.Duration // of the media; 0: not known
	checks   []string
}

// mark writes the verdict into a version.
func (v verdict) mark(to *state.Version) {
	to.Whole, to.Suspect, to.Unproved = v.whole, v.suspect, v.unproved
}

// expected returns what the recording's metadata say of its media.
func expected(rec genesys.Recording) media.Expected {
	var e media.Expected
	if rec.DurationMilliseconds != nil {
		e.Duration = time.Duration(*rec.DurationMilliseconds) * time.Millisecond
	}
	e.Empty = rec.ContentLength != nil && *rec.ContentLength == 0
	return e
}

// judge decides on media that were read to their end. Media that contradict themselves or
// the metadata are a *media.MismatchError; with mayDoubt, they are suspect instead, and
// archived.
func (d mediaDigest) judge(rec genesys.Recording, mayDoubt bool) (verdict, error) {
	r, err := d.check.Finish(expected(rec))
	if mismatch, ok := errors.AsType[*media.MismatchError](err); ok && mayDoubt {
		return verdict{suspect: mismatch.Reason, checks: []string{"whole body", "magic bytes"}}, nil
	}
	return verdict{whole: r.Whole, unproved: r.Unproved, duration: r.Duration, checks: r.Checks}, err
}

// judge decides on the whole body of a download before the store shows anything of it.
// Besides checking the media it looks whether the same bytes came before: for this
// recording, which is a *knownMediaError, or for another, which is a *twinError.
func (t *transfer) judge(ctx context.Context, d mediaDigest) (verdict, error) {
	e := t.entry
	v, err := d.judge(t.rec, e.Mismatches >= suspectPass-1)
	if err != nil {
		return v, err
	}
	if v, err = t.judgeTwin(ctx, d, v); err != nil {
		return v, err
	}
	sum := d.Hex()
	for i, known := range slices.Backward(e.Versions) {
		if known.SHA256 == sum && known.Size == d.Size && known.Format == string(t.in.Format) && !slices.Contains(e.BadKeys, known.MediaKey) {
			return v, &knownMediaError{version: i, verdict: v}
		}
	}
	return v, nil
}

// A knownMediaError says that the archive holds the downloaded media already, as a
// version of the same recording.
type knownMediaError struct {
	version int // its index in the entry's versions
	verdict verdict
}

func (e *knownMediaError) Error() string { return "the archive holds these media already" }

// mediaDigest is the digest of media, which are checked as they stream by.
type mediaDigest struct {
	*proof.Digest
	check *media.Check
}

func newMediaDigest(f genesys.Format) mediaDigest {
	return mediaDigest{proof.NewDigest(), media.New(f)}
}

func (d mediaDigest) Write(p []byte) (int, error) {
	d.Digest.Write(p)
	return d.check.Write(p)
}

// fill reads until the buffer is full or the body ends.
func (d mediaDigest) fill(r io.Reader, buf []byte) (n int, end bool, err error) {
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
