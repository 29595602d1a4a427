package archiver

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

const (
	// twinLength is the longest duration for which two recordings often have the same bytes,
	// for example silence.
	twinLength = time.Second
	// maxTwins bounds the recordings with the same media that are remembered. They are needed
	// to name one of them.
	maxTwins = 16
)

// organization is what the passes of one run over one organization share.
type organization struct {
	// transferring counts the passes whose first transfers are not over. Nothing that was
	// archived in this run is deleted before all of them are over: another inbox may still be
	// served the media of a recording here.
	transferring sync.WaitGroup
	asking       sync.Mutex // held while a recording is asked for once more: one at a time
	marking      sync.Mutex // guards found; held while the ledger is searched

	begun   time.Time
	seed    maphash.Seed
	mu      sync.Mutex
	digests map[[sha256.Size]byte]uint64 // media downloaded in this run → the hash of their recording's key
	twins   map[string]bool              // SHA-256 in hex of media that two recordings were served
	found   map[string][]state.Key       // by SHA-256: the recordings that have these media, at most maxTwins
}

func newOrganization() *organization {
	return &organization{begun: time.Now(), seed: maphash.MakeSeed(), digests: map[[sha256.Size]byte]uint64{}, twins: map[string]bool{}}
}

// served notes that a recording was served media with this digest. It reports whether
// another recording was served the same media before.
func (o *organization) served(k state.Key, sum [sha256.Size]byte) bool {
	h := maphash.String(o.seed, k.Inbox+"/"+k.Recording)
	o.mu.Lock()
	defer o.mu.Unlock()
	if first, seen := o.digests[sum]; seen {
		return first != h
	}
	o.digests[sum] = h
	return false
}

// servedOther notes that a recording, when it was asked for once more, was served other
// media than those with this SHA-256 in hex.
func (o *organization) servedOther(k state.Key, sum string) {
	var digest [sha256.Size]byte
	if n, err := hex.Decode(digest[:], []byte(sum)); err != nil || n != len(digest) {
		return
	}
	h := maphash.String(o.seed, k.Inbox+"/"+k.Recording)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.digests[digest] == h {
		delete(o.digests, digest)
	}
}

// twin notes the SHA-256 of media that two recordings were served.
func (o *organization) twin(sum string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.twins[sum] = true
}

// known returns what twin has noted.
func (o *organization) known() map[string]bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.twins)
}

func (o *organization) isTwin(sum string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.twins[sum]
}

// A twinError says that another recording of the organization was served the same media in
// this run. That happens if a transcoder or a cache mixes up two requests.
type twinError struct{ sha256 string }

func (e *twinError) Error() string {
	return "another recording was served the same media: both are asked for once more"
}

// judgeTwin compares media with those of the organization's other recordings in this run.
// Media are suspect if another recording has the same media after both were asked for once
// more.
func (t *transfer) judgeTwin(ctx context.Context, d mediaDigest, v verdict) (verdict, error) {
	if d.Size == 0 || v.duration > 0 && v.duration <= twinLength {
		return v, nil
	}
	e, sum := t.entry, d.Hex()
	if e.Twin != "" && e.Twin != sum {
		t.org.servedOther(t.key, e.Twin)
	}
	shared := t.org.served(t.key, d.Sum())
	if e.Twin != sum {
		if shared {
			return v, &twinError{sum}
		}
		return v, nil
	}
	other, pending, err := t.otherTwin(ctx, t.key, sum)
	pending = pending || shared // the other recording may have failed since
	switch {
	case err != nil:
		return v, err
	case other != "":
		v.whole, v.unproved, v.suspect = false, "", "byte for byte the media of "+other+" too, also when both were asked for once more"
	case pending:
		return v, &twinError{sum}
	}
	return v, nil
}

// otherTwin returns the name of a recording that has the same media after it was asked for
// once more, or "". pending means that another recording with these media has yet to be
// asked for.
func (p *pass) otherTwin(ctx context.Context, k state.Key, sum string) (name string, pending bool, err error) {
	for _, other := range p.twins[sum] {
		if other == k {
			continue
		}
		e, err := p.Ledger.Entry(ctx, other)
		if err != nil {
			return "", false, failure.OfLedger(err)
		}
		asking := (e.State == state.StateListed || e.State == state.StateFailed) && e.Twin == sum
		if asking && e.TwinAsked || !asking && newestSum(e) == sum {
			return other.String(), false, nil
		}
		pending = pending || asking
	}
	return "", pending, nil
}

// newestSum returns the SHA-256 of the newest version's media, or "".
func newestSum(e state.Entry) string {
	if len(e.Versions) == 0 {
		return ""
	}
	return e.Versions[len(e.Versions)-1].SHA256
}

// setAside leaves a recording that was served another's media to askTwins.
func (t *transfer) setAside(ctx context.Context, sum string) error {
	t.log.Warn("another recording was served the same media: both are asked for once more", "recording", t.key.Recording, "sha256", sum)
	err := t.edit(ctx, state.StateListed, func(e *state.Entry) {
		e.Twin, e.TwinAsked = sum, e.Twin == sum
	})
	t.org.twin(sum)
	return err
}

// findTwins returns, by SHA-256, the recordings of the organization that share their media
// with another recording. One search of the ledger serves all passes of a run.
func (p *pass) findTwins(ctx context.Context, waiting []state.KeyedEntry) (map[string][]state.Key, error) {
	o := p.org
	o.marking.Lock()
	defer o.marking.Unlock()
	if !slices.ContainsFunc(waiting, func(e state.KeyedEntry) bool { return o.found[e.Entry.Twin] == nil }) {
		return o.found, nil
	}
	sums := o.known()
	err := p.Ledger.ScanWaiting(ctx, p.in.Org, "", func(_ state.Key, e *state.Entry) error {
		if e.Twin != "" {
			sums[e.Twin] = true
		}
		return nil
	})
	if err != nil {
		return nil, failure.OfLedger(err)
	}
	o.found, err = p.markTwins(ctx, sums)
	return o.found, err
}

// markTwins returns the recordings of the organization whose media have one of the sums.
// It marks those that are archived and not suspect, so that they are asked for again.
func (p *pass) markTwins(ctx context.Context, sums map[string]bool) (map[string][]state.Key, error) {
	found := map[string][]state.Key{}
	var archived []state.Key
	err := p.Ledger.Scan(ctx, p.in.Org, "", func(k state.Key, e *state.Entry) error {
		sum := newestSum(*e)
		if !sums[sum] {
			sum = e.Twin
		}
		if !sums[sum] {
			return nil
		}
		if len(found[sum]) < maxTwins {
			found[sum] = append(found[sum], k)
		}
		if e.State == state.StateArchived && e.Disposal() == nil && e.Versions[len(e.Versions)-1].Suspect == "" {
			archived = append(archived, k)
		}
		return nil
	})
	if err != nil {
		return nil, failure.OfLedger(err)
	}
	for _, k := range archived {
		var moved *state.ConflictError
		// It may be of another inbox, where this pass has no claim: like a person's retry,
		// the change is only made if the entry is still archived.
		_, err := p.Ledger.Move(context.WithoutCancel(ctx), k, state.StateArchived, state.StateListed, func(e *state.Entry) {
			e.Twin, e.Why = newestSum(*e), "another recording was served the same media: both are asked for once more"
		})
		if err != nil && !errors.As(err, &moved) {
			return nil, failure.OfLedger(err)
		}
	}
	return found, nil
}

// askTwins asks once more for the recordings of this inbox that share their media with
// another recording, one at a time. It asks twice: what the first of two recordings is
// served again means nothing before the second was asked for too.
func (p *pass) askTwins(ctx context.Context) error {
	for range 2 {
		waiting, err := p.waitingTwins(ctx)
		if err != nil || len(waiting) == 0 {
			return err
		}
		p.org.transferring.Wait() // then all recordings that share their media are known
		if p.twins, err = p.findTwins(ctx, waiting); err != nil {
			return err
		}
		if waiting, err = p.waitingTwins(ctx); err != nil {
			return err
		}
		if err := p.askEach(ctx, waiting); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) askEach(ctx context.Context, twins []state.KeyedEntry) error {
	for _, e := range twins {
		if err := p.stopped(); err != nil {
			return err
		}
		if !p.due(e.Entry) {
			continue
		}
		p.Tally.Found.Add(1)
		p.org.asking.Lock()
		err := p.transferOne(ctx, e)
		p.org.asking.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) waitingTwins(ctx context.Context) (twins []state.KeyedEntry, err error) {
	err = p.eachWaiting(ctx, func(e state.KeyedEntry) error {
		if e.Entry.Twin != "" {
			twins = append(twins, e)
		}
		return nil
	})
	return twins, err
}
