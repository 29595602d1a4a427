package media

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// mp4 walks the boxes of an ISO base media file (ISO 14496-12; QuickTime files have the
// same form): the top-level boxes add up to the last byte, and moov and mdat are among
// them. The end of a fragmented file shows only in the table of its fragments (mfra), if
// the file has one.
type mp4 struct {
	step func(b []byte) ask
	pos  int64
	open []box4

	moov, mdat, endless, fragmented bool
	begun                           bool  // a box's header was read, but not yet all of the box that is read
	moofs, listed                   int64 // fragments, and those that mfra lists
	duration                        time.Duration
	tracks                          map[uint32]*mp4Track
	track                           *mp4Track
}

type box4 struct {
	kind string
	end  int64
}

// mp4Track counts the duration of a track's fragments.
type mp4Track struct {
	scale    uint32 // units a second
	perFrame uint32 // units of a sample, if a fragment does not say
	fragment uint32 // units of a sample in the present fragment
	played   uint64 // units so far
}

// maxTracks bounds the tracks that are counted.
const maxTracks = 64

func (m *mp4) next(b []byte) ask {
	m.pos += int64(len(b))
	if m.step == nil {
		m.tracks = map[uint32]*mp4Track{}
		return m.box()
	}
	return m.step(b)
}

func (m *mp4) box() ask {
	for n := len(m.open); n > 0 && m.pos == m.open[n-1].end; n-- {
		m.open = m.open[:n-1]
	}
	m.step, m.begun = m.header, false
	return ask{read: 8}
}

func (m *mp4) header(b []byte) ask {
	size, kind := int64(binary.BigEndian.Uint32(b)), string(b[4:8])
	m.begun = true
	switch size {
	case 0: // to the end of the file
		if len(m.open) > 0 {
			return ask{fault: "an MP4 box without a size is inside another box"}
		}
		m.endless = true
		m.top(kind)
		return ask{skip: math.MaxInt64}
	case 1:
		m.step = func(b []byte) ask {
			size := binary.BigEndian.Uint64(b)
			if size < 16 || size > math.MaxInt64/2 {
				return ask{fault: "an MP4 box has an impossible size"}
			}
			return m.enter(kind, int64(size)-16)
		}
		return ask{read: 8}
	}
	if size < 8 {
		return ask{fault: "an MP4 box has an impossible size"}
	}
	return m.enter(kind, size-8)
}

func (m *mp4) top(kind string) {
	switch kind {
	case "moov":
		m.moov = true
	case "mdat":
		m.mdat = true
	case "moof":
		m.moofs++
	}
}

// enter begins a box with size bytes after its header.
func (m *mp4) enter(kind string, size int64) ask {
	if n := len(m.open); n > 0 && m.pos+size > m.open[n-1].end {
		return ask{fault: "an MP4 box is longer than the one around it"}
	} else if n == 0 {
		m.top(kind)
	}
	switch kind {
	case "moov", "trak", "mdia", "mvex", "moof", "traf", "mfra":
		if len(m.open) == 8 {
			return ask{fault: "MP4 boxes are nested deeper than any encoder writes them"}
		}
		m.fragmented = m.fragmented || kind == "mvex" || kind == "moof"
		m.open = append(m.open, box4{kind, m.pos + size})
		return m.box()
	case "mvhd", "mdhd", "tkhd", "mehd", "trex", "tfhd", "tfdt", "trun", "tfra":
		read := min(size, 32<<10)
		m.step = func(b []byte) ask {
			if len(b) >= 4 {
				m.full(kind, b[0], binary.BigEndian.Uint32(b)&0xFFFFFF, fields{b[4:]}, read == size)
			}
			return m.pass(size - read)
		}
		return ask{read: int(read)}
	}
	return m.pass(size)
}

// pass skips the rest of a box.
func (m *mp4) pass(size int64) ask {
	m.pos += size
	next := m.box()
	next.skip = size
	return next
}

// fields reads big-endian numbers from the front of a box; 0 if no bytes are left.
type fields struct{ b []byte }

func (f *fields) take(n int) (v uint64) {
	if n > len(f.b) {
		f.b = nil
		return 0
	}
	for _, c := range f.b[:n] {
		v = v<<8 | uint64(c)
	}
	f.b = f.b[n:]
	return v
}

// wide reads a number of 64 bits in version 1 of a box, else of 32.
func (f *fields) wide(version byte) uint64 {
	if version == 1 {
		return f.take(8)
	}
	return f.take(4)
}

// full reads a box that has a version and flags. all says whether f holds the whole box.
func (m *mp4) full(kind string, version byte, flags uint32, f fields, all bool) {
	switch kind {
	case "mvhd":
		f.wide(version)
		f.wide(version)
		m.lasts(f.take(4), f.wide(version), version)
	case "tkhd":
		f.wide(version)
		f.wide(version)
		m.follow(uint32(f.take(4)))
	case "mdhd":
		f.wide(version)
		f.wide(version)
		if m.track != nil {
			m.track.scale = uint32(f.take(4))
		}
	case "trex":
		if m.follow(uint32(f.take(4))); m.track != nil {
			f.take(4)
			m.track.perFrame = uint32(f.take(4))
		}
	case "tfra":
		f.take(4)
		f.take(4)
		m.listed = max(m.listed, int64(f.take(4)))
	default:
		m.played(kind, version, flags, f, all)
	}
}

// played adds the duration of a fragment to its track.
func (m *mp4) played(kind string, version byte, flags uint32, f fields, all bool) {
	if kind == "tfhd" {
		m.follow(uint32(f.take(4)))
	}
	t := m.track
	if t == nil {
		return
	}
	switch kind {
	case "tfhd":
		t.fragment = t.perFrame
		for bit, size := range []int{8, 4} { // base data offset, sample description
			if flags>>bit&1 != 0 {
				f.take(size)
			}
		}
		if flags&8 != 0 {
			t.fragment = uint32(f.take(4))
		}
	case "tfdt":
		t.played = max(t.played, f.wide(version))
	case "trun":
		t.run(flags, f, all)
	}
}

// run adds the samples of one track run.
func (t *mp4Track) run(flags uint32, f fields, all bool) {
	count := f.take(4)
	if flags&0x100 == 0 {
		t.played += count * uint64(t.fragment)
		return
	}
	if !all {
		return // too long to read: the start time of the next fragment includes it
	}
	var other int // bytes of a sample's other fields
	for _, bit := range []uint32{0x200, 0x400, 0x800} {
		if flags&bit != 0 {
			other += 4
		}
	}
	for _, bit := range []uint32{1, 4} { // data offset, first sample's flags
		if flags&bit != 0 {
			f.take(4)
		}
	}
	for range min(count, uint64(len(f.b)/(4+other))) {
		t.played += f.take(4)
		f.take(other)
	}
}

// follow sets m.track to the track with an id.
func (m *mp4) follow(id uint32) {
	if m.track = m.tracks[id]; m.track == nil && len(m.tracks) < maxTracks {
		m.track = &mp4Track{}
		m.tracks[id] = m.track
	}
}

// lasts reads the movie's duration. All bits set mean that it is not known.
func (m *mp4) lasts(scale, units uint64, version byte) {
	if unknown := uint64(math.MaxUint32); scale == 0 || version == 0 && units == unknown || units > 1<<62/uint64(time.Second) {
		return
	}
	m.duration = time.Duration(float64(units) / float64(scale) * float64(time.Second))
}

func (m *mp4) end(rest missing) ending {
	e := ending{duration: m.duration}
	if m.fragmented {
		for _, t := range m.tracks {
			if t.scale > 0 && t.played < 1<<53 {
				e.duration = max(e.duration, time.Duration(float64(t.played)/float64(t.scale)*float64(time.Second)))
			}
		}
	}
	switch {
	case !m.endless && (m.begun || !rest.nothing()) || len(m.open) > 0 && m.open[0].end != m.pos:
		e.fault = "the last MP4 box is cut"
	case !m.moov || !m.mdat:
		e.fault = "the MP4 lacks moov or mdat"
	case m.endless:
		e.open = "the last MP4 box does not declare its size"
	case m.fragmented && m.listed > 0 && m.moofs < m.listed:
		e.fault = fmt.Sprintf("the MP4 lists %d fragments and has %d", m.listed, m.moofs)
	case m.fragmented && m.listed == 0:
		e.open = "a fragmented MP4 without a table of its fragments does not show where it ends"
	}
	return e
}
