package mediatest

import (
	"encoding/binary"
	"unicode/utf16"
)

// encoder is the name that the media give as their encoder's. The archive that
// integration_test keeps of an earlier version depends on its length.
const encoder = "mediagen"

const (
	oggPackets = 50 // of one page; each is shorter than 255 bytes, so that it takes one lacing value
	oggHeader  = 27

	opusRate    = 48000
	opusFrame   = 960 // samples of 20 ms
	opusPacket  = 160
	opusPreSkip = 312

	vorbisRate   = 16000
	vorbisBlock  = 9   // log2 of the block size
	vorbisFrame  = 256 // samples that each packet but the first adds
	vorbisPacket = 128
)

func (m *Media) oggOpus() {
	m.contentType = "audio/ogg"
	samples := m.lasting(opusRate, 50*opusPacket) + opusPreSkip
	m.ogg([][]byte{opusHead(), comments("OpusTags", encoder, m.title(), false)}, oggStream{
		packets: (samples + opusFrame - 1) / opusFrame,
		size:    opusPacket,
		granule: func(last int64) int64 { return min((last+1)*opusFrame, samples) },
		packet:  fillOpus,
	})
}

func (m *Media) oggVorbis() {
	m.contentType = "audio/ogg"
	samples := m.lasting(vorbisRate, vorbisRate/vorbisFrame*vorbisPacket)
	m.ogg([][]byte{vorbisHead(), comments("\x03vorbis", encoder, m.title(), true), vorbisSetup()}, oggStream{
		packets: (samples+vorbisFrame-1)/vorbisFrame + 1,
		size:    vorbisPacket,
		granule: func(last int64) int64 { return min(last*vorbisFrame, samples) },
		packet:  func(b []byte) { b[0] = 0 }, // an audio packet of mode 0 whose floor is unused: silence; the rest is ignored
	})
}

// oggStream says what the audio pages hold.
type oggStream struct {
	packets int64
	size    int
	granule func(last int64) int64 // position after packet last
	packet  func([]byte)           // makes noise a packet
}

// ogg lays out the first header on a page of its own, the others on the next, then the audio.
func (m *Media) ogg(headers [][]byte, s oggStream) {
	seed := m.seed()
	serial := uint32(seed)
	m.head = append(oggPage(oggHead{flags: 0x02, serial: serial}, headers[:1]), oggPage(oggHead{serial: serial, sequence: 1}, headers[1:])...)
	page := func(packets int64) int64 { return oggHeader + packets + packets*int64(s.size) }
	m.unit = page(oggPackets)
	pages := (s.packets + oggPackets - 1) / oggPackets
	m.body = (pages-1)*m.unit + page(s.packets-(pages-1)*oggPackets)
	m.fill = func(i int64, b []byte) {
		n := min(oggPackets, s.packets-i*oggPackets)
		audio := b[oggHeader+n:]
		noise(audio, seed, i, func(x uint64) uint64 { return x })
		for p := range n {
			s.packet(audio[p*int64(s.size) : (p+1)*int64(s.size)])
			b[oggHeader+p] = byte(s.size)
		}
		flags := byte(0)
		if i == pages-1 {
			flags = 0x04
		}
		sealPage(b, oggHead{flags, s.granule(i*oggPackets + n - 1), serial, uint32(i) + 2}, int(n))
	}
}

// oggHead is what the header of a page says beside its lacing values.
type oggHead struct {
	flags            byte
	granule          int64
	serial, sequence uint32
}

// oggPage makes a page of whole packets.
func oggPage(h oggHead, packets [][]byte) []byte {
	var lacing, data []byte
	for _, p := range packets {
		for range len(p) / 255 {
			lacing = append(lacing, 255)
		}
		lacing = append(lacing, byte(len(p)%255))
		data = append(data, p...)
	}
	b := append(append(make([]byte, oggHeader), lacing...), data...)
	sealPage(b, h, len(lacing))
	return b
}

// sealPage writes the header of page b, whose lacing values and packets are in place.
func sealPage(b []byte, h oggHead, segments int) {
	copy(b, "OggS\x00")
	b[5] = h.flags
	binary.LittleEndian.PutUint64(b[6:], uint64(h.granule))
	binary.LittleEndian.PutUint32(b[14:], h.serial)
	binary.LittleEndian.PutUint32(b[18:], h.sequence)
	clear(b[22:26])
	b[26] = byte(segments)
	binary.LittleEndian.PutUint32(b[22:], oggCRC(b))
}

var oggTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			if r>>31 == 1 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[i] = r
	}
	return t
}()

func oggCRC(b []byte) (crc uint32) {
	for _, x := range b {
		crc = crc<<8 ^ oggTable[byte(crc>>24)^x]
	}
	return crc
}

// opusHead is the identification header of RFC 7845, section 5.1: mono.
func opusHead() []byte {
	b := append([]byte("OpusHead"), 1, 1)
	b = binary.LittleEndian.AppendUint16(b, opusPreSkip)
	b = binary.LittleEndian.AppendUint32(b, opusRate)
	return append(b, 0, 0, 0)
}

// fillOpus makes noise a packet of 20 ms of silence (CELT, full band), the noise being its padding (RFC 6716, section 3.2.5).
func fillOpus(b []byte) { copy(b, []byte{0xfb, 0x41, byte(len(b) - 5), 0xff, 0xfe}) }

func comments(magic, vendor, title string, framing bool) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte(magic), uint32(len(vendor)))
	b = le.AppendUint32(append(b, vendor...), 1)
	title = "TITLE=" + title
	b = append(le.AppendUint32(b, uint32(len(title))), title...)
	if framing {
		b = append(b, 1)
	}
	return b
}

func vorbisHead() []byte {
	b := append([]byte("\x01vorbis"), 0, 0, 0, 0, 1)
	b = binary.LittleEndian.AppendUint32(b, vorbisRate)
	b = append(b, make([]byte, 12)...) // bit rates: unknown
	return append(b, vorbisBlock<<4|vorbisBlock, 1)
}

// vorbisSetup is the smallest setup header (Vorbis I, section 4.2.4): one codebook, floor, residue, mapping and mode.
func vorbisSetup() []byte {
	var w bitWriter
	w.put(0, 8) // codebooks - 1
	w.put(0x564342, 24)
	w.put(1, 16) // dimensions
	w.put(2, 24) // entries
	w.put(0, 2)  // neither ordered nor sparse
	w.put(0, 5)  // each codeword has 1 bit
	w.put(0, 5)
	w.put(0, 4)     // no lookup
	w.put(0, 6+16)  // one time domain transform: 0
	w.put(0, 6)     // floors - 1
	w.put(1, 16)    // floor type 1
	w.put(0, 5)     // no partitions
	w.put(0, 2)     // multiplier - 1
	w.put(8, 4)     // range bits
	w.put(0, 6)     // residues - 1
	w.put(1, 16)    // residue type 1
	w.put(0, 24)    // begin
	w.put(256, 24)  // end
	w.put(31, 24)   // partition size - 1
	w.put(0, 6+8)   // one classification, of codebook 0
	w.put(0, 3+1)   // no cascade
	w.put(0, 6+16)  // one mapping, of type 0
	w.put(0, 1+1+2) // one submap, no coupling
	w.put(0, 3*8)   // its time, floor and residue
	w.put(0, 6+1)   // one mode, with short blocks
	w.put(0, 2*16+8)
	w.put(1, 1) // framing
	return append([]byte("\x05vorbis"), w.b...)
}

// bitWriter packs values with the least significant bit first.
type bitWriter struct {
	b []byte
	n int // bits used of the last byte; 0: all
}

func (w *bitWriter) put(v uint64, bits int) {
	for i := range bits {
		if w.n == 0 {
			w.b = append(w.b, 0)
		}
		w.b[len(w.b)-1] |= byte(v>>i&1) << w.n
		w.n = (w.n + 1) % 8
	}
}

func utf16le(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
