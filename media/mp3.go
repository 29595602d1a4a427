package media

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// mp3 walks the frames of MPEG audio layer III (ISO 11172-3, 13818-3), and the tags
// before and after them: ID3v1, ID3v2, APEv2. An encoder's first frame may count the
// others (Xing, Info, VBRI).
type mp3 struct {
	step    func(b []byte) ask
	head    mp3Frame
	audio   int64         // bytes of frames so far
	frames  int64         // frames of sound so far
	lasts   time.Duration // duration of those frames
	counted bool          // the first frame was searched for a count
	count   struct{ frames, bytes int64 }
}

type mp3Frame struct {
	size    int64
	samples int
	rate    int
	side    int // bytes of side information after the header
}

func (m *mp3) next(b []byte) ask {
	if m.step == nil {
		return m.begin(0)
	}
	return m.step(b)
}

// begin asks for the beginning of the frame or tag after skip bytes.
func (m *mp3) begin(skip int64) ask {
	m.step = m.header
	return ask{skip: skip, read: 4}
}

func (m *mp3) header(b []byte) ask {
	switch tag := string(b[:4]); {
	case tag[:3] == "ID3":
		m.step = func(b []byte) ask { // revision, flags, size of 4 × 7 bits
			size := int64(b[2]&0x7F)<<21 | int64(b[3]&0x7F)<<14 | int64(b[4]&0x7F)<<7 | int64(b[5]&0x7F)
			if b[1]&0x10 != 0 {
				size += 10 // a footer
			}
			return m.begin(size)
		}
		return ask{read: 6}
	case tag == "TAG+": // enhanced ID3v1
		return m.begin(227 - 4)
	case tag[:3] == "TAG":
		return m.begin(128 - 4)
	case tag == "APET":
		m.step = func(b []byte) ask {
			if string(b[:4]) != "AGEX" {
				return ask{fault: "the bytes after an MP3 frame are neither a frame nor a tag"}
			}
			return m.begin(int64(binary.LittleEndian.Uint32(b[8:])))
		}
		return ask{read: 32 - 4}
	}
	frame, fault := parseFrame(binary.BigEndian.Uint32(b))
	if fault != "" {
		return ask{fault: fault}
	}
	m.head = frame
	m.audio += frame.size
	if !m.counted {
		m.counted = true
		m.step = m.first
		return ask{read: int(frame.size - 4)}
	}
	m.sound()
	return m.begin(frame.size - 4)
}

func (m *mp3) sound() {
	m.frames++
	m.lasts += time.Duration(m.head.samples) * time.Second / time.Duration(m.head.rate)
}

// first searches the first frame for a count of the others. A frame with a count holds
// no sound.
func (m *mp3) first(b []byte) ask {
	at := func(offset, n int) []byte {
		if offset+n > len(b) {
			return nil
		}
		return b[offset : offset+n]
	}
	number := func(b []byte) int64 {
		if b == nil {
			return 0
		}
		return int64(binary.BigEndian.Uint32(b))
	}
	side := m.head.side
	switch {
	case string(at(side, 4)) == "Xing" || string(at(side, 4)) == "Info":
		flags, field := number(at(side+4, 4)), side+8
		if flags&1 != 0 {
			m.count.frames = number(at(field, 4))
			field += 4
		}
		if flags&2 != 0 {
			m.count.bytes = number(at(field, 4))
		}
	case string(at(32, 4)) == "VBRI":
		m.count.bytes, m.count.frames = number(at(32+10, 4)), number(at(32+14, 4))
	default:
		m.sound()
	}
	return m.begin(0)
}

// Bit rates of layer III in kbit/s, by index: MPEG 1, then MPEG 2 and 2.5.
var mp3Rates = [2][15]int64{
	{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
	{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
}

// parseFrame reads a frame's header.
func parseFrame(h uint32) (mp3Frame, string) {
	version, layer, rate, sampling, mono := h>>19&3, h>>17&3, h>>12&15, h>>10&3, h>>6&3 == 3
	switch {
	case h>>21 != 0x7FF || version == 1 || layer != 1 || rate == 15 || sampling == 3:
		return mp3Frame{}, "the bytes after an MP3 frame are neither a frame nor a tag"
	case rate == 0:
		return mp3Frame{}, "an MP3 frame has a free bit rate, so its length is not known"
	}
	f := mp3Frame{samples: 1152, rate: [3]int{44100, 48000, 32000}[sampling], side: 32}
	if mono {
		f.side = 17
	}
	table := 0
	if version != 3 { // MPEG 2, or 2.5
		f.samples, table = 576, 1
		f.rate /= 2
		if version == 0 {
			f.rate /= 2
		}
		f.side = 17
		if mono {
			f.side = 9
		}
	}
	if h>>16&1 == 0 {
		f.side += 2 // a checksum after the header
	}
	f.size = int64(f.samples)/8*mp3Rates[table][rate]*1000/int64(f.rate) + int64(h>>9&1)
	return f, ""
}

func (m *mp3) end(rest missing) ending {
	e := ending{duration: m.lasts}
	switch {
	case !rest.nothing():
		e.fault = "the last MP3 frame or tag is cut"
	case m.frames == 0:
		e.fault = "the MP3 has no frame of sound"
	case m.count.frames > 0 && m.frames != m.count.frames && m.frames != m.count.frames+1:
		e.fault = fmt.Sprintf("the MP3 declares %d frames and has %d", m.count.frames, m.frames)
	case m.count.bytes > m.audio && m.count.bytes < math.MaxUint32:
		e.fault = fmt.Sprintf("the MP3 declares %d bytes of frames and has %d", m.count.bytes, m.audio)
	case m.count.frames == 0 && m.count.bytes == 0:
		e.open = "an MP3 without a count of its frames does not show where it ends"
	}
	return e
}
