package media

import "time"

// A parser walks a container. It asks for the structures that it reads; the feed skips
// everything else.
type parser interface {
	// next gets the requested bytes, none at the first call, and returns the next
	// request. A request is for at least one byte, unless next has just got some.
	next(b []byte) ask
	// end judges the container at the end of the bytes. missing is the rest of the
	// last request, which did not come.
	end(missing missing) ending
}

// ask is a parser's request: skip bytes are skipped, then read bytes are collected, at
// most maxRead. A fault ends the parsing.
type ask struct {
	skip  int64
	read  int
	fault string
}

// missing is the part of a parser's last request that the bytes did not reach.
type missing struct {
	skip int64  // missing bytes of those to skip
	read int    // missing bytes of those to collect, if some of them came
	got  []byte // the collected bytes
}

// nothing reports whether the bytes ended where a structure may begin.
func (m missing) nothing() bool { return m.skip == 0 && len(m.got) == 0 }

// An ending is a parser's verdict on the end of a container.
type ending struct {
	fault    string        // the contradiction in the container, if there is one
	open     string        // why the container does not show its own end; "": it does
	duration time.Duration // 0: not known
}

// maxRead bounds what a parser may collect.
const maxRead = 64 << 10

// skipper is a parser that also looks at the skipped bytes.
type skipper interface{ skipped(p []byte) }

// feed answers a parser's requests from a stream that comes in any pieces.
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
			f.fault = "a structure declares a size larger than any encoder writes"
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
