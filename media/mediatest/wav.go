package mediatest

import (
	"encoding/binary"
	"math"
)

const (
	wavRate = 8000
	wavUnit = 8192
)

// wav lays out a RIFF file with a format tag (1 PCM, 7 µ-law) and bytes a sample.
func (m *Media) wav(tag, sample uint16) {
	m.contentType = "audio/wav"
	m.unit, m.body = wavUnit, m.lasting(wavRate, wavRate*int64(sample))*int64(sample)
	seed := m.seed()
	shape := func(x uint64) uint64 { return x & 0x07ff07ff07ff07ff } // quiet samples
	if tag == 7 {
		shape = func(x uint64) uint64 { return x | 0x7070707070707070 }
	}
	m.fill = func(i int64, b []byte) { noise(b, seed, i, shape) }

	le := binary.LittleEndian
	format := le.AppendUint16(nil, tag)
	format = le.AppendUint16(format, 1) // channels
	format = le.AppendUint32(format, wavRate)
	format = le.AppendUint32(format, wavRate*uint32(sample))
	format = le.AppendUint16(format, sample)
	format = le.AppendUint16(format, 8*sample)
	chunks := []byte("WAVE")
	if tag == 1 {
		chunks = appendChunk(chunks, "fmt ", format)
	} else {
		chunks = appendChunk(chunks, "fmt ", le.AppendUint16(format, 0))
		chunks = appendChunk(chunks, "fact", le.AppendUint32(nil, clamp32(m.body/int64(sample))))
	}
	stated := clamp32(m.body)
	if m.spec.WAVDataSize != nil {
		stated = *m.spec.WAVDataSize
	}
	chunks = le.AppendUint32(append(chunks, "data"...), stated)
	riff := clamp32(int64(len(chunks)) + int64(stated))
	if stated == 0 || stated == math.MaxUint32 {
		riff = stated // a header written before the length was known
	}
	m.head = append(le.AppendUint32([]byte("RIFF"), riff), chunks...)
}

func appendChunk(b []byte, id string, data []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, id...), uint32(len(data)))
	return append(b, data...)
}

func clamp32(n int64) uint32 { return uint32(min(n, math.MaxUint32)) }
