package mediatest

import (
	"encoding/binary"
	"math"
)

const (
	webmBlocks  = 50              // of one cluster: 1 s
	webmBlock   = 1 + 2 + 4 + 160 // SimpleBlock: id, size, track and time and flags, one Opus packet
	webmCluster = 4 + 4 + 2 + 8   // a cluster's id and size, and its timestamp
	webmMillis  = 20              // one Opus packet
)

// webm lays out a Segment of known size: Info, Tracks and one Cluster a second.
func (m *Media) webm() {
	m.contentType = "audio/webm"
	ms := m.lasting(1000, webmBlocks*webmBlock)
	blocks := max(1, (ms+webmMillis-1)/webmMillis)
	clusters := (blocks + webmBlocks - 1) / webmBlocks
	m.unit = webmCluster + webmBlocks*webmBlock
	m.body = clusters*webmCluster + blocks*webmBlock
	seed := m.seed()

	info := element(0x1549a966,
		element(0x2ad7b1, number(1_000_000)), // TimestampScale: 1 ms
		element(0x4489, float(float64(ms))),
		element(0x4d80, []byte(encoder)),
		element(0x5741, []byte(encoder)),
		element(0x7ba9, []byte(m.title())))
	track := element(0xae,
		element(0xd7, number(1)),
		element(0x73c5, number(seed>>8|1)),
		element(0x83, number(2)), // audio
		element(0x86, []byte("A_OPUS")),
		element(0x56aa, number(opusPreSkip*1_000_000_000/opusRate)), // CodecDelay
		element(0x56bb, number(80_000_000)),                         // SeekPreRoll
		element(0x63a2, opusHead()),
		element(0xe1, element(0xb5, float(opusRate)), element(0x9f, number(1))))
	children := append(info, element(0x1654ae6b, track)...)

	m.head = append(ebmlHeader(), 0x18, 0x53, 0x80, 0x67) // Segment
	m.head = appendSize(m.head, uint64(len(children))+uint64(m.body), 8)
	m.head = append(m.head, children...)
	m.fill = func(i int64, b []byte) {
		noise(b, seed, i, func(x uint64) uint64 { return x })
		fillCluster(b, i, min(webmBlocks, blocks-i*webmBlocks))
	}
}

// fillCluster makes noise the i-th cluster.
func fillCluster(b []byte, i, blocks int64) {
	head := appendSize([]byte{0x1f, 0x43, 0xb6, 0x75}, uint64(len(b)-8), 4)
	head = append(head, 0xe7, 0x88)
	head = binary.BigEndian.AppendUint64(head, uint64(i*webmBlocks*webmMillis))
	b = b[copy(b, head):]
	for n := range blocks {
		block := b[n*webmBlock : (n+1)*webmBlock]
		head := appendSize([]byte{0xa3}, webmBlock-3, 2)
		head = binary.BigEndian.AppendUint16(append(head, 0x81), uint16(n*webmMillis))
		fillOpus(block[copy(block, append(head, 0x80)):])
	}
}

func ebmlHeader() []byte {
	return element(0x1a45dfa3,
		element(0x4286, number(1)), element(0x42f7, number(1)),
		element(0x42f2, number(4)), element(0x42f3, number(8)),
		element(0x4282, []byte("webm")), element(0x4287, number(4)), element(0x4285, number(2)))
}

// element makes an EBML element of an id and its data.
func element(id uint32, data ...[]byte) []byte {
	var all []byte
	for _, d := range data {
		all = append(all, d...)
	}
	b := binary.BigEndian.AppendUint32(nil, id)
	for b[0] == 0 {
		b = b[1:]
	}
	return append(appendSize(b, uint64(len(all)), 4), all...)
}

// appendSize appends an EBML size of a fixed width.
func appendSize(b []byte, n uint64, width int) []byte {
	n |= 1 << (7 * width)
	for i := width - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func float(f float64) []byte { return number(math.Float64bits(f)) }
