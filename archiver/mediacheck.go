package archiver

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"github.com/archiverd/archiverd/genesys"
)

// A wrongMediaError says that the bytes behind a link are not media of the
// format asked for. They are never stored.
type wrongMediaError struct{ reason string }

func (e *wrongMediaError) Error() string { return "not the media asked for: " + e.reason }

// A mismatchError says that media disagree with their own header or with the
// recording's metadata: a cut or a broken transcode, or a wrong header for ever.
type mismatchError struct{ reason string }

func (e *mismatchError) Error() string { return "media disagree with themselves: " + e.reason }

// headBytes is how much of the beginning the magic bytes are looked for in.
const headBytes = 512

// mediaCheck looks at media as they stream by. It keeps a few hundred bytes,
// whatever the length.
type mediaCheck struct {
	format genesys.Format
	head   []byte
	size   int64
	wav    wavReader
}

func newMediaCheck(f genesys.Format) *mediaCheck { return &mediaCheck{format: f} }

// Write takes the next bytes; it never fails.
func (c *mediaCheck) Write(p []byte) (int, error) {
	if room := headBytes - len(c.head); room > 0 {
		c.head = append(c.head, p[:min(room, len(p))]...)
	}
	if c.isWAV() {
		c.wav.write(p)
	}
	c.size += int64(len(p))
	return len(p), nil
}

func (c *mediaCheck) isWAV() bool {
	return c.format == genesys.FormatWAV || c.format == genesys.FormatWAVULAW
}

// magic tells whether the beginning is that of media in the format asked for.
// Nothing of the media but the beginning need have been written. An empty body
// has no beginning: see finish.
func (c *mediaCheck) magic() error {
	if len(c.head) == 0 {
		return nil
	}
	if kind := textual(c.head); kind != "" {
		return &wrongMediaError{"the link served " + kind}
	}
	if !magicMatches(c.format, c.head) {
		return &wrongMediaError{fmt.Sprintf("want %s, but the bytes begin with % x (%s)", c.format, c.head[:min(12, len(c.head))], c.detected())}
	}
	return nil
}

// detected names the content type that the bytes themselves show.
func (c *mediaCheck) detected() string {
	switch {
	case magicMatches(genesys.FormatWEBM, c.head):
		return "video/webm"
	case magicMatches(genesys.FormatWAV, c.head):
		return "audio/wav"
	case bytes.HasPrefix(c.head, []byte("OggS")):
		return "audio/ogg"
	case magicMatches(genesys.FormatMP3, c.head):
		return "audio/mpeg"
	}
	return http.DetectContentType(c.head)
}

// finish judges the whole body against the recording's metadata. A mismatchError
// can mean a header that is simply wrong; every other error, wrong bytes.
func (c *mediaCheck) finish(rec genesys.Recording) error {
	if c.size == 0 {
		if rec.ContentLength != nil && *rec.ContentLength == 0 {
			return nil
		}
		return &wrongMediaError{"the body is empty, and the metadata do not say so"}
	}
	if err := c.magic(); err != nil {
		return err
	}
	if !c.isWAV() {
		return nil
	}
	if err := c.wav.agrees(); err != nil {
		return err
	}
	return c.duration(rec)
}

// duration compares a WAV's length with the metadata: 2 % or 1 s apart at most.
func (c *mediaCheck) duration(rec genesys.Recording) error {
	if rec.DurationMilliseconds == nil || c.wav.byteRate == 0 {
		return nil
	}
	want := time.Duration(*rec.DurationMilliseconds) * time.Millisecond
	have := time.Duration(float64(c.wav.audioBytes()) / float64(c.wav.byteRate) * float64(time.Second))
	if (have - want).Abs() > max(time.Second, want/50) {
		return &mismatchError{fmt.Sprintf("the audio lasts %s, durationMilliseconds says %s", have.Round(time.Millisecond), want)}
	}
	return nil
}

// magicMatches follows the containers' own specifications: RIFF (RF64 beyond 4 GiB),
// EBML, Ogg with the codec's identification header on its first page, and MPEG
// audio layer III frames or an ID3v2 tag before them.
func magicMatches(f genesys.Format, head []byte) bool {
	switch f {
	case genesys.FormatWAV, genesys.FormatWAVULAW:
		return len(head) >= 12 && (string(head[:4]) == "RIFF" || string(head[:4]) == "RF64") && string(head[8:12]) == "WAVE"
	case genesys.FormatWEBM:
		return bytes.HasPrefix(head, []byte{0x1A, 0x45, 0xDF, 0xA3})
	case genesys.FormatOggVorbis:
		return bytes.HasPrefix(head, []byte("OggS")) && bytes.Contains(head, []byte("\x01vorbis"))
	case genesys.FormatOggOpus:
		return bytes.HasPrefix(head, []byte("OggS")) && bytes.Contains(head, []byte("OpusHead"))
	case genesys.FormatMP3:
		return bytes.HasPrefix(head, []byte("ID3")) || len(head) >= 2 && head[0] == 0xFF && head[1]&0xE6 == 0xE2
	}
	return true // NONE: the original, whatever it is, once it is known to be no text
}

// textual names what error pages and API errors are made of, or "".
func textual(head []byte) string {
	for _, bom := range []string{"\xEF\xBB\xBF", "\xFE\xFF", "\xFF\xFE"} {
		if rest, ok := bytes.CutPrefix(head, []byte(bom)); ok {
			head = rest
			break
		}
	}
	head = bytes.TrimLeft(head, " \t\r\n\x00")
	switch {
	case len(head) == 0:
		return ""
	case head[0] == '{' || head[0] == '[':
		return "JSON"
	case bytes.HasPrefix(head, []byte("<?xml")) || bytes.HasPrefix(head, []byte("<\x00?")):
		return "XML"
	case head[0] == '<':
		return "HTML or XML"
	}
	return ""
}
