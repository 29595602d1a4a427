package bolt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strings"

	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// The bucket search is an index for Search: a row for each entry, which holds all that a
// selection can name. Search compares rows byte by byte and decodes no entry but those that
// it finds. A row is written only if it changes: when the recording is listed, archived or
// deleted, and by an act.
//
// A row's key is the date of creation in milliseconds, big endian with its sign flipped, so
// that keys sort by date, and the recording's id; or the id's hash, if the key has no room
// for the id. The row itself is
//
//	uvarint   duration in milliseconds
//	uvarint   size + 1; 0: no version
//	fields    each a uvarint length and a text: state, id (if it is not in the key),
//	          conversation, name, participants, cases
//
// Names and participants are folded. Participants and cases are lists: each element stands
// between NULs, which none contains.

// rowKey returns the key of an entry's row.
func rowKey(created int64, recording string) []byte {
	k := binary.BigEndian.AppendUint64(nil, uint64(created)^1<<63)
	if len(recording) > state.MaxID-len(k) {
		sum := sha256.Sum256([]byte(recording))
		return append(k, sum[:]...)
	}
	return append(k, recording...)
}

func createdOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key) ^ 1<<63) }

// appendRow appends an entry's row to b.
func appendRow(b []byte, recording string, e *state.Entry) []byte {
	b = binary.AppendUvarint(b, uint64(max(0, e.Milliseconds)))
	size, stored := e.Size()
	if stored {
		size++
	}
	b = binary.AppendUvarint(b, uint64(size))
	field := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	field(string(e.State))
	if len(recording) <= state.MaxID-8 {
		recording = "" // it is in the key
	}
	field(recording)
	field(strings.Map(func(r rune) rune { return r }, e.ConversationID)) // UTF-8, as the entry keeps it
	field(state.Fold(e.Name))
	field(state.List(e.People()))
	field(state.List(e.Cases()))
	return b
}

// index brings the row of an entry up to date. old may be nil.
func index(tx *bbolt.Tx, inbox, recording string, old, e *state.Entry) error {
	if old != nil && old.SameSearch(e) {
		return nil
	}
	b, err := nested(tx, "search", inbox)
	if err != nil {
		return err
	}
	b.FillPercent = 0.9 // recordings come in the order of their dates, or nearly so
	key := rowKey(e.Created().UnixMilli(), recording)
	if old != nil {
		if was := rowKey(old.Created().UnixMilli(), recording); !bytes.Equal(was, key) {
			if err := b.Delete(was); err != nil {
				return err
			}
		}
	}
	return b.Put(key, appendRow(nil, recording, e))
}

// row is a row that was read. It shares its bytes with the file.
type row struct {
	created, duration, size        int64
	stored                         bool
	recording, state, conversation []byte
	name, participants, cases      []byte
}

// readRow reads a row; false if it is cut short.
func readRow(k, v []byte) (r row, ok bool) {
	if len(k) < 8 {
		return r, false
	}
	number := func() int64 {
		n, size := binary.Uvarint(v)
		if size <= 0 {
			v = nil
			return 0
		}
		v = v[size:]
		return int64(n)
	}
	r.created, r.duration, r.size = createdOf(k), number(), number()
	r.stored = r.size > 0
	r.size = max(0, r.size-1)
	for _, f := range []*[]byte{&r.state, &r.recording, &r.conversation, &r.name, &r.participants, &r.cases} {
		if len(v) == 0 {
			return r, false
		}
		n := number()
		if n < 0 || n > int64(len(v)) {
			return r, false
		}
		*f, v = v[:n], v[n:]
	}
	if len(r.recording) == 0 {
		r.recording = k[8:]
	}
	return r, len(v) == 0
}

// matcher compares rows with a selection, as Selection.Selects compares entries. It does not
// look at IDs, Org and Inbox.
type matcher struct {
	*state.Selection
	state, conversation, name, participant, held []byte
}

func newMatcher(s *state.Selection) matcher {
	m := matcher{Selection: s, state: []byte(s.State), conversation: []byte(s.Conversation), name: []byte(state.Fold(s.Name)), participant: []byte(state.Fold(s.Participant))}
	if s.Case != "" {
		m.held = []byte("\x00" + s.Case + "\x00")
	}
	return m
}

func (m *matcher) matches(r *row) bool {
	return (len(m.state) == 0 || bytes.Equal(r.state, m.state)) &&
		(len(m.conversation) == 0 || bytes.Equal(r.conversation, m.conversation)) &&
		bytes.Contains(r.name, m.name) && bytes.Contains(r.participants, m.participant) && bytes.Contains(r.cases, m.held) &&
		m.SelectsMeasures(r.created, r.duration, r.size, r.stored)
}

// first returns the least key that a row of the selection can have.
func (m *matcher) first() []byte { return rowKey(m.From.UnixMilli(), "") }

// past reports whether no further row can be of the selection.
func (m *matcher) past(key []byte) bool {
	return !m.To.IsZero() && len(key) >= 8 && createdOf(key) >= m.To.UnixMilli()
}

// indexIn returns the index, or nil: an older file that is only read has none, or a part that
// an interrupted migration left.
func indexIn(tx *bbolt.Tx) *bbolt.Bucket {
	if version, err := schemaOf(tx); err != nil || version < schemaIndexed {
		return nil
	}
	return tx.Bucket([]byte("search"))
}

// indexChunk is the number of entries that reindex enters in one transaction.
const indexChunk = 5000

// reindex makes the index anew, in several transactions: one for a million entries would
// need much memory. Until the last of them, the file has no index that is used.
func (l *Ledger) reindex() error {
	err := l.write(func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte("search")) != nil {
			if err := tx.DeleteBucket([]byte("search")); err != nil { // an earlier try was interrupted
				return err
			}
		}
		_, err := tx.CreateBucket([]byte("search"))
		return err
	})
	if err != nil {
		return err
	}
	keys, err := l.inboxKeys(context.Background(), "", "")
	for _, key := range keys {
		for after, more := "", true; more && err == nil; {
			err = l.write(func(tx *bbolt.Tx) error {
				chunk, err := l.collect(tx, stretch{key, after, indexChunk}, func(_, _ []byte) bool { return false }, "live", "past")
				if err != nil {
					return err
				}
				for i := range chunk {
					if err := index(tx, key, chunk[i].Key.Recording, nil, &chunk[i].Entry); err != nil {
						return err
					}
					after = chunk[i].Key.Recording
				}
				more = len(chunk) == indexChunk
				return nil
			})
		}
	}
	return err
}
