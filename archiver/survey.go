package archiver

import (
	"context"
	"hash/maphash"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// A survey says which of the keys that recordings wait for are free. It is one listing of
// the bucket when the transfers of a pass begin, instead of a HEAD for each recording. It
// is a hint: the create-only put decides, and if the put is refused, the transfer looks at
// the place.
type survey struct {
	first, last string // of the keys that recordings wait for; "": no recording waits
	waiting     int64
	to          string // the last key that the listing covers; "": nothing was listed
	seed        maphash.Seed
	taken       map[uint64]struct{} // hashes of the keys that were listed
}

// wait adds the first key of a recording that waits for a transfer.
func (s *survey) wait(key string) {
	s.waiting++
	if s.first == "" || key < s.first {
		s.first = key
	}
	s.last = max(s.last, key)
}

// free reports whether the listing showed no object at the key.
func (s *survey) free(key string) bool {
	if key < s.first || key > s.to {
		return false
	}
	_, taken := s.taken[maphash.String(s.seed, key)]
	return !taken
}

// surveyRoom is the least number of objects that are listed: those of one request.
const surveyRoom = 1000

// survey lists the keys from the first to the last one waited for, but at most two for
// each recording that waits: beyond that, a HEAD for each recording costs less. It lists
// nothing if the store does not refuse a second create. With such a store, only a HEAD of
// the place keeps an object there from being overwritten.
func (p *pass) survey(ctx context.Context) {
	s := &p.places
	if s.first == "" {
		return
	}
	if trusted, err := p.Prover.Trusted(ctx); err != nil || !trusted {
		return // the first write meets the error again, and that recording reports it
	}
	s.seed, s.taken = maphash.MakeSeed(), map[uint64]struct{}{}
	listed := int64(0)
	for o, err := range p.Bucket.ListAfter(ctx, p.keys.MediaPrefix(), s.first[:len(s.first)-1]) {
		if err != nil {
			p.log.Debug("the bucket could not be listed; each place is looked at", "error", err)
			return
		}
		if o.Key > s.last {
			break
		}
		s.to = o.Key
		s.taken[maphash.String(s.seed, o.Key)] = struct{}{}
		if listed++; listed >= surveyRoom+2*s.waiting {
			return
		}
	}
	s.to = s.last
}

// fresh reports whether the recording can go to its first key without a look at the
// place: nothing stands there, and no pass has tried before.
func (p *pass) fresh(e state.Entry) bool {
	return e.Attempts == 0 && len(e.Versions) == 0 && len(e.BadKeys) == 0 && p.places.free(record.Nth(e.MediaKey, 1, p.in.Format))
}
