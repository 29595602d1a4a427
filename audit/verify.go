package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// Fault is what is wrong with one stored object. An object has one at most: of
// several, the first in the order of Faults.
type Fault string

// The faults of objects that the ledger names.
const (
	FaultMissing     Fault = "missing"     // the store has not the recorded version
	FaultForeign     Fault = "foreign"     // its place holds an object that archiverd did not write
	FaultReturned    Fault = "returned"    // it was erased or disposed of, and is in the store again
	FaultUnfinished  Fault = "unfinished"  // its removal from the archive began and did not end
	FaultAltered     Fault = "altered"     // size, checksum or bytes are not the recorded ones
	FaultManifest    Fault = "manifest"    // the manifest can't be read, or describes something else than the ledger
	FaultHidden      Fault = "hidden"      // the recorded version is there, below a delete marker
	FaultOverwritten Fault = "overwritten" // the recorded version is there, below another one
	FaultLock        Fault = "lock"        // its retention is shorter or weaker than recorded
	FaultExpires     Fault = "expires"     // a lifecycle rule will remove it before its retention ends
	FaultUnreadable  Fault = "unreadable"  // the store works, but can't give this object
	FaultJournal     Fault = "journal"     // an inbox's journal is not the chain that was written
	KnownBad         Fault = "known bad"   // a key that the ledger itself has for bad: no alarm
)

// Faults are all that count as findings, worst first.
var Faults = [...]Fault{FaultMissing, FaultForeign, FaultReturned, FaultUnfinished, FaultAltered, FaultManifest, FaultHidden, FaultOverwritten, FaultLock, FaultExpires, FaultUnreadable}

// Finding is one object that is not as the ledger has it.
type Finding struct {
	Fault     Fault  `json:"fault"`
	Org       string `json:"org"`
	Inbox     string `json:"inbox"`
	Recording string `json:"recording"`
	Key       string `json:"key"`
	VersionID string `json:"version,omitempty"`
	Detail    string `json:"detail"`
}

// Depth says how closely Verify looks. The zero value asks HEAD alone.
type Depth struct {
	Read    bool
	Percent float64 // with Read: how many of the versions are read; the others are asked by HEAD
	Seed    uint64  // with the ledger, decides which ones
}

// reads tells whether a version is in the sample. It depends on nothing but the key
// and the seed, so that another reader draws the same sample.
func (d Depth) reads(mediaKey string) bool {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, d.Seed), mediaKey...))
	return d.Read && float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<53)*100 < d.Percent
}

// Verification is what Verify looked at. Objects are counted as the ledger names
// them, all others as they were judged: see AddsUp.
type Verification struct {
	Recordings int64           `json:"recordings"`
	Versions   int64           `json:"versions"`
	Objects    int64           `json:"objects"` // media and manifests
	Sound      int64           `json:"sound"`
	Faulty     map[Fault]int64 `json:"faulty"`
	KnownBad   int64           `json:"known_bad"` // keys, none of them among Objects
	Read       int64           `json:"read"`      // objects whose bytes were read
	Bytes      int64           `json:"bytes"`     // that were read
	SizeOnly   int64           `json:"size_only"` // objects not read, of which HEAD shows no checksum that could be compared
}

// Found is the number of objects with a fault.
func (v *Verification) Found() (n int64) {
	for _, f := range Faults {
		n += v.Faulty[f]
	}
	return n
}

// AddsUp tells whether each object was judged, and once.
func (v *Verification) AddsUp() bool {
	return v.Objects == 2*v.Versions && v.Objects == v.Sound+v.Found()
}

// Verify holds every version in the ledger against the bucket and gives emit what is
// not as recorded, one finding at a time. An empty org or inbox stands for all. It
// changes nothing. Its error says why not all was looked at: a store that goes away
// is an error, never a finding.
func (a *Archiver) Verify(ctx context.Context, org, inbox string, depth Depth, emit func(Finding) error) (Verification, error) {
	v := a.newVerifier(depth)
	var emitting sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(a.Workers)
	err := a.Ledger.Scan(ctx, org, inbox, func(k state.Key, e *state.Entry) error {
		if ctx.Err() != nil {
			return failure.ErrStopped
		}
		g.Go(func() error {
			found, err := v.entry(ctx, k, e)
			emitting.Lock()
			defer emitting.Unlock()
			for _, f := range found {
				err = errors.Join(err, emit(f))
			}
			a.Progress.Checked.Add(1)
			return err
		})
		return nil
	})
	switch {
	case errors.Is(err, context.Canceled):
		err = failure.ErrStopped
	case err != nil && !errors.Is(err, failure.ErrStopped):
		err = failure.OfLedger(err)
	}
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	return v.totals, err
}

// verifier compares entries with the bucket. Its methods may be called concurrently.
type verifier struct {
	*Archiver
	depth  Depth
	streak atomic.Int64 // objects that the store could not give, one after the other

	mu     sync.Mutex
	totals Verification
}

func (a *Archiver) newVerifier(depth Depth) *verifier {
	return &verifier{Archiver: a, depth: depth, totals: Verification{Faulty: map[Fault]int64{}}}
}

func (v *verifier) count(f func(*Verification)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.totals)
}

// entry looks at every version of an entry.
func (v *verifier) entry(ctx context.Context, k state.Key, e *state.Entry) (found []Finding, err error) {
	v.count(func(t *Verification) {
		if len(e.Versions) > 0 {
			t.Recordings++
		}
		t.Versions += int64(len(e.Versions))
		t.Objects += 2 * int64(len(e.Versions))
		t.KnownBad += int64(len(e.BadKeys))
	})
	for _, key := range e.BadKeys {
		found = append(found, Finding{KnownBad, k.Org, k.Inbox, k.Recording, key, "",
			"other bytes than were written, found when it was archived; the recording has another key"})
	}
	for _, version := range e.Versions {
		for _, o := range recordedObjects(k, e, version) {
			flaws, err := v.object(ctx, o)
			if err != nil {
				return found, err
			}
			f, flawed := o.finding(flaws)
			v.count(func(t *Verification) {
				if flawed {
					t.Faulty[f.Fault]++
				} else {
					t.Sound++
				}
			})
			if flawed {
				found = append(found, f)
			}
		}
	}
	return found, nil
}
