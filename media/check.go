// Package media checks, while media are downloaded, whether they are the whole of a
// recording. A download whose length is right can still be half of a recording: a
// transcoder that died serves the part it has, with the right Content-Length for that
// part. So the container itself has to show where it ends:
//
//	Ogg   pages follow each other without a gap, their checksums are right, and the
//	      last page of every stream is marked as the last
//	WebM  the sizes of elements add up to the last byte
//	MP3   frame follows frame to the last byte, as many as a Xing or VBRI header counts
//	WAV   the chunks add up to the last byte
//	MP4   the boxes add up to the last byte, and moov and mdat are among them
//
// A container that does not say where it ends (a WAV streamed to a pipe, an MP3 without
// a count) is whole only if it lasts as long as the recording's metadata say. Payloads
// are skipped, not decoded: an altered payload is noticed only in Ogg.
//
// A Check keeps at most 64 KiB, whatever sizes the media declare, and is for one
// goroutine.
package media

import (
	"fmt"
	"net/http"
	"time"

	"github.com/archiverd/archiverd/genesys"
)

// A WrongError says that the bytes are not media of the requested format. Such bytes
// are never stored.
type WrongError struct{ Reason string }

func (e *WrongError) Error() string { return "not the media asked for: " + e.Reason }

// A MismatchError says that media contradict themselves or the recording's metadata:
// they are cut or broken, or their header is wrong.
type MismatchError struct{ Reason string }

func (e *MismatchError) Error() string { return "media disagree with themselves: " + e.Reason }

// Expected holds the statements of a recording's metadata about its media.
type Expected struct {
	Duration time.Duration // 0: the metadata give no duration
	Empty    bool          // the metadata say that there are no bytes
}

// Result is the outcome of a Check. Either Whole is true or Unproved says why not.
type Result struct {
	Whole    bool          // the container ends properly, and nothing contradicts that
	Unproved string        // why it is not known whether the media are whole
	Duration time.Duration // of the media; 0: not known
	Checks   []string      // names of the checks made, for a manifest
}

// headBytes is the length of the beginning in which magic bytes are looked for.
const headBytes = 512

// Check checks one recording's media.
type Check struct {
	format    genesys.Format
	head      []byte
	size      int64
	container *feed // nil: no container was recognized, or the beginning is not complete yet
	sought    bool  // the container was looked for
}

// New returns a Check of media that were requested in format f.
func New(f genesys.Format) *Check { return &Check{format: f} }

// Write checks the next bytes. It never fails.
func (c *Check) Write(p []byte) (int, error) {
	n := len(p)
	c.size += int64(n)
	if !c.sought {
		take := min(headBytes-len(c.head), len(p))
		c.head = append(c.head, p[:take]...)
		if p = p[take:]; len(c.head) < headBytes {
			return n, nil
		}
		c.seek()
	}
	if c.container != nil {
		c.container.write(p)
	}
	return n, nil
}

// seek recognizes the container by the first bytes and writes them to its parser.
func (c *Check) seek() {
	c.sought = true
	if r := recognize(c.head); r != nil {
		c.container = newFeed(r)
		c.container.write(c.head)
	}
}

// Size returns the number of bytes written.
func (c *Check) Size() int64 { return c.size }

// Magic returns a *WrongError if the beginning is not that of the requested format.
// It needs only the beginning. It accepts an empty body, which Finish judges.
func (c *Check) Magic() error {
	if len(c.head) == 0 {
		return nil
	}
	if kind := textual(c.head); kind != "" {
		return &WrongError{"the link served " + kind}
	}
	if !magicMatches(c.format, c.head) {
		return &WrongError{fmt.Sprintf("want %s, but the bytes begin with % x (%s)", c.format, c.head[:min(12, len(c.head))], c.Detected())}
	}
	return nil
}

// Detected returns the content type that the bytes themselves show.
func (c *Check) Detected() string {
	switch {
	case magicMatches(genesys.FormatWEBM, c.head):
		return "video/webm"
	case magicMatches(genesys.FormatWAV, c.head):
		return "audio/wav"
	case isOgg(c.head):
		return "audio/ogg"
	case magicMatches(genesys.FormatMP3, c.head):
		return "audio/mpeg"
	}
	return http.DetectContentType(c.head)
}

// Finish judges the whole body. A *WrongError says that it is not the requested media,
// a *MismatchError that it contradicts itself or the metadata. No Write may follow.
func (c *Check) Finish(want Expected) (Result, error) {
	if c.size == 0 {
		if !want.Empty {
			return Result{}, &WrongError{"the body is empty, and the metadata do not say so"}
		}
		return Result{Whole: true, Checks: []string{"whole body", "empty as the metadata say"}}, nil
	}
	if err := c.Magic(); err != nil {
		return Result{}, err
	}
	if !c.sought {
		c.seek()
	}
	r := Result{Checks: []string{"whole body", "magic bytes"}}
	if c.container == nil {
		r.Unproved = "archiverd does not know this container, and cannot find its end"
		return r, nil
	}
	end := c.container.finish()
	if end.fault != "" {
		return Result{}, &MismatchError{end.fault}
	}
	return judge(r, end, want.Duration)
}

// lastWitness is how much shorter than their metadata say media may be if only the
// duration shows their end. It is less than the general bound, because no other check
// would notice a cut.
const lastWitness = 250 * time.Millisecond

// judge compares durations and decides with the container's ending whether the media are
// whole.
func judge(r Result, end ending, want time.Duration) (Result, error) {
	r.Duration = end.duration
	known := want > 0 && end.duration > 0
	if known {
		if (end.duration - want).Abs() > max(time.Second, want/50) {
			return Result{}, &MismatchError{fmt.Sprintf("the media last %s, durationMilliseconds says %s", end.duration.Round(time.Millisecond), want)}
		}
		r.Checks = append(r.Checks, "duration")
	}
	switch {
	case end.open == "":
		r.Whole = true
		r.Checks = append(r.Checks, "container ends properly")
	case !known:
		r.Unproved = end.open + ", and there is no duration to compare"
	case want-end.duration > max(lastWitness, want/50):
		r.Unproved = fmt.Sprintf("%s, and the media are %s shorter than durationMilliseconds says", end.open, (want - end.duration).Round(time.Millisecond))
	default:
		r.Whole = true
	}
	return r, nil
}
