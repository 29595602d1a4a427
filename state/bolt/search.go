package bolt

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// Search implements state.Recordings. In SortInbox it reads on while f works; in another
// order, and for a selection of ids, it finds all first.
func (l *Ledger) Search(ctx context.Context, q state.Query, f func(state.Key, *state.Entry) error) error {
	keys, err := l.inboxesWith(ctx, q.Org, q.Inbox, q.State)
	if err != nil {
		return fmt.Errorf("search ledger: %w", err)
	}
	s := search{l: l, q: q, match: newMatcher(&q.Selection), inboxes: keys}
	indexed, err := l.indexed(ctx)
	if err != nil {
		return fmt.Errorf("search ledger: %w", err)
	}
	switch {
	case len(q.IDs) > 0:
		err = s.findIDs(ctx)
	case !indexed:
		err = s.findUnindexed(ctx)
	case q.Sort == state.SortInbox:
		return s.stream(ctx, f)
	default:
		err = s.find(ctx)
	}
	if err != nil {
		return fmt.Errorf("search ledger: %w", err)
	}
	return s.give(ctx, f)
}

// inboxesWith returns the keys of the inboxes that have an entry in the state, or of all if
// the state is "".
func (l *Ledger) inboxesWith(ctx context.Context, org, inbox string, s state.State) ([]string, error) {
	keys, err := l.inboxKeys(ctx, org, inbox)
	if err != nil || s == "" {
		return keys, err
	}
	var with []string
	err = l.view(ctx, func(tx *bbolt.Tx) error {
		for _, key := range keys {
			in, err := getInbox(tx, key)
			if err != nil {
				return err
			}
			if in != nil && in.Counts[s] > 0 {
				with = append(with, key)
			}
		}
		return nil
	})
	return with, err
}

// indexed reports whether the file has the index: an older one that is only read has none.
func (l *Ledger) indexed(ctx context.Context) (has bool, err error) {
	err = l.view(ctx, func(tx *bbolt.Tx) error {
		has = indexIn(tx) != nil
		return nil
	})
	return has, err
}

// search is one Search.
type search struct {
	l       *Ledger
	q       state.Query
	match   matcher
	inboxes []string // keys
	seen    int64    // rows of the inbox that is being read
	hits    []hit
}

// end checks that no row of an inbox was overlooked: damage must not hide recordings.
func (s *search) end(inbox int) error {
	seen := s.seen
	s.seen = 0
	if !s.q.From.IsZero() || !s.q.To.IsZero() {
		return nil
	}
	return s.l.saw(s.inboxes[inbox], seen, "live", "past")
}

// hit is a found entry, with what sorts it.
type hit struct {
	inbox         int // of search.inboxes
	recording     string
	created, rank int64
	name          string
}

func (s *search) compare(a, b hit) int {
	c := cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name))
	if s.q.Reverse && s.q.Sort != state.SortInbox {
		c = -c
	}
	return cmp.Or(c, cmp.Compare(a.inbox, b.inbox), cmp.Compare(a.created, b.created), cmp.Compare(a.recording, b.recording))
}

// add keeps a hit, as long as it can be among those that f gets.
func (s *search) add(inbox int, r *row) {
	h := hit{inbox: inbox, recording: string(r.recording), created: r.created}
	switch s.q.Sort {
	case state.SortCreated:
		h.rank = r.created
	case state.SortDuration:
		h.rank = r.duration
	case state.SortSize:
		h.rank = r.size
	case state.SortName:
		h.name = string(r.name)
	}
	s.hits = append(s.hits, h)
	if most := s.q.Skip + s.q.Limit; s.q.Limit > 0 && len(s.hits) >= 2*most+1000 {
		slices.SortFunc(s.hits, s.compare)
		s.hits = s.hits[:most]
	}
}

// rowsChunk is the number of rows that a search reads in one transaction.
const rowsChunk = 100_000

// rows calls f with the rows of an inbox that match, from the key `from` on, until f
// returns false. It returns the key at which the next call goes on, nil at the end.
func (s *search) rows(tx *bbolt.Tx, inbox int, from []byte, f func(*row) (more bool)) (next []byte, err error) {
	b := tx.Bucket([]byte("search")).Bucket([]byte(s.inboxes[inbox]))
	if b == nil {
		return nil, nil
	}
	c := b.Cursor()
	n := 0
	for k, v := c.Seek(from); k != nil && !s.match.past(k); k, v = c.Next() {
		if n++; n > rowsChunk {
			return bytes.Clone(k), nil
		}
		s.seen++
		r, ok := readRow(k, v)
		if !ok {
			return nil, damaged(fmt.Errorf("the row %x of inbox %s", k, s.inboxes[inbox]))
		}
		if s.match.matches(&r) && !f(&r) {
			return append(bytes.Clone(k), 0), nil
		}
	}
	return nil, nil
}

// find finds all hits.
func (s *search) find(ctx context.Context) error {
	for i := range s.inboxes {
		for next := s.match.first(); next != nil; {
			err := s.l.view(ctx, func(tx *bbolt.Tx) (err error) {
				next, err = s.rows(tx, i, next, func(r *row) bool { s.add(i, r); return true })
				return err
			})
			if err != nil {
				return err
			}
		}
		if err := s.end(i); err != nil {
			return err
		}
	}
	return nil
}

// findIDs looks each id up in each inbox.
func (s *search) findIDs(ctx context.Context) error {
	ids := slices.Compact(slices.Sorted(slices.Values(s.q.IDs)))
	for i, inbox := range s.inboxes {
		err := s.l.view(ctx, func(tx *bbolt.Tx) error {
			for _, id := range ids {
				e, err := s.l.getEntry(tx, inbox, keyOf(inbox, id))
				if err != nil {
					return err
				}
				if e != nil {
					s.consider(i, id, e)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findUnindexed reads every entry.
func (s *search) findUnindexed(ctx context.Context) error {
	return s.l.Scan(ctx, s.q.Org, s.q.Inbox, func(k state.Key, e *state.Entry) error {
		if i, ok := slices.BinarySearch(s.inboxes, k.Org+"/"+k.Inbox); ok {
			s.consider(i, k.Recording, e)
		}
		return nil
	})
}

func (s *search) consider(inbox int, recording string, e *state.Entry) {
	r, ok := readRow(rowKey(e.Created().UnixMilli(), recording), appendRow(nil, recording, e))
	if ok && s.match.matches(&r) {
		s.add(inbox, &r)
	}
}

// give calls f with the entries of the hits that are still selected.
func (s *search) give(ctx context.Context, f func(state.Key, *state.Entry) error) error {
	slices.SortFunc(s.hits, s.compare)
	hits := s.hits[min(s.q.Skip, len(s.hits)):]
	if s.q.Limit > 0 {
		hits = hits[:min(s.q.Limit, len(hits))]
	}
	for _, h := range hits {
		k := keyOf(s.inboxes[h.inbox], h.recording)
		e, err := s.l.Entry(ctx, k)
		if err != nil {
			return fmt.Errorf("search ledger: %w", err)
		}
		if !s.q.Selects(k, &e) {
			continue
		}
		if err := f(k, &e); err != nil {
			return err
		}
	}
	return nil
}

// stream gives f the hits of one inbox after the other as it finds them.
func (s *search) stream(ctx context.Context, f func(state.Key, *state.Entry) error) error {
	skip, left := s.q.Skip, s.q.Limit
	for i, inbox := range s.inboxes {
		for next := s.match.first(); next != nil; {
			var chunk []state.KeyedEntry
			err := s.l.view(ctx, func(tx *bbolt.Tx) error {
				var failed error
				more, err := s.rows(tx, i, next, func(r *row) bool {
					if skip > 0 {
						skip--
						return true
					}
					var e state.KeyedEntry
					e, failed = s.read(tx, inbox, r)
					chunk = append(chunk, e)
					return failed == nil && len(chunk) < scanChunk && len(chunk) != left
				})
				next = more
				return cmp.Or(err, failed)
			})
			if err != nil {
				return fmt.Errorf("search ledger: %s: %w", inbox, err)
			}
			for j := range chunk {
				if err := f(chunk[j].Key, &chunk[j].Entry); err != nil {
					return err
				}
			}
			if left -= len(chunk); s.q.Limit > 0 && left == 0 {
				return nil
			}
		}
		if err := s.end(i); err != nil {
			return fmt.Errorf("search ledger: %w", err)
		}
	}
	return nil
}

// read returns the entry of a row.
func (s *search) read(tx *bbolt.Tx, inbox string, r *row) (state.KeyedEntry, error) {
	k := keyOf(inbox, string(r.recording))
	e, err := s.l.getEntry(tx, inbox, k)
	if err == nil && e == nil {
		err = damaged(fmt.Errorf("a row of %s, which is no entry", k))
	}
	if err != nil {
		return state.KeyedEntry{}, err
	}
	return state.KeyedEntry{Key: k, Entry: *e}, nil
}

func keyOf(inbox, recording string) state.Key {
	org, id := splitKey([]byte(inbox))
	return state.Key{Org: org, Inbox: id, Recording: recording}
}
