package archiver

import (
	"encoding/binary"
	"fmt"
	"math"
)

// wavReader walks the chunks of a RIFF WAVE stream (Microsoft's Multimedia
// Programming Interface 1.0, RF64 by EBU Tech 3306), in whatever pieces it comes.
// The zero value awaits the first byte.
type wavReader struct {
	buf       []byte // the structure being collected
	want      int    // its length; 0: the first
	left      int64  // bytes of the present chunk still to come; negative: all that follow
	inData    bool
	sawData   bool
	declared  uint32 // the data chunk's own size
	dataBytes int64  // how much of the data chunk came
	byteRate  uint32 // bytes a second, from the format chunk
}

const (
	riffHeader  = 12     // "RIFF", size, "WAVE"
	chunkHeader = 8      // id, size
	fmtHeader   = 8 + 12 // a format chunk up to its byte rate
)

func (w *wavReader) write(p []byte) {
	for len(p) > 0 {
		if w.left != 0 {
			p = p[w.pass(p):]
			continue
		}
		if w.want == 0 {
			w.want = riffHeader
		}
		n := min(w.want-len(w.buf), len(p))
		w.buf = append(w.buf, p[:n]...)
		p = p[n:]
		if len(w.buf) == w.want {
			w.collected()
		}
	}
}

// pass counts bytes of the present chunk and tells how many of p were.
func (w *wavReader) pass(p []byte) int {
	n := int64(len(p))
	if w.left > 0 {
		n = min(n, w.left)
		w.left -= n
	}
	if w.inData {
		w.dataBytes += n
	}
	return int(n)
}

// collected acts on a structure that is all there.
func (w *wavReader) collected() {
	switch w.want {
	case chunkHeader:
		if w.enter(string(w.buf[:4]), binary.LittleEndian.Uint32(w.buf[4:])) {
			w.want = fmtHeader
			return
		}
	case fmtHeader:
		w.byteRate = binary.LittleEndian.Uint32(w.buf[16:])
		w.left = padded(binary.LittleEndian.Uint32(w.buf[4:])) - (fmtHeader - chunkHeader)
	}
	w.buf, w.want = w.buf[:0], chunkHeader
}

// enter begins a chunk; true asks for more of it to be collected.
func (w *wavReader) enter(id string, size uint32) bool {
	w.inData = false
	switch {
	case id == "fmt " && size >= fmtHeader-chunkHeader:
		return true
	case id == "data" && !w.sawData:
		w.inData, w.sawData, w.declared = true, true, size
	}
	w.left = padded(size)
	if w.inData && openEnded(size) {
		w.left = -1
	}
	return false
}

// padded is a chunk's size on the wire: chunks begin at even offsets.
func padded(size uint32) int64 { return int64(size) + int64(size&1) }

// openEnded tells a size that a streaming writer, or RF64, left open.
func openEnded(size uint32) bool { return size == 0 || size == math.MaxUint32 }

// agrees tells, at the end of the stream, whether the chunks' sizes fit the bytes.
// A missing pad byte at the very end is common and no fault.
func (w *wavReader) agrees() error {
	switch {
	case !w.sawData:
		return &mismatchError{"a WAV without a data chunk"}
	case !openEnded(w.declared) && w.dataBytes < int64(w.declared):
		return &mismatchError{fmt.Sprintf("the WAV header states %d bytes of audio, %d came", w.declared, w.dataBytes)}
	case w.left > 1 || len(w.buf) > 0:
		return &mismatchError{"bytes after the WAV's audio that are no whole chunk"}
	}
	return nil
}

// audioBytes is the length of the audio without padding.
func (w *wavReader) audioBytes() int64 {
	if openEnded(w.declared) {
		return w.dataBytes
	}
	return min(w.dataBytes, int64(w.declared))
}
