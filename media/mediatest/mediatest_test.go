package mediatest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func generate(t *testing.T, s Spec) (*Media, []byte) {
	t.Helper()
	m, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != m.Size() {
		t.Fatalf("%s: read %d bytes of %d", s.Format, len(b), m.Size())
	}
	return m, b
}

func TestBytesAreTheSameAtEveryOffset(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, format := range Formats() {
		m, b := generate(t, Spec{ID: "a/b ☃", Format: format, Duration: 2345 * time.Millisecond})
		for range 300 {
			off := random.Int64N(m.Size())
			p := make([]byte, random.IntN(20000))
			n, err := m.ReadAt(p, off)
			if want := b[off:min(m.Size(), off+int64(len(p)))]; !bytes.Equal(p[:n], want) {
				t.Fatalf("%s: other bytes at %d", format, off)
			}
			if (n < len(p)) != (err == io.EOF) {
				t.Fatalf("%s: ReadAt(%d bytes, %d) = %d, %v", format, len(p), off, n, err)
			}
		}
	}
}

func TestSpecsHaveBytesOfTheirOwn(t *testing.T) {
	seen := map[[32]byte]bool{}
	for _, format := range Formats() {
		for _, s := range []Spec{{ID: "a"}, {ID: "b"}, {ID: "a", Version: 1}, {ID: "a", Encoding: 1}} {
			s.Format, s.Duration = format, time.Second
			size, sum, err := SHA256(s)
			if err != nil {
				t.Fatal(err)
			}
			m, b := generate(t, s)
			if seen[sum] || sum != sha256.Sum256(b) || size != m.Size() {
				t.Errorf("%+v: hash %x of %d bytes", s, sum, size)
			}
			seen[sum] = true
		}
	}
}

func TestMagic(t *testing.T) {
	magic := map[string][]string{
		WAV: {"RIFF"}, WAVULaw: {"RIFF"}, WEBM: {"\x1a\x45\xdf\xa3"}, OggOpus: {"OggS"}, OggVorbis: {"OggS"},
		MP3: {"ID3", "\xff\xfb"}, None: {"\x1a\x45\xdf\xa3", "RIFF"},
	}
	for format, starts := range magic {
		seen := map[string]bool{}
		for i := range 64 {
			_, b := generate(t, Spec{ID: strings.Repeat("x", i), Format: format, Duration: time.Second})
			for _, s := range starts {
				seen[s] = seen[s] || bytes.HasPrefix(b, []byte(s))
			}
		}
		for _, s := range starts {
			if !seen[s] {
				t.Errorf("%s: no media start with %q", format, s)
			}
		}
	}
}

func TestWAVStatesItsSizes(t *testing.T) {
	for format, want := range map[string]struct{ tag, header, perMilli int }{WAV: {1, 44, 16}, WAVULaw: {7, 58, 8}} {
		for _, d := range []time.Duration{time.Millisecond, 999 * time.Millisecond, 3 * time.Second} {
			_, b := generate(t, Spec{ID: "a", Format: format, Duration: d})
			data := int(d.Milliseconds()) * want.perMilli
			le := binary.LittleEndian
			if len(b) != want.header+data {
				t.Errorf("%s, %v: %d bytes", format, d, len(b))
			}
			if riff := int(le.Uint32(b[4:])); riff != len(b)-8 {
				t.Errorf("%s, %v: RIFF states %d of %d bytes", format, d, riff, len(b))
			}
			if tag := int(le.Uint16(b[20:])); tag != want.tag {
				t.Errorf("%s: format tag %d", format, tag)
			}
			if rate := int(le.Uint32(b[28:])); rate != 1000*want.perMilli {
				t.Errorf("%s: %d bytes a second", format, rate)
			}
			if got := int(le.Uint32(b[want.header-4:])); got != data || string(b[want.header-8:want.header-4]) != "data" {
				t.Errorf("%s, %v: data chunk states %d of %d bytes", format, d, got, data)
			}
		}
	}
}

func TestWAVCanStateAnotherSize(t *testing.T) {
	for _, stated := range []uint32{0, 1000, math.MaxUint32} {
		_, b := generate(t, Spec{ID: "a", Format: WAV, Duration: time.Second, WAVDataSize: &stated})
		if got := binary.LittleEndian.Uint32(b[40:]); got != stated || len(b) != 16044 {
			t.Errorf("stated %d, want %d, in %d bytes", got, stated, len(b))
		}
	}
}

func TestSizeIsMet(t *testing.T) {
	for _, format := range Formats() {
		for _, size := range []int64{1, 5_000, 1_000_000, 600 << 20} {
			m, err := New(Spec{ID: "a", Format: format, Size: size})
			if err != nil {
				t.Fatal(err)
			}
			if m.Size() < size || m.Size() > size+size/20+20_000 {
				t.Errorf("%s: %d bytes where about %d were asked for", format, m.Size(), size)
			}
			if m.Duration() <= 0 {
				t.Errorf("%s: no duration", format)
			}
		}
	}
}

// TestHugeMediaAreMadeWhereTheyAreRead reads the end of media that no memory would hold.
func TestHugeMediaAreMadeWhereTheyAreRead(t *testing.T) {
	for _, format := range Formats() {
		m, err := New(Spec{ID: "a", Format: format, Size: 1 << 40})
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 10)
		if n, err := m.ReadAt(b, m.Size()-10); n != 10 || err != nil {
			t.Errorf("%s: read %d of 10 bytes at the end: %v", format, n, err)
		}
	}
}

func BenchmarkWAV(b *testing.B) {
	b.SetBytes(64 << 20)
	for b.Loop() {
		m, _ := New(Spec{ID: "a", Format: WAV, Size: 64 << 20})
		_, _ = io.Copy(io.Discard, m.Reader())
	}
}

func TestEmptyAndWrongSpecs(t *testing.T) {
	for _, format := range Formats() {
		if m, b := generate(t, Spec{ID: "a", Format: format, Duration: time.Second, Empty: true}); len(b) != 0 || m.Duration() != 0 {
			t.Errorf("%s: empty media have %d bytes", format, len(b))
		}
	}
	for _, s := range []Spec{{Format: "FLAC"}, {Format: WAV, Size: -1}, {Format: WAV, Duration: -1 * time.Second}} {
		if _, err := New(s); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
}

// TestOggPages walks the pages: their checksums, sequence, and where they end.
func TestOggPages(t *testing.T) {
	for format, granule := range map[string]uint64{OggOpus: 2345*48 + 312, OggVorbis: 2345 * 16} {
		_, b := generate(t, Spec{ID: strings.Repeat("é", 1000), Format: format, Duration: 2345 * time.Millisecond})
		for sequence := uint32(0); len(b) > 0; sequence++ {
			size := 27 + int(b[26])
			for _, n := range b[27:size] {
				size += int(n)
			}
			page := bytes.Clone(b[:size])
			clear(page[22:26])
			if oggCRC(page) != binary.LittleEndian.Uint32(b[22:]) || binary.LittleEndian.Uint32(b[18:]) != sequence {
				t.Fatalf("%s: page %d is wrong", format, sequence)
			}
			b = b[size:]
			if last := page[5]&4 != 0; last != (len(b) == 0) {
				t.Errorf("%s: page %d: end of stream %t", format, sequence, last)
			}
			if got := binary.LittleEndian.Uint64(page[6:]); len(b) == 0 && got != granule {
				t.Errorf("%s: ends at %d, want %d", format, got, granule)
			}
		}
	}
}

// TestOggCRC knows the check value of CRC-32/CKSUM before its final inversion: the same polynomial, bit order and start as Ogg's.
func TestOggCRC(t *testing.T) {
	if got := oggCRC([]byte("123456789")); got != 0x89a1897f {
		t.Errorf("CRC %08x", got)
	}
}
