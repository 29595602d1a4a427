// Package journal writes each inbox's journal: the history of the inbox, kept in the
// archive so that it can be read without the ledger.
//
// A journal is a chain of objects, each naming the one before with its SHA-256. A pass that
// changed anything adds to it, and the first pass of a day does so even if it changed
// nothing. Package record has the form of the objects and reads the chain. Writing has one
// order:
//
//	ledger   a change of state or of bad keys and its event are one transaction
//	1 list   the objects after the head: another ledger's, or ours from a pass that
//	         ended between 2 and 3. Each gets the lock that it may lack, and becomes the
//	         head; the ledger drops the events that the object holds
//	2 put    one object with the oldest events: create-only, proved like a manifest, locked
//	3 ledger the head moves to the object, and its events are dropped: one transaction
//
// A crash before 2 leaves the events to the next pass. A crash between 2 and 3 leaves an
// object that the next pass finds in 1. Its events are the oldest that the ledger still
// has, so no event is lost, and none is written twice. A ledger that was restored from an
// old backup finds in 1 what has happened since, and continues that chain instead of
// beginning a second one; but if persons acted since, nothing is written: see ErrBehind.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/archiverd/archiverd/claims"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Writer writes the journals of all inboxes. Its methods may be called concurrently for
// different inboxes. All fields are required, and must not change after the first call.
type Writer struct {
	Bucket        record.Bucket
	Ledger        ledger
	Prover        *proof.Prover
	Prefix        string // of every key
	Retention     proof.Retention
	Configuration string // SHA-256 of the configuration without its secrets
	Version       string // of archiverd
	Log           *slog.Logger
}

type ledger interface {
	ID() string
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Entries(ctx context.Context, org, inbox string, recordings []string) (map[string]state.Entry, error)
	Events(ctx context.Context, org, inbox string, limit int) ([]state.Event, error)
	Claim(ctx context.Context, org, inbox string) (state.Claim, error)
}

// claim is a claim on the inbox whose journal is written.
type claim interface {
	MoveJournal(ctx context.Context, from, to state.JournalHead, has []state.Event) error
}

// Pass is what the journal tells of the pass that writes it.
type Pass struct {
	Org, Inbox string
	record.JournalPass
	Daily bool // write the first object of a day even if the ledger has no events
}

// Write writes the events that the ledger has of an inbox into the inbox's journal. The
// claim is on this inbox. Write returns what is wrong with the newest objects that were
// there, also if it fails, without what a person has accepted. The error Is ErrBehind if
// the ledger is older than the journal, and state.ErrClaimLost if the claim was lost.
func (w *Writer) Write(ctx context.Context, c claim, p Pass) ([]record.JournalFault, error) {
	b := w.book(p)
	b.claim = c
	err := b.write(ctx)
	return b.faults, err
}

// WriteOrdered writes the events of what a person has ordered, and claims the inbox for
// it. If a pass has the inbox, WriteOrdered leaves that to this pass or the next.
func (w *Writer) WriteOrdered(ctx context.Context, org, inbox string) error {
	c, err := w.Ledger.Claim(ctx, org, inbox)
	if errors.Is(err, state.ErrClaimed) {
		w.Log.Info("a run works on the inbox, and will write the journal", "org", org, "inbox", inbox, "error", err)
		return nil
	}
	if err != nil {
		return failure.OfLedger(err)
	}
	log := w.Log.With("org", org, "inbox", inbox)
	defer claims.Release(ctx, c, log)
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	return claims.Keep(ctx, c, log, lose, func() error {
		now := time.Now().UTC()
		_, err := w.Write(ctx, c, Pass{Org: org, Inbox: inbox, JournalPass: record.JournalPass{Pass: state.Pass{Start: now, End: now}}})
		return err
	})
}

// book is one inbox's journal while it is written or read.
type book struct {
	*Writer
	pass   Pass
	claim  claim // nil: the journal is only read
	keys   record.Keys
	faults []record.JournalFault
}

func (w *Writer) book(p Pass) *book {
	return &book{Writer: w, pass: p, keys: record.Keys{Prefix: w.Prefix, Org: p.Org, Inbox: p.Inbox}}
}

func (b *book) write(ctx context.Context) error {
	for taken, written := 0, false; ; {
		waits, err := b.waits(ctx, written)
		if err != nil || !waits {
			return err
		}
		head, at, err := b.follow(ctx)
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		err = b.add(ctx, head, at)
		if errors.Is(err, storage.ErrExists) && taken < failure.Tries {
			taken++ // by us, if the reply was lost, or by another: follow finds out
			continue
		}
		if err != nil {
			return fmt.Errorf("write the journal: %w", err)
		}
		written = true
	}
}

// waits reports whether there is anything to write.
func (b *book) waits(ctx context.Context, written bool) (bool, error) {
	events, err := b.Ledger.Events(ctx, b.pass.Org, b.pass.Inbox, 1)
	if err != nil {
		return false, failure.OfLedger(err)
	}
	if len(events) > 0 || written || !b.pass.Daily {
		return len(events) > 0, nil
	}
	in, err := b.Ledger.Inbox(ctx, b.pass.Org, b.pass.Inbox)
	if err != nil {
		return false, failure.OfLedger(err)
	}
	last, _ := record.JournalStart(in.Journal.Key)
	return last.Format(time.DateOnly) != b.pass.Start.Format(time.DateOnly), nil
}

// follow moves the head to the newest object in the bucket. It returns the head, and the
// earliest time under which the next object can be stored.
func (b *book) follow(ctx context.Context) (head state.JournalHead, at time.Time, err error) {
	in, err := b.Ledger.Inbox(ctx, b.pass.Org, b.pass.Inbox)
	if err != nil {
		return head, at, failure.OfLedger(err)
	}
	head, at = in.Journal, b.pass.Start
	pass := func(key string) {
		if t, ok := record.JournalStart(key); ok && !t.Before(at) {
			at = t.Add(time.Nanosecond)
		}
	}
	chain := record.Chain{Bucket: b.Bucket, Keys: b.keys}
	faults, err := chain.After(ctx, head, chain.Read, func(next state.JournalHead, j *record.Journal) error {
		if err := b.knowsActs(ctx, j); err != nil {
			return err
		}
		has, err := b.Ledger.Events(ctx, b.pass.Org, b.pass.Inbox, max(1, len(j.Events)))
		if err != nil {
			return failure.OfLedger(err)
		}
		if j.Ledger != b.Ledger.ID() || !j.Tells(has) {
			has = nil
		}
		if next, err = b.lock(ctx, next); err != nil {
			return err
		}
		if err := b.move(ctx, head, next, has); err != nil {
			return err
		}
		head = next
		return nil
	})
	pass(head.Key)
	for _, f := range faults {
		if pass(f.Key); !f.Accepted(in) {
			b.faults = append(b.faults, f)
			b.Log.Error("the inbox's journal is not as it was written", "org", b.pass.Org, "inbox", b.pass.Inbox, "fault", f.Kind, "object", f.Key, "detail", f.Detail)
		}
	}
	return head, at, err
}

// lock gives an object that was found without any lock the lock that is configured now.
func (b *book) lock(ctx context.Context, at state.JournalHead) (state.JournalHead, error) {
	obj, err := b.Bucket.Head(ctx, at.Key, at.VersionID) // the reply to the GET need not show the lock
	if err == nil && obj.Retention.Mode == "" {
		start, _ := record.JournalStart(at.Key)
		obj, err = b.Prover.Lock(ctx, obj, b.Retention.Lock(start.Format(time.RFC3339Nano), b.Prover.Now()))
	}
	return record.HeadOf(obj, at.SHA256), err
}

// move moves the head in the ledger, although ctx has ended, because it writes what has
// happened.
func (b *book) move(ctx context.Context, from, to state.JournalHead, has []state.Event) error {
	return failure.OfLedger(b.claim.MoveJournal(context.WithoutCancel(ctx), from, to, has))
}

// add writes the oldest events into one object after head.
func (b *book) add(ctx context.Context, head state.JournalHead, at time.Time) error {
	events, err := b.Ledger.Events(ctx, b.pass.Org, b.pass.Inbox, record.MaxEvents)
	if err != nil {
		return failure.OfLedger(err)
	}
	o := storage.New{
		Key:         b.keys.JournalAt(at),
		ContentType: "application/json",
		Retention:   b.Retention.Lock("", b.Prover.Now()),
	}
	text, n, err := b.encode(ctx, head, events, &o.Retention)
	if err != nil {
		return err
	}
	obj, sum, err := b.Prover.Put(ctx, o, text)
	if err != nil {
		return proof.LockRefused(err, o.Retention)
	}
	return b.move(ctx, head, record.HeadOf(obj, sum), events[:n])
}
