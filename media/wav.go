package media

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// wav walks the chunks of a RIFF WAVE stream (Microsoft's Multimedia Programming
// Interface 1.0). RF64 (EBU Tech 3306) keeps sizes beyond 4 GiB in a ds64 chunk.
type wav struct {
	step     func(b []byte) ask
	byteRate uint32 // bytes of audio a second
	size64   int64  // size of the data chunk by ds64; 0: not given
	declared int64  // size of the data chunk; -1: not declared
	data     bool   // the data chunk began
	passed   int64  // bytes of a data chunk of undeclared size so far
	open     bool   // inside a data chunk of undeclared size
	odd      bool   // the present chunk has a pad byte
}

func (w *wav) next(b []byte) ask {
	if w.step == nil {
		w.step = func([]byte) ask { return w.chunk(0) }
		return ask{read: 12}
	}
	return w.step(b)
}

// chunk asks for the next chunk's header after skip bytes.
func (w *wav) chunk(skip int64) ask {
	w.step = w.header
	return ask{skip: skip, read: 8}
}

func (w *wav) header(b []byte) ask {
	id, size := string(b[:4]), binary.LittleEndian.Uint32(b[4:])
	w.odd = size&1 == 1
	switch {
	case id == "fmt " && size >= 12:
		w.step = func(b []byte) ask {
			w.byteRate = binary.LittleEndian.Uint32(b[8:])
			return w.chunk(padded(int64(size)) - 12)
		}
		return ask{read: 12}
	case id == "ds64" && size >= 16:
		w.step = func(b []byte) ask {
			w.size64 = int64(binary.LittleEndian.Uint64(b[8:]) & math.MaxInt64)
			return w.chunk(padded(int64(size)) - 16)
		}
		return ask{read: 16}
	case id == "data" && !w.data:
		return w.audio(size)
	}
	return w.chunk(padded(int64(size)))
}

// audio begins the data chunk. A streaming writer leaves the size at 0 or at the
// largest number: then all following bytes are audio.
func (w *wav) audio(size uint32) ask {
	w.data, w.declared = true, int64(size)
	if size == math.MaxUint32 && w.size64 > 0 && w.size64 < math.MaxInt64 {
		w.declared, w.odd = w.size64, w.size64&1 == 1
	} else if size == 0 || size == math.MaxUint32 {
		w.declared, w.open = -1, true
		return ask{skip: math.MaxInt64}
	}
	return w.chunk(padded(w.declared))
}

func (w *wav) skipped(p []byte) {
	if w.open {
		w.passed += int64(len(p))
	}
}

// padded returns a chunk's size with its pad byte: chunks begin at even offsets.
func padded(size int64) int64 { return size + size&1 }

func (w *wav) end(m missing) ending {
	if !w.data {
		return ending{fault: "the WAV has no data chunk"}
	}
	audio := w.declared
	if w.open {
		audio = w.passed
	}
	var e ending
	if w.byteRate > 0 {
		e.duration = time.Duration(float64(audio) / float64(w.byteRate) * float64(time.Second))
	}
	switch {
	case w.open:
		e.open = "the WAV header does not declare the length of the audio"
	case m.skip == 1 && w.odd: // a missing pad byte at the very end is common and not a fault
	case !m.nothing():
		e.fault = fmt.Sprintf("the WAV ends %d bytes before its last chunk does", m.skip+int64(m.read))
	}
	return e
}
