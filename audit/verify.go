// Package audit compares the archive with the ledger and with Genesys, and changes none of
// them: Verify looks at every object that the ledger names, Reconcile at every recording
// on every side. AcceptJournal writes down that a person accepts what is wrong.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/tally"
)

// Auditor compares the archive with the ledger and with Genesys. Its methods may be called
// concurrently.
type Auditor struct {
	Bucket    bucket
	Ledger    ledger
	Prefix    string // of every key
	Workers   int    // objects compared at a time
	Retention proof.Retention
	Log       *slog.Logger
	Tally     *tally.Tally // counts recordings and bytes while it compares them
}

type bucket interface {
	record.Bucket
	Hold(ctx context.Context, key, versionID string) (bool, error)
	Check(ctx context.Context) error
}

type ledger interface {
	ID() string
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Entry(ctx context.Context, k state.Key) (state.Entry, error)
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error)
	Scan(ctx context.Context, org, inbox string, f func(state.Key, *state.Entry) error) error
}

// Depth says what Verify reads. The zero value sends HEAD requests only.
type Depth struct {
	Read    bool
	Percent float64 // with Read: how many of the versions are read; the others get a HEAD
	Seed    uint64  // decides which versions are read
}

// reads reports whether a version is in the sample. Only its key and the seed decide that, so
// another reader gets the same sample.
func (d Depth) reads(mediaKey string) bool {
	sum := sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, d.Seed), mediaKey...))
	return d.Read && float64(binary.BigEndian.Uint64(sum[:])>>11)/(1<<53)*100 < d.Percent
}

// Verification is what Verify found. Objects counts what the ledger names; the other numbers
// count results. AddsUp compares the two.
type Verification struct {
	Recordings   int64                  `json:"recordings"`
	Versions     int64                  `json:"versions"`
	Certificates int64                  `json:"certificates"` // of disposals
	Journals     int64                  `json:"journals"`     // objects of journals that tell of recordings which persons had kept for longer
	Objects      int64                  `json:"objects"`      // media and manifests, two for each certificate, and those of journals
	Sound        int64                  `json:"sound"`
	Faulty       map[record.Fault]int64 `json:"faulty"`
	KnownBad     int64                  `json:"known_bad"` // keys, none of them among Objects
	Read         int64                  `json:"read"`      // objects whose bytes were read
	Bytes        int64                  `json:"bytes"`     // that were read
	SizeOnly     int64                  `json:"size_only"` // objects that were not read and whose HEAD shows no checksum to compare
}

// Found is the number of objects with a fault.
func (v *Verification) Found() (n int64) {
	for _, f := range record.Faults {
		n += v.Faulty[f]
	}
	return n
}

// AddsUp reports whether each object was judged exactly once.
func (v *Verification) AddsUp() bool {
	return v.Objects == 2*(v.Versions+v.Certificates)+v.Journals && v.Objects == v.Sound+v.Found()
}

// Verify compares every version in the ledger with the bucket, and the locks of the journal
// objects that tell of recordings which persons had kept for longer. It calls emit with each
// finding, one at a time. An empty org or inbox stands for all. It changes nothing. The error
// says why not everything was compared: an unreachable store is an error, never a finding.
func (a *Auditor) Verify(ctx context.Context, org, inbox string, depth Depth, emit func(proof.Finding) error) (Verification, error) {
	v := a.newVerifier(depth)
	var emitting sync.Mutex
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(a.Workers)
	err := a.Ledger.Scan(each, org, inbox, func(k state.Key, e *state.Entry) error {
		if each.Err() != nil {
			return failure.ErrStopped
		}
		g.Go(func() error {
			found, err := v.entry(each, k, e)
			emitting.Lock()
			defer emitting.Unlock()
			for _, f := range found {
				err = errors.Join(err, emit(f))
			}
			a.Tally.Checked.Add(1)
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
	if err == nil {
		err = v.journals(ctx, emit)
	}
	return v.totals, err
}

// verifier compares entries with the bucket. Its methods may be called concurrently.
type verifier struct {
	*Auditor
	depth    Depth
	reading  proof.Reading
	retained *retained

	mu     sync.Mutex
	totals Verification
}

func (a *Auditor) newVerifier(depth Depth) *verifier {
	return &verifier{
		Auditor: a, depth: depth, reading: proof.Reading{Bucket: a.Bucket, Log: a.Log}, retained: newRetained(),
		totals: Verification{Faulty: map[record.Fault]int64{}},
	}
}

func (v *verifier) count(f func(*Verification)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.totals)
}

// entry compares every version of an entry.
func (v *verifier) entry(ctx context.Context, k state.Key, e *state.Entry) (found []proof.Finding, err error) {
	v.retained.note(k, e)
	v.count(func(t *Verification) {
		if len(e.Versions) > 0 {
			t.Recordings++
		}
		t.Versions += int64(len(e.Versions))
		t.Objects += 2 * int64(len(e.Versions))
		t.KnownBad += int64(len(e.BadKeys))
	})
	for _, key := range e.BadKeys {
		bad := proof.Flaws{{Fault: record.FaultKnownBad, Detail: "other bytes than were written, found when it was archived; the recording has another key"}}
		found = append(found, bad.Finding(k, key, ""))
	}
	for _, version := range e.Versions {
		read := v.depth.reads(version.MediaKey)
		for _, o := range proof.Objects(k, version, v.Retention.End(e.DateCreated, version.ArchivedAt)) {
			look := func() (proof.Flaws, error) { return v.look(ctx, o, read) }
			switch {
			case e.Disposal() != nil:
				look = func() (proof.Flaws, error) { return v.lookDisposed(ctx, e, o) }
			case len(e.Cases()) > 0:
				look = func() (proof.Flaws, error) { return v.lookHeld(ctx, e, o, read) }
			}
			if found, err = v.judge(ctx, found, k, o.Key, o.VersionID, look); err != nil {
				return found, err
			}
		}
	}
	return v.certificates(ctx, found, k, e)
}

// judge compares one object, counts it, and adds a finding to found if it is flawed.
func (v *verifier) judge(ctx context.Context, found []proof.Finding, k state.Key, key, versionID string, look func() (proof.Flaws, error)) ([]proof.Finding, error) {
	flaws, err := v.object(ctx, look)
	if err != nil {
		return found, err
	}
	if len(flaws) == 0 {
		v.count(func(t *Verification) { t.Sound++ })
		return found, nil
	}
	f := flaws.Finding(k, key, versionID)
	v.count(func(t *Verification) { t.Faulty[f.Fault]++ })
	return append(found, f), nil
}

// object compares one object. If the store works and can't give the object, that is a flaw.
func (v *verifier) object(ctx context.Context, look func() (proof.Flaws, error)) (flaws proof.Flaws, err error) {
	err = v.reading.Try(ctx, func() (err error) { flaws, err = look(); return err })
	if err != nil && ctx.Err() != nil {
		return nil, failure.ErrStopped
	}
	if unreadable, ok := errors.AsType[*proof.UnreadableError](err); ok {
		return proof.Flaws{{Fault: record.FaultUnreadable, Detail: unreadable.Error()}}, nil
	}
	return flaws, err
}

// look compares the object with the ledger.
func (v *verifier) look(ctx context.Context, o proof.Recorded, read bool) (proof.Flaws, error) {
	obj, flaws, err := v.find(ctx, o)
	if err != nil || obj == nil {
		return flaws, err
	}
	c, err := o.Compare(ctx, v.Bucket, *obj, read)
	if err != nil {
		return nil, err
	}
	switch {
	case read:
		v.Tally.Bytes.Add(obj.Size)
		v.count(func(t *Verification) { t.Read++; t.Bytes += obj.Size })
	case !c.Checksum:
		v.count(func(t *Verification) { t.SizeOnly++ })
	}
	return append(flaws, c.Flaws...), nil
}

// lookDisposed checks that an object that was disposed of does not exist.
func (v *verifier) lookDisposed(ctx context.Context, e *state.Entry, o proof.Recorded) (proof.Flaws, error) {
	if act := e.Disposal(); !e.State.Disposed() {
		return proof.Flaws{proof.Flawf(record.FaultUnfinished, "%s began to %s it on %s: run the same command again, which finishes it", act.By, act.Kind, act.At.UTC().Format(time.DateOnly))}, nil
	}
	obj, err := v.Bucket.Head(ctx, o.Key, "")
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return proof.Flaws{proof.Flawf(record.FaultReturned, "the recording is %s, and an object of %d bytes, written %s, is there: give the same order again, which removes it", e.State, obj.Size, obj.Modified.UTC().Format(time.RFC3339))}, nil
}

// find sends a HEAD for the newest version, which is the recorded one unless somebody changed
// the bucket. If it is not, find sends a HEAD for the recorded one. It returns nil if the
// object does not exist.
func (v *verifier) find(ctx context.Context, o proof.Recorded) (*storage.Object, proof.Flaws, error) {
	newest, err := v.Bucket.Head(ctx, o.Key, "")
	hidden := errors.Is(err, storage.ErrNotFound)
	if err != nil && !hidden {
		return nil, nil, err
	}
	id := o.VersionID
	if id == "" {
		id = "null" // S3's name for a version from before the bucket had versions
	}
	if !hidden && (newest.VersionID == id || newest.VersionID == o.VersionID) {
		return &newest, nil, nil
	}
	obj, err := v.Bucket.Head(ctx, o.Key, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		if err := v.confirmMissing(ctx, o); err != nil {
			return nil, nil, err
		}
		if hidden {
			return nil, proof.Flaws{{Fault: record.FaultMissing, Detail: "no such object"}}, nil
		}
		return nil, proof.Flaws{proof.Flawf(record.FaultMissing, "the recorded version is gone; version %s of %d bytes stands in its place", newest.VersionID, newest.Size)}, nil
	case err != nil:
		return nil, nil, err
	case hidden:
		return &obj, proof.Flaws{{Fault: record.FaultHidden, Detail: "a delete marker hides it; the recorded version is still there: remove the marker"}}, nil
	}
	by := "archiverd did not write"
	if record.SameRecording(newest.Metadata, obj.Metadata) {
		by = "names the same recording"
	}
	return &obj, proof.Flaws{proof.Flawf(record.FaultOverwritten, "version %s of %d bytes, which %s, lies over the recorded version", newest.VersionID, newest.Size, by)}, nil
}

// confirmMissing makes sure that the store itself says so: the reply to a HEAD has no
// body, and a 404 without a body may come from anything between here and the store.
func (v *verifier) confirmMissing(ctx context.Context, o proof.Recorded) error {
	body, _, err := v.Bucket.Get(ctx, o.Key, o.VersionID)
	switch {
	case err == nil:
		body.Close()
		return &storage.Error{Op: "head", Key: o.Key, Err: errors.New("HEAD finds no object, GET does")}
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}
