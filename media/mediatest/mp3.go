package mediatest

const (
	mp3Frames   = 49    // 49 frames of 64 kbit/s at 44.1 kHz are exactly...
	mp3Unit     = 10240 // ...this long; a frame is 208 or, padded, 209 bytes
	mp3Samples  = 1152
	mp3SideInfo = 17
)

// mp3 lays out silent frames, whose ancillary data are pseudo-random. Every other recording starts with an ID3v2.3 tag.
func (m *Media) mp3() {
	m.contentType = "audio/mpeg"
	seed := m.seed()
	if seed%2 == 0 {
		m.head = id3(m.title())
	}
	samples := m.lasting(44100, 8000)
	frames := max(1, (samples+mp3Samples-1)/mp3Samples)
	m.unit, m.body = mp3Unit, mp3Offset(frames)
	m.fill = func(i int64, b []byte) {
		// No byte of the ancillary data may look like the start of a frame.
		noise(b, seed, i, func(x uint64) uint64 { return x & 0x7f7f7f7f7f7f7f7f })
		for f := int64(0); mp3Offset(f) < int64(len(b)); f++ {
			at, padding := mp3Offset(f), byte(mp3Offset(f+1)-mp3Offset(f)-208)
			copy(b[at:], []byte{0xff, 0xfb, 0x50 | padding<<1, 0xc4})
			clear(b[at+4 : at+4+mp3SideInfo])
		}
	}
}

// mp3Offset is where frame f begins.
func mp3Offset(f int64) int64 { return f * mp3Unit / mp3Frames }

func id3(title string) []byte {
	text := append([]byte{1, 0xff, 0xfe}, utf16le(title)...)
	frame := append([]byte("TIT2"), byte(len(text)>>24), byte(len(text)>>16), byte(len(text)>>8), byte(len(text)), 0, 0)
	frame = append(frame, text...)
	n := len(frame)
	tag := append([]byte("ID3\x03\x00\x00"), byte(n>>21&0x7f), byte(n>>14&0x7f), byte(n>>7&0x7f), byte(n&0x7f))
	return append(tag, frame...)
}
