package media

import "time"

// A parser walks a container. It asks for the structures that it reads and has
// everything else skipped.
type parser interface {
	// next gets the bytes asked for last, none the first time, and asks for what
	// comes next: for one byte at least, but for a parser that got some just now.
	next(b []byte) ask
	// end judges the container at the end of the bytes. missing is how much of the
	// structure asked for last did not come; 0: nothing of it was due.
	end(missing missing) ending
}

// ask says what a parser needs next: skip bytes are passed over, then read bytes are
// collected, at most maxRead. A fault ends the parsing.
type ask struct {
	skip  int64
	read  int
	fault string
}

// missing says how the bytes ended inside what a parser asked for.
type missing struct {
	skip int64 // of the bytes to pass over
	read int   // of the bytes to collect, if any of them came
	got  []byte
}

// nothing is whether the bytes ended where a structure may begin.
func (m missing) nothing() bool { return m.skip == 0 && len(m.got) == 0 }

// An ending is what a container shows of its end.
type ending struct {
	fault    string        // what contradicts itself
	open     string        // why the container does not show its own end; "": it does
	duration time.Duration // 0: not known
}

// maxRead bounds what a parser may collect.
const maxRead = 64 << 10

// skipper is a parser that looks at the bytes passed over, too.
type skipper interface{ skipped(p []byte) }

// feed gives a parser what it asks for out of a stream that comes in any pieces.
type feed struct {
	parser  parser
	skipper skipper // nil: the parser does not look at skipped bytes
	asked   ask
	buf     []byte
	fault   string
}

func newFeed(p parser) *feed {
	f := &feed{parser: p}
	f.skipper, _ = p.(skipper)
	f.asked = p.next(nil)
	return f
}

func (f *feed) write(p []byte) {
	for f.fault == "" {
		if f.asked.skip > 0 {
			n := int(min(f.asked.skip, int64(len(p))))
			if f.skipper != nil {
				f.skipper.skipped(p[:n])
			}
			f.asked.skip -= int64(n)
			p = p[n:]
			if f.asked.skip > 0 {
				return
			}
		}
		b := p
		if len(f.buf) > 0 || len(p) < f.asked.read {
			n := min(f.asked.read-len(f.buf), len(p))
			f.buf = append(f.buf, p[:n]...)
			b = f.buf
			p = p[n:]
		} else {
			b, p = p[:f.asked.read], p[f.asked.read:]
		}
		if len(b) < f.asked.read {
			return
		}
		f.asked = f.parser.next(b)
		f.buf = f.buf[:0]
		if f.fault = f.asked.fault; f.asked.read > maxRead {
			f.fault = "a structure claims to be larger than any encoder makes it"
		}
	}
}

func (f *feed) finish() ending {
	if f.fault != "" {
		return ending{fault: f.fault}
	}
	m := missing{skip: f.asked.skip, got: f.buf}
	if len(f.buf) > 0 {
		m.read = f.asked.read - len(f.buf)
	}
	return f.parser.end(m)
}
