package audit

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// retained are the recordings that persons had kept for longer: the journal objects that tell
// of them have to be locked for as long. It holds up to 50 bytes for each.
type retained struct {
	seed maphash.Seed

	mu      sync.Mutex
	until   map[uint64]int64 // by the hash of the recording's key, in seconds since 1970
	inboxes map[[2]string]bool
}

func newRetained() *retained {
	return &retained{seed: maphash.MakeSeed(), until: map[uint64]int64{}, inboxes: map[[2]string]bool{}}
}

// note notes an entry, if a person had it kept for longer.
func (r *retained) note(k state.Key, e *state.Entry) {
	lock := record.Retained(e)
	if lock.Mode == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.until[maphash.Comparable(r.seed, k)] = lock.Until.Unix()
	r.inboxes[[2]string{k.Org, k.Inbox}] = true
}

// longest returns which of the recordings that a journal object tells of has to be kept for
// the longest time, and until when; the zero time if none has to be kept for longer.
func (r *retained) longest(j *record.Journal) (of state.Key, until time.Time) {
	for _, ev := range j.Events {
		k := state.Key{Org: j.Organization, Inbox: j.Inbox, Recording: ev.Recording}
		if s, ok := r.until[maphash.Comparable(r.seed, k)]; ok && time.Unix(s, 0).After(until) {
			of, until = k, time.Unix(s, 0)
		}
	}
	return of, until
}

// shortJournal returns a fault if a journal object is locked for a shorter time than persons
// ordered for the recordings that it tells of; ordered is false if they ordered nothing. A lock
// that an object had kept its mode, so any mode will do.
func (v *verifier) shortJournal(ctx context.Context, chain record.Chain, at state.JournalHead, j *record.Journal) (of state.Key, ordered bool, fault *record.JournalFault, err error) {
	of, until := v.retained.longest(j)
	if until.IsZero() {
		return of, false, nil, nil
	}
	fault, err = chain.CheckLock(ctx, at, storage.Retention{Mode: "GOVERNANCE", Until: until})
	return of, true, fault, err
}

// journals compares the locks of the journal objects that tell of recordings which persons
// had kept for longer. It reads the journals of these recordings' inboxes, and of no other.
func (v *verifier) journals(ctx context.Context, emit func(proof.Finding) error) error {
	for in := range v.retained.inboxes {
		chain := record.Chain{Bucket: v.Bucket, Keys: record.Keys{Prefix: v.Prefix, Org: in[0], Inbox: in[1]}}
		_, err := chain.Walk(ctx, state.JournalHead{}, func(at state.JournalHead, j *record.Journal) error {
			of, ordered, fault, err := v.shortJournal(ctx, chain, at, j)
			if err != nil || !ordered {
				return err
			}
			look := func() (proof.Flaws, error) {
				if fault == nil {
					return nil, nil
				}
				return proof.Flaws{{Fault: fault.Kind, Detail: fault.Detail}}, nil
			}
			v.count(func(t *Verification) { t.Journals++; t.Objects++ })
			found, err := v.judge(ctx, nil, of, at.Key, at.VersionID, look)
			if err == nil && len(found) > 0 {
				err = emit(found[0])
			}
			return err
		})
		if errors.Is(err, context.Canceled) {
			return failure.ErrStopped
		}
		if err != nil {
			return err
		}
	}
	return nil
}
