package media

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"time"
)

// webm walks the elements of an EBML document (RFC 8794) as Matroska and WebM use
// them (RFC 9559): their sizes add up to the end of the Segment, which is the end of
// the bytes. Segment and Cluster may be of unknown size.
type webm struct {
	step  webmStep
	pos   int64 // offset of the next requested byte
	open  []element
	id    uint32 // of the element whose header is being read
	size  uint64 // of that element, as far as it has been read
	width int    // bits of that size

	segment  bool // a Segment began
	unknown  bool // the Segment's size is unknown
	scale    uint64
	declared float64 // Duration, in units of scale; 0: not given
	cluster  int64   // timestamp of the present cluster
	block    int64   // timestamp of the last block
	gap      int64   // between the last two blocks
	blocks   int
}

// webmStep says what the last requested bytes are.
type webmStep int

const (
	webmBegin  webmStep = iota
	webmID              // the first byte of an id
	webmSize            // the rest of the id and the first byte of the size
	webmLong            // the rest of the size
	webmNumber          // a number that says how long the media last
	webmBlock           // the head of a block
)

// element is a master element that the walk is inside of.
type element struct {
	id  uint32
	end int64 // math.MaxInt64: unknown
}

// Element ids.
const (
	idEBML           = 0x1A45DFA3
	idSegment        = 0x18538067
	idInfo           = 0x1549A966
	idTimestampScale = 0x2AD7B1
	idDuration       = 0x4489
	idCluster        = 0x1F43B675
	idTimestamp      = 0xE7
	idSimpleBlock    = 0xA3
	idBlockGroup     = 0xA0
	idBlock          = 0xA1
)

func (w *webm) next(b []byte) ask {
	w.pos += int64(len(b))
	switch w.step {
	case webmID:
		return w.idFirst(b)
	case webmSize:
		return w.idRest(b)
	case webmLong:
		for _, c := range b {
			w.size = w.size<<8 | uint64(c)
		}
		return w.enter()
	case webmNumber:
		w.number(b)
		return w.element()
	case webmBlock:
		w.sound(b)
		return w.pass(int64(w.size) - 4)
	}
	w.scale = 1_000_000 // nanoseconds, unless the document says otherwise
	return w.element()
}

// element asks for the next element's header: its id, then its size, both of variable
// length.
func (w *webm) element() ask {
	for n := len(w.open); n > 0 && w.pos == w.open[n-1].end; n-- {
		w.open = w.open[:n-1]
	}
	w.step = webmID
	return ask{read: 1}
}

func (w *webm) idFirst(b []byte) ask {
	n := bits.LeadingZeros8(b[0]) + 1
	if n > 4 {
		return ask{fault: "the bytes after an EBML element are not another element"}
	}
	w.id, w.step = uint32(b[0]), webmSize
	return ask{read: n} // the rest of the id and the first byte of the size
}

func (w *webm) idRest(b []byte) ask {
	last := len(b) - 1
	for _, c := range b[:last] {
		w.id = w.id<<8 | uint32(c)
	}
	n := bits.LeadingZeros8(b[last]) + 1
	if n > 8 {
		return ask{fault: "the size of an EBML element is longer than eight bytes"}
	}
	w.size, w.width = uint64(b[last])&(1<<(8-n)-1), 7*n
	if n == 1 {
		return w.enter()
	}
	w.step = webmLong
	return ask{read: n - 1}
}

// enter begins the element whose header was read. A size with all bits set means unknown.
func (w *webm) enter() ask {
	unknown := w.size == 1<<w.width-1
	end := int64(math.MaxInt64)
	if !unknown {
		end = w.pos + int64(w.size)
	}
	w.leave()
	if parent := w.parent(); end < w.pos || !unknown && end > parent.end {
		return ask{fault: "an EBML element is longer than the one around it"}
	}
	switch w.id {
	case idSegment, idInfo, idCluster, idBlockGroup:
		if unknown && w.id != idSegment && w.id != idCluster {
			return ask{fault: "the size of an EBML element is unknown where it must be known"}
		}
		if w.id == idSegment {
			w.segment, w.unknown = true, unknown
		}
		if len(w.open) == 8 {
			return ask{fault: "EBML elements are nested deeper than any encoder writes them"}
		}
		w.open = append(w.open, element{w.id, end})
		return w.element()
	}
	if unknown {
		return ask{fault: "the size of an EBML element is unknown where it must be known"}
	}
	return w.leaf(int64(w.size))
}

// leave ends a Cluster, or a Segment, of unknown size before an element that cannot be
// inside of it.
func (w *webm) leave() {
	for n := len(w.open); n > 0 && w.open[n-1].end == math.MaxInt64; n-- {
		inside := w.id != idEBML && w.id != idSegment
		if w.open[n-1].id == idCluster {
			inside = w.id <= 0xFFFF // elements on the level of a Cluster have longer ids
		}
		if inside {
			return
		}
		w.open = w.open[:n-1]
	}
}

func (w *webm) parent() element {
	if n := len(w.open); n > 0 {
		return w.open[n-1]
	}
	return element{end: math.MaxInt64}
}

// leaf reads an element that says how long the media last, and skips any other.
func (w *webm) leaf(size int64) ask {
	in := w.parent().id
	switch {
	case in == idInfo && (w.id == idTimestampScale || w.id == idDuration), in == idCluster && w.id == idTimestamp:
		if size < 1 || size > 8 {
			break
		}
		w.step = webmNumber
		return ask{read: int(size)}
	case w.id == idSimpleBlock || w.id == idBlock:
		if size < 4 {
			return ask{fault: "a WebM block is shorter than its own header"}
		}
		w.step = webmBlock
		return ask{read: 4}
	}
	return w.pass(size)
}

// pass skips a payload.
func (w *webm) pass(size int64) ask {
	w.pos += size
	next := w.element()
	next.skip = size
	return next
}

func (w *webm) number(b []byte) {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	switch {
	case w.id == idTimestamp:
		w.cluster = int64(n & math.MaxInt64)
	case w.id == idTimestampScale:
		w.scale = n
	case len(b) == 4:
		w.declared = float64(math.Float32frombits(uint32(n)))
	case len(b) == 8:
		w.declared = math.Float64frombits(n)
	}
}

// sound reads the time of a block. In files of fewer than 127 tracks the track number
// before it takes one byte.
func (w *webm) sound(b []byte) {
	if b[0] < 0x80 {
		return
	}
	at := w.cluster + int64(int16(binary.BigEndian.Uint16(b[1:])))
	if at > w.block {
		w.gap, w.block = at-w.block, at
	}
	w.blocks++
}

func (w *webm) end(m missing) ending {
	switch {
	case !w.segment:
		return ending{fault: "the EBML document has no Segment"}
	case !m.nothing() || w.step != webmID || !w.closed():
		return ending{fault: "the last WebM element is cut"}
	case w.blocks == 0:
		return ending{fault: "the WebM has no block"}
	}
	played := w.length(float64(w.block + w.gap))
	declared := w.length(w.declared)
	e := ending{duration: declared}
	if declared == 0 {
		e.duration = played
	}
	switch short := declared - played; {
	case declared > 0 && short > max(time.Second, declared/50):
		e.fault = fmt.Sprintf("the last WebM block is at %s, the header says %s", played.Round(time.Millisecond), declared.Round(time.Millisecond))
	case !w.unknown:
	case declared == 0:
		e.open = "the WebM declares neither its size nor its duration"
	case short > max(lastWitness, declared/50):
		e.open = fmt.Sprintf("the WebM does not declare its size and ends %s before its declared duration", short.Round(time.Millisecond))
	}
	return e
}

// closed reports whether every element of known size ends here.
func (w *webm) closed() bool {
	for _, e := range w.open {
		if e.end != math.MaxInt64 && e.end != w.pos {
			return false
		}
	}
	return true
}

// length converts units of the document's scale to a duration; 0 if they are out of range.
func (w *webm) length(units float64) time.Duration {
	d := units * float64(w.scale)
	if !(d > 0) || d > float64(math.MaxInt64/2) {
		return 0
	}
	return time.Duration(d)
}
