package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"time"
)

// ogg walks the pages of an Ogg bitstream (RFC 3533): the pages of a stream are numbered
// without a gap, each has a right checksum, and the last page of each stream is marked as
// the last. Streams may be interleaved or chained.
type ogg struct {
	step    oggStep
	streams []*oggStream
	now     *oggStream
	header  [27]byte
	crc     uint32 // checksum of the page so far
	sum     uint32 // the page's declared checksum
	body    []byte // the beginning of a stream's first packet
	links   int    // links of the chain so far
}

// oggStream is one logical bitstream.
type oggStream struct {
	serial  uint32
	next    uint32 // sequence number of the next page
	rate    uint32 // granules a second; 0: not known
	preSkip int64  // granules before the first sound
	last    int64  // granule position of the last page that has one
	ended   bool
	link    int // the stream's link of the chain; streams of one link play at the same time
}

// maxStreams bounds the logical bitstreams of one file, also chained ones.
const maxStreams = 256

func (o *ogg) next(b []byte) ask {
	switch o.step {
	case oggHead:
		return o.head(b)
	case oggSegments:
		return o.segments(b)
	case oggBody:
		if o.crc != o.sum {
			return ask{fault: "the checksum of an Ogg page is wrong"}
		}
		if o.body != nil {
			o.now.identify(o.body)
		}
	}
	o.step = oggHead
	return ask{read: 27}
}

// oggStep says what the last requested bytes are.
type oggStep int

const (
	oggBegin    oggStep = iota
	oggHead             // a page's header
	oggSegments         // its table of segments
	oggBody             // none: the page's payload was skipped
)

func (o *ogg) head(b []byte) ask {
	if !bytes.HasPrefix(b, []byte("OggS\x00")) {
		return ask{fault: "the bytes after an Ogg page are not another page"}
	}
	copy(o.header[:], b)
	o.step = oggSegments
	if b[26] == 0 {
		return o.segments(nil)
	}
	return ask{read: int(b[26])}
}

// Flags of a page header.
const (
	oggFirst = 2
	oggLast  = 4
)

func (o *ogg) segments(table []byte) ask {
	size := 0
	for _, n := range table {
		size += int(n)
	}
	h := o.header
	if fault := o.follow(h[5], binary.LittleEndian.Uint32(h[14:]), binary.LittleEndian.Uint32(h[18:])); fault != "" {
		return ask{fault: fault}
	}
	if granule := int64(binary.LittleEndian.Uint64(h[6:])); granule >= 0 {
		o.now.last = max(o.now.last, granule)
	}
	o.sum = binary.LittleEndian.Uint32(h[22:])
	clear(h[22:26])
	o.crc = oggCRC(oggCRC(0, h[:]), table)
	o.body = nil
	if h[5]&oggFirst != 0 {
		o.body = make([]byte, 0, 32)
	}
	o.step = oggBody
	return ask{skip: int64(size)}
}

// follow finds the page's stream and checks that the page follows the stream's last page.
func (o *ogg) follow(flags byte, serial, number uint32) string {
	o.now = nil
	for _, s := range o.streams {
		if s.serial == serial && !s.ended {
			o.now = s
		}
	}
	switch {
	case flags&oggFirst != 0 && o.now == nil:
		if len(o.streams) == maxStreams {
			return "there are more Ogg streams than any encoder writes"
		}
		if !slices.ContainsFunc(o.streams, func(s *oggStream) bool { return !s.ended }) {
			o.links++
		}
		o.now = &oggStream{serial: serial, next: number, link: o.links}
		o.streams = append(o.streams, o.now)
	case o.now == nil:
		return "an Ogg page belongs to no stream"
	case number != o.now.next:
		return fmt.Sprintf("Ogg page %d follows where page %d should", number, o.now.next)
	}
	o.now.next = number + 1
	o.now.ended = flags&oggLast != 0
	return ""
}

// identify reads the codec's identification header. Opus counts at 48 kHz (RFC 7845),
// Vorbis at its sample rate.
func (s *oggStream) identify(b []byte) {
	switch {
	case bytes.HasPrefix(b, []byte("OpusHead")) && len(b) >= 12:
		s.rate, s.preSkip = 48000, int64(binary.LittleEndian.Uint16(b[10:]))
	case bytes.HasPrefix(b, []byte("\x01vorbis")) && len(b) >= 16:
		s.rate = binary.LittleEndian.Uint32(b[12:])
	}
}

func (s *oggStream) duration() time.Duration {
	if s.rate == 0 {
		return 0
	}
	return time.Duration(float64(max(0, s.last-s.preSkip)) / float64(s.rate) * float64(time.Second))
}

func (o *ogg) skipped(p []byte) {
	o.crc = oggCRC(o.crc, p)
	if o.body != nil {
		o.body = append(o.body, p[:min(len(p), cap(o.body)-len(o.body))]...)
	}
}

func (o *ogg) end(m missing) ending {
	if !m.nothing() {
		return ending{fault: "the last Ogg page is cut"}
	}
	var e ending
	link, longest := 0, time.Duration(0)
	for _, s := range o.streams {
		if !s.ended {
			return ending{fault: "the last page of an Ogg stream is missing"}
		}
		if s.link != link {
			e.duration += longest
			link, longest = s.link, 0
		}
		longest = max(longest, s.duration())
	}
	e.duration += longest
	return e
}

// oggCRC continues the checksum of RFC 3533: polynomial 0x04c11db7, the highest bit of
// each byte first. The standard library computes the same polynomial with the lowest bit
// first, and fast, so oggCRC reverses the bits of each byte and uses that. The first crc
// is 0.
func oggCRC(crc uint32, p []byte) uint32 {
	var turned [1024]byte
	crc = ^bits.Reverse32(crc)
	for len(p) > 0 {
		n := min(len(p), len(turned))
		i := 0
		for ; i+8 <= n; i += 8 {
			binary.BigEndian.PutUint64(turned[i:], bits.ReverseBytes64(bits.Reverse64(binary.BigEndian.Uint64(p[i:]))))
		}
		for ; i < n; i++ {
			turned[i] = bits.Reverse8(p[i])
		}
		crc = crc32.Update(crc, crc32.IEEETable, turned[:n])
		p = p[n:]
	}
	return bits.Reverse32(^crc)
}
