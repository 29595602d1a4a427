package audit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/listing"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// side is the set of sides on which a recording was found, with the other facts that decide
// its class.
type side uint8

const (
	inGenesys side = 1 << iota
	inLedger
	inBucket
	waits   // the ledger has it as waiting: the next run adopts its objects in the bucket
	removed // the ledger has it as erased or expired: the bucket must have no object of it
	extra   // the bucket has an object of the recording that the ledger should name and does not
)

// reconciler compares one inbox. For each recording it keeps a hash with its sides, a hash of
// each key that the ledger names and, for the listing, one more: up to 100 bytes in all.
type reconciler struct {
	*verifier
	listing *listing.Walk
	span    Span
	to      Listener
	seed    maphash.Seed

	// Guarded by the verifier's mutex.
	sides   map[uint64]side
	named   []uint64 // keys, in order
	bad     map[string]bool
	classes map[Class]*ClassTotal
	kinds   map[ObjectKind]int64
	entries int64 // in the ledger
	objects int64 // in the bucket
	out     Reconciliation
}

// Reconcile compares Genesys' summary and listing, the ledger and the bucket
// for one inbox, and changes nothing. If the inbox has no API, for the reason in unreachable,
// or can't be listed, only ledger and bucket are compared. No pass over the inbox may be
// under way. An error is the store's or the ledger's.
func (a *Auditor) Reconcile(ctx context.Context, in listing.Inbox, unreachable error, span Span, to Listener) (Reconciliation, error) {
	log := a.Log.With("org", in.Org, "inbox", in.ID)
	again := func(err error) { log.Debug("trying again", "error", err) }
	r := &reconciler{
		verifier: a.newVerifier(Depth{}), listing: listing.New(ctx, in, a.Ledger, log, again), span: span, to: to, seed: maphash.MakeSeed(),
		sides: map[uint64]side{}, bad: map[string]bool{},
		classes: map[Class]*ClassTotal{}, kinds: map[ObjectKind]int64{}, out: Reconciliation{Org: in.Org, Inbox: in.ID},
	}
	for _, c := range Classes {
		r.classes[c] = &ClassTotal{Class: c}
	}
	r.out.Genesys.Err = unreachable
	for _, step := range []func(context.Context) error{r.readLedger, r.readBucket, r.readGenesys, r.classify, r.readOwner, r.followJournal} {
		if err := step(ctx); err != nil {
			return r.out, err
		}
	}
	r.sum()
	return r.out, nil
}

// hash returns the hash of a recording's id, escaped as in a key, or of a key.
func (r *reconciler) hash(s string) uint64 { return maphash.String(r.seed, s) }

// filed returns the day in a recording's keys, which stays if Genesys changes the date.
func (r *reconciler) filed(e *state.Entry) time.Time {
	if k, ok := record.ParseKey(r.Prefix, e.MediaKey); ok {
		return k.Day
	}
	return filingDay(e.DateCreated)
}

func filingDay(dateCreated string) time.Time {
	t, _ := genesys.ParseTime(dateCreated)
	return t.UTC().Truncate(24 * time.Hour)
}

// scan calls f with the selected entries of the inbox.
func (r *reconciler) scan(ctx context.Context, f func(state.Key, *state.Entry)) error {
	err := r.Ledger.Scan(ctx, r.out.Org, r.out.Inbox, func(k state.Key, e *state.Entry) error {
		if ctx.Err() != nil {
			return failure.ErrStopped
		}
		if r.span.holds(r.filed(e)) {
			f(k, e)
		}
		return nil
	})
	if err != nil && !errors.Is(err, failure.ErrStopped) {
		err = failure.OfLedger(err)
	}
	return err
}

func (r *reconciler) readLedger(ctx context.Context) error {
	err := r.scan(ctx, func(k state.Key, e *state.Entry) {
		s := inLedger
		if e.State == state.StateListed || e.State == state.StateFailed {
			s |= waits
		}
		if e.State.Disposed() {
			s |= removed
		}
		r.sides[r.hash(record.EscapeID(k.Recording))] |= s
		r.entries++
		for _, v := range e.Versions {
			r.named = append(r.named, r.hash(v.MediaKey), r.hash(v.ManifestKey))
		}
		for _, key := range e.BadKeys {
			r.bad[key] = true
		}
	})
	slices.Sort(r.named)
	return err
}

// readGenesys lists the inbox. If that fails, the failure is part of the result.
func (r *reconciler) readGenesys(ctx context.Context) error {
	g := &r.out.Genesys
	if g.Err == nil {
		g.Err = r.listing.List(ctx, r.sighted)
	}
	if ctx.Err() != nil {
		return failure.ErrStopped
	}
	if g.Err != nil {
		g.NotAsked = g.Err.Error()
	}
	g.Missing, g.Complete, g.Summary, g.Unreadable = r.listing.Missing, r.listing.Complete, r.listing.Summary, r.listing.Unreadable
	return nil
}

func (r *reconciler) key(id string) state.Key {
	return state.Key{Org: r.out.Org, Inbox: r.out.Inbox, Recording: id}
}

// sighted counts the recordings of a page of the listing.
func (r *reconciler) sighted(ctx context.Context, page []genesys.Recording) (expected int64, err error) {
	for _, rec := range page {
		e, err := r.Ledger.Entry(ctx, r.key(rec.ID))
		known := err == nil
		if err != nil && !errors.Is(err, state.ErrNotFound) {
			return expected, failure.OfLedger(err)
		}
		if known && e.State.Expected() {
			expected++
		}
		day := filingDay(rec.DateCreated)
		if known {
			day = r.filed(&e)
		}
		if !r.span.holds(day) {
			continue
		}
		r.out.Genesys.Listed++
		h := r.hash(record.EscapeID(rec.ID))
		if r.sides[h]&(inLedger|inBucket) == 0 {
			err := r.to.Recording(Reconciled{ClassWaiting, r.out.Org, r.out.Inbox, rec.ID, "not in the ledger yet"})
			if err != nil {
				return expected, err
			}
		}
		r.sides[h] |= inGenesys
	}
	return expected, nil
}

// classify compares the stored objects of every entry, and gives each entry its class.
func (r *reconciler) classify(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(r.Workers)
	err := r.scan(ctx, func(k state.Key, e *state.Entry) {
		r.mu.Lock()
		s := r.sides[r.hash(record.EscapeID(k.Recording))]
		r.mu.Unlock()
		if s&inLedger == 0 {
			return // entered after scan: counted as listed
		}
		g.Go(func() error {
			found, err := r.entry(ctx, k, e)
			if err != nil {
				return err
			}
			class, detail := r.class(e, s, found)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.classes[class].add(s)
			r.Tally.Checked.Add(1)
			return r.to.Recording(Reconciled{class, k.Org, k.Inbox, k.Recording, detail})
		})
	})
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	r.out.Stored = r.totals
	return err
}

// class returns the class of an entry, by its stored objects first and then by its state.
func (r *reconciler) class(e *state.Entry, s side, found []proof.Finding) (Class, string) {
	found = slices.DeleteFunc(found, func(f proof.Finding) bool { return f.Fault == record.FaultKnownBad })
	if len(found) > 0 {
		worst := slices.MinFunc(found, func(x, y proof.Finding) int { return proof.Worse(x.Fault, y.Fault) })
		detail := fmt.Sprintf("%s: %s: %s", worst.Key, worst.Fault, worst.Detail)
		switch worst.Fault {
		case record.FaultMissing:
			return ClassMissing, detail
		case record.FaultLock:
			return ClassLock, detail
		}
		return ClassDiffers, detail
	}
	if s&extra != 0 && s&removed != 0 {
		return ClassDiffers, fmt.Sprintf("it is %s, and the bucket has an object of it again: give the same order again, which removes it", e.State)
	}
	if s&extra != 0 {
		return ClassUnknown, "the bucket has a version of it that the ledger does not know"
	}
	class, detail := byState(e)
	listable := class == ClassArchived || class == ClassWaiting || class == ClassFailed
	switch here := s&inGenesys != 0; {
	case r.out.Genesys.Err != nil || !r.out.Genesys.Complete || here == listable:
	case here:
		detail = "listed again"
	case e.State != state.StateDeleteRequested:
		detail = join(detail, "no longer listed")
	}
	return class, detail
}

func join(detail, more string) string {
	if detail == "" {
		return more
	}
	return detail + "; " + more
}

// byState returns the class of an entry whose stored objects are sound.
func byState(e *state.Entry) (Class, string) {
	switch e.State {
	case state.StateFailed:
		return ClassFailed, e.LastError
	case state.StateVanished:
		if e.MissingSince.IsZero() {
			return ClassVanished, "it is not known since when"
		}
		return ClassVanished, "not listed since " + e.MissingSince.UTC().Format(time.RFC3339)
	case state.StateListed:
		if len(e.Versions) > 0 {
			return ClassWaiting, "changed since it was archived"
		}
		return ClassWaiting, ""
	case state.StateGone:
		return ClassGone, ""
	case state.StateDeleted:
		return ClassDeleted, ""
	case state.StateWaived:
		return ClassWaived, e.Acts[len(e.Acts)-1].Reason
	case state.StateErased:
		return ClassErased, e.Disposal().Authority
	case state.StateExpired:
		return ClassExpired, ""
	case state.StateDeleteRequested:
		return ClassArchived, "its deletion was requested " + e.DeleteRequestedAt.UTC().Format(time.RFC3339)
	}
	return ClassArchived, ""
}

// readOwner finds out which ledger owns the inbox.
func (r *reconciler) readOwner(ctx context.Context) error {
	o, err := record.ReadOwner(ctx, r.Bucket, record.Keys{Prefix: r.Prefix, Org: r.out.Org, Inbox: r.out.Inbox}.Owner())
	switch {
	case errors.Is(err, storage.ErrNotFound):
		r.out.Owner = "nobody yet"
		return nil
	case err != nil:
		return fmt.Errorf("read the owner of the inbox: %w", err)
	case o.Ledger == r.Ledger.ID():
		r.out.Owner = "this ledger"
	case o.Ledger == "":
		r.out.Owner = "unknown: the owner object can't be read, so nothing is deleted from this inbox"
	default:
		r.out.Owner = "another ledger, " + o.Ledger + ", so nothing is deleted from this inbox"
	}
	return nil
}

// followJournal checks the chain up to the newest object that the ledger knows.
func (r *reconciler) followJournal(ctx context.Context) error {
	in, err := r.Ledger.Inbox(ctx, r.out.Org, r.out.Inbox)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return failure.OfLedger(err)
	}
	chain := record.Chain{Bucket: r.Bucket, Keys: record.Keys{Prefix: r.Prefix, Org: r.out.Org, Inbox: r.out.Inbox}}
	var short []record.JournalFault
	faults, err := chain.Walk(ctx, in.Journal, func(at state.JournalHead, j *record.Journal) error {
		r.out.Journal.Objects++
		_, _, fault, err := r.shortJournal(ctx, chain, at, j)
		if fault != nil {
			short = append(short, *fault)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the inbox's journal: %w", err)
	}
	for _, f := range short { // which may be shorter than the chain says, too
		if !slices.ContainsFunc(faults, func(g record.JournalFault) bool { return g.Kind == f.Kind && g.Key == f.Key }) {
			faults = append(faults, f)
		}
	}
	for _, f := range faults {
		to := &r.out.Journal.Faults
		if f.Accepted(in) {
			to = &r.out.Journal.Accepted
		}
		*to = append(*to, f)
	}
	return nil
}
