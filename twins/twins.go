// Package twins finds twins: recordings of one organization that were served the same media.
// That happens if a transcoder or a cache mixes up two requests. Both recordings are then
// asked for once more; what they share after that is suspect.
package twins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// Reason is why a recording is asked for once more.
const Reason = "another recording was served the same media: both are asked for once more"

// maxFound bounds the recordings with the same media that are remembered. They are needed
// to name one of them.
const maxFound = 16

// Finder finds twins in a ledger.
type Finder struct {
	Ledger ledger
	Across across // nil: no other process makes passes
}

// across compares media across the processes that make a run together; *postgres.Ledger
// implements it. Sums are SHA-256 in hex.
type across interface {
	Served(ctx context.Context, k state.Key, sum string) (another bool, err error)
	ServedOther(ctx context.Context, k state.Key, sum string) error
	FirstServed(ctx context.Context, org, sum string) (state.Key, error)
}

type ledger interface {
	Entry(ctx context.Context, k state.Key) (state.Entry, error)
	Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error)
	Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
	ScanWaiting(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
}

// Register is what the passes of one run over one organization share. Its methods may be
// called concurrently.
type Register struct {
	// Transferring counts the passes whose first transfers are not over. Nothing that was
	// archived in this run is deleted before all of them are over: another inbox may still be
	// served the media of a recording here.
	Transferring sync.WaitGroup
	Asking       sync.Mutex // held while a recording is asked for once more: one at a time

	ledger    ledger
	across    across
	org       string
	begun     time.Time
	searching sync.Mutex // guards found and waited; held while the ledger is searched
	found     Found
	waited    map[string]bool // of the media of twins that waited when a deletion was first considered; see waitingSums

	seed    maphash.Seed
	mu      sync.Mutex
	digests map[[sha256.Size]byte]uint64 // media downloaded in this run → the hash of their recording's key
	noted   map[string]bool              // SHA-256 in hex of media that two recordings were served
}

// Found are recordings by the SHA-256 in hex of the media that each shares with another.
type Found map[string][]state.Key

// Register returns the register of a run that begins.
func (f Finder) Register(org string) *Register {
	return &Register{
		ledger: f.Ledger, across: f.Across, org: org, begun: time.Now(),
		seed: maphash.MakeSeed(), digests: map[[sha256.Size]byte]uint64{}, noted: map[string]bool{},
	}
}

// Served notes that a recording was served media with this digest. It reports whether
// another recording was served the same media before.
func (r *Register) Served(ctx context.Context, k state.Key, sum [sha256.Size]byte) (bool, error) {
	if r.across != nil {
		another, err := r.across.Served(ctx, k, hex.EncodeToString(sum[:]))
		return another, failure.OfLedger(err)
	}
	h := r.hash(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if first, seen := r.digests[sum]; seen {
		return first != h, nil
	}
	r.digests[sum] = h
	return false, nil
}

// ServedOther notes that a recording, when it was asked for once more, was served other
// media than those with this SHA-256 in hex.
func (r *Register) ServedOther(ctx context.Context, k state.Key, sum string) error {
	var digest [sha256.Size]byte
	if n, err := hex.Decode(digest[:], []byte(sum)); err != nil || n != len(digest) {
		return nil
	}
	if r.across != nil {
		return failure.OfLedger(r.across.ServedOther(ctx, k, sum))
	}
	h := r.hash(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.digests[digest] == h {
		delete(r.digests, digest)
	}
	return nil
}

func (r *Register) hash(k state.Key) uint64 {
	return maphash.String(r.seed, k.Inbox+"/"+k.Recording)
}

// Note notes the SHA-256 in hex of media that two recordings were served.
func (r *Register) Note(sum string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noted[sum] = true
}

// Shared reports whether another recording was served the media of a version: in this run, or
// before, if that one still waits to be asked for once more, perhaps in an inbox that no pass
// can reach now. Of a version that was archived in this run, that is known once no inbox
// transfers any more.
// Where other processes transfer too, Shared does not wait for that, but says yes of all
// media that were served in this run: the next run looks again.
func (r *Register) Shared(ctx context.Context, v state.Version) (bool, error) {
	if waits, err := r.waits(ctx, v.SHA256); waits || err != nil {
		return waits, failure.OfLedger(err)
	}
	if r.across != nil {
		first, err := r.across.FirstServed(ctx, r.org, v.SHA256)
		return first != (state.Key{}), failure.OfLedger(err)
	}
	if !v.ArchivedAt.Before(r.begun) {
		r.Transferring.Wait()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.noted[v.SHA256], nil
}

// waits reports whether a recording that was served media with this SHA-256 in hex waits to be
// asked for once more. One search of the ledger serves all deletions of a run: Note and across
// know of those that are served them in this run.
func (r *Register) waits(ctx context.Context, sum string) (bool, error) {
	r.searching.Lock()
	defer r.searching.Unlock()
	if r.waited == nil {
		sums, err := r.waitingSums(ctx)
		if err != nil {
			return false, err
		}
		r.waited = sums
	}
	return r.waited[sum], nil
}

// waitingSums returns the SHA-256 in hex of the media of all twins that wait to be asked for
// once more.
func (r *Register) waitingSums(ctx context.Context) (map[string]bool, error) {
	sums := map[string]bool{}
	err := r.ledger.ScanWaiting(ctx, r.org, "", func(_ state.Key, e *state.Entry) error {
		if e.Twin != "" {
			sums[e.Twin] = true
		}
		return nil
	})
	return sums, err
}

// Settled reports whether a search of the ledger finds each recording that was served media
// with this SHA-256 in hex. Once no inbox transfers any more, it does. Where other processes
// transfer too, Settled does not wait for that: the one that was served them first may be on
// its way still, and the next run looks again.
func (r *Register) Settled(ctx context.Context, sum string) (bool, error) {
	if r.across == nil {
		r.Transferring.Wait()
		return true, nil
	}
	first, err := r.across.FirstServed(ctx, r.org, sum)
	if err != nil || first == (state.Key{}) {
		return err == nil, failure.OfLedger(err)
	}
	e, err := r.ledger.Entry(ctx, first)
	if errors.Is(err, state.ErrNotFound) {
		return true, nil
	}
	return e.State != state.StateListed || e.Twin == sum, failure.OfLedger(err)
}

// Find returns the recordings of the organization that share their media with another
// recording, among them those of the waiting entries. One search of the ledger serves all
// passes of a run that this process makes alone.
func (r *Register) Find(ctx context.Context, waiting []state.KeyedEntry) (Found, error) {
	r.searching.Lock()
	defer r.searching.Unlock()
	if r.across == nil && !slices.ContainsFunc(waiting, func(e state.KeyedEntry) bool { return r.found[e.Entry.Twin] == nil }) {
		return r.found, nil
	}
	sums, err := r.waitingSums(ctx)
	if err != nil {
		return nil, failure.OfLedger(err)
	}
	r.mu.Lock()
	maps.Copy(sums, r.noted)
	r.mu.Unlock()
	r.found, err = r.mark(ctx, sums)
	return r.found, failure.OfLedger(err)
}

// mark returns the recordings of the organization whose media have one of the sums. It
// marks those that are archived and not suspect, so that they are asked for again.
func (r *Register) mark(ctx context.Context, sums map[string]bool) (Found, error) {
	found := Found{}
	var archived []state.Key
	err := r.ledger.Scan(ctx, r.org, "", func(k state.Key, e *state.Entry) error {
		sum := e.Newest().SHA256
		if !sums[sum] {
			sum = e.Twin
		}
		if !sums[sum] {
			return nil
		}
		if len(found[sum]) < maxFound {
			found[sum] = append(found[sum], k)
		}
		if e.State == state.StateArchived && e.Disposal() == nil && e.Newest().Suspect == "" {
			archived = append(archived, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, k := range archived {
		// It may be of another inbox, where this pass has no claim: like a person's retry,
		// the change is only made if the entry is still archived.
		_, err := r.ledger.Move(context.WithoutCancel(ctx), k, state.StateArchived, state.StateListed, func(e *state.Entry) {
			e.Twin, e.Why = e.Newest().SHA256, Reason
		})
		_, moved := errors.AsType[*state.ConflictError](err)
		if err != nil && !moved && !errors.Is(err, state.ErrOrdered) {
			return nil, err
		}
	}
	return found, nil
}

// Other returns the name of another recording that has the same media as k after it was
// asked for once more, or "". pending means that another recording with these media has
// yet to be asked for.
func (r *Register) Other(ctx context.Context, k state.Key, sum string, found Found) (name string, pending bool, err error) {
	for _, other := range found[sum] {
		if other == k {
			continue
		}
		e, err := r.ledger.Entry(ctx, other)
		if err != nil {
			return "", false, failure.OfLedger(err)
		}
		asking := (e.State == state.StateListed || e.State == state.StateFailed) && e.Twin == sum
		if asking && e.TwinAsked || !asking && e.Newest().SHA256 == sum {
			return other.String(), false, nil
		}
		pending = pending || asking
	}
	return "", pending, nil
}
