// Package mediatest makes the media of simulated recordings: real containers that players open, and bytes that a test can predict.
//
// The bytes are a function of a Spec alone. They are made while they are read, at any offset, so that a recording of many gigabytes
// takes no memory. Two Specs that differ in id, version, encoding or format have other bytes.
//
// The package knows nothing of archiverd's own code, so that the two can't share a mistake.
package mediatest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// The formats of Genesys' formatId.
const (
	WAV       = "WAV"        // PCM, 16 bits, 8 kHz, mono
	WEBM      = "WEBM"       // Matroska with one Opus track
	WAVULaw   = "WAV_ULAW"   // format tag 7, 8 kHz, mono
	OggVorbis = "OGG_VORBIS" // 16 kHz, mono
	OggOpus   = "OGG_OPUS"   // 48 kHz, mono
	MP3       = "MP3"        // MPEG-1 layer III, 64 kbit/s, 44.1 kHz, mono; some with an ID3v2 tag, some without
	None      = "NONE"       // the original: for some recordings a WebM, for others a WAV
)

// Formats lists all formats.
func Formats() []string {
	return []string{WAV, WEBM, WAVULaw, OggVorbis, OggOpus, MP3, None}
}

// Spec says whose media these are and how long they last.
type Spec struct {
	ID       string // of the recording
	Version  int    // of the recording's content
	Encoding int    // counts transcodes of one version whose bytes differ
	Format   string

	Duration time.Duration // whole milliseconds
	Size     int64         // where Duration is 0: about this many bytes, never fewer unless below one unit of the format
	Empty    bool          // no bytes at all

	WAVDataSize *uint32 // what a WAV's data chunk states instead of its true size
}

// Media are the bytes of one Spec. They are safe for concurrent use.
type Media struct {
	spec        Spec
	contentType string
	duration    time.Duration

	// The bytes are head, then units of equal size of which the last may be shorter.
	head []byte
	unit int64
	body int64
	fill func(unit int64, b []byte) // writes all of unit into b
}

// New lays out the media of s.
func New(s Spec) (*Media, error) {
	m := &Media{spec: s, duration: s.Duration.Truncate(time.Millisecond)}
	build := m.builder()
	if build == nil {
		return nil, fmt.Errorf("mediatest: unknown format %q", s.Format)
	}
	if m.duration < 0 || s.Size < 0 {
		return nil, fmt.Errorf("mediatest: negative length")
	}
	build()
	if s.Empty {
		m.head, m.body, m.duration = nil, 0, 0
	}
	return m, nil
}

func (m *Media) builder() func() {
	format := m.spec.Format
	if format == None {
		format = WEBM
		if m.seed()%2 == 1 {
			format = WAV
		}
	}
	switch format {
	case WAV:
		return func() { m.wav(1, 2) }
	case WAVULaw:
		return func() { m.wav(7, 1) }
	case WEBM:
		return m.webm
	case OggOpus:
		return m.oggOpus
	case OggVorbis:
		return m.oggVorbis
	case MP3:
		return m.mp3
	}
	return nil
}

// lasting gives the duration, in units of 1/rate s, for media that take bytesPerSecond.
func (m *Media) lasting(rate, bytesPerSecond int64) int64 {
	if m.duration == 0 {
		ms := (m.spec.Size*1000 + bytesPerSecond - 1) / bytesPerSecond
		m.duration = time.Duration(ms) * time.Millisecond
	}
	return m.duration.Milliseconds() * rate / 1000
}

// Size is the number of bytes.
func (m *Media) Size() int64 { return int64(len(m.head)) + m.body }

// Duration is how long the media play.
func (m *Media) Duration() time.Duration { return m.duration }

// ContentType is the media type of the container.
func (m *Media) ContentType() string { return m.contentType }

// ETag is a strong entity tag: equal for equal bytes.
func (m *Media) ETag() string {
	sum := m.identity()
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}

// Reader reads the media from the start.
func (m *Media) Reader() *io.SectionReader { return io.NewSectionReader(m, 0, m.Size()) }

// ReadAt implements io.ReaderAt.
func (m *Media) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("mediatest: negative offset")
	}
	n := 0
	if off < int64(len(m.head)) {
		n = copy(p, m.head[off:])
	}
	for n < len(p) && off+int64(n) < m.Size() {
		n += m.readUnit(p[n:], off+int64(n)-int64(len(m.head)))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readUnit copies from the unit that holds byte off of the body.
func (m *Media) readUnit(p []byte, off int64) int {
	i := off / m.unit
	size := min(m.unit, m.body-i*m.unit)
	if off == i*m.unit && int64(len(p)) >= size {
		m.fill(i, p[:size])
		return int(size)
	}
	b := make([]byte, size)
	m.fill(i, b)
	return copy(p, b[off-i*m.unit:])
}

// SHA256 reads the media of s once and gives their size and hash.
func SHA256(s Spec) (size int64, sum [sha256.Size]byte, err error) {
	m, err := New(s)
	if err != nil {
		return 0, sum, err
	}
	h := sha256.New()
	size, err = io.Copy(h, m.Reader())
	return size, [sha256.Size]byte(h.Sum(nil)), err
}

// identity hashes all of the Spec that the bytes depend on.
func (m *Media) identity() [sha256.Size]byte {
	s := m.spec
	stated := int64(-1)
	if s.WAVDataSize != nil {
		stated = int64(*s.WAVDataSize)
	}
	return sha256.Sum256(fmt.Appendf(nil, "%q %d %d %s %d %d %t %d",
		s.ID, s.Version, s.Encoding, s.Format, s.Duration.Milliseconds(), s.Size, s.Empty, stated))
}

// seed is the start of the media's pseudo-random bytes. It leaves out what the layout derives from it.
func (m *Media) seed() uint64 {
	s := m.spec
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %s", s.ID, s.Version, s.Encoding, s.Format))
	return binary.LittleEndian.Uint64(sum[:])
}

// title goes into the containers that have a place for one.
func (m *Media) title() string {
	return fmt.Sprintf("%s, version %d, encoding %d", m.spec.ID, m.spec.Version, m.spec.Encoding)
}

// noise fills b with the pseudo-random bytes (splitmix64) of one unit; each 8 bytes are passed through shape.
func noise(b []byte, seed uint64, unit int64, shape func(uint64) uint64) {
	x := seed + uint64(unit)*0xd1342543de82ef95
	next := func() uint64 {
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		return shape(z ^ z>>31)
	}
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, next())
	}
	if len(b) > 0 {
		copy(b, binary.LittleEndian.AppendUint64(nil, next()))
	}
}
