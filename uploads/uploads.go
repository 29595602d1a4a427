// Package uploads sees to it that every multipart upload ends. The parts of an upload that
// nobody completes cost money and are never visible.
//
// The ledger has each upload before its first part is sent, and forgets the upload once it
// is completed. What a crash leaves, the next pass over the inbox aborts: see AbortLeft. What
// no pass aborts, the next run does: see Sweep.
package uploads

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Uploader begins and ends uploads. Its methods may be called concurrently. All fields are
// required, and must not change after the first call.
type Uploader struct {
	Bucket bucket
	Ledger ledger
	Prefix string // of every key
	Log    *slog.Logger
}

type bucket interface {
	Create(ctx context.Context, n storage.New) (*storage.Upload, error)
	AbortUpload(ctx context.Context, key, id string) error
	Uploads(ctx context.Context, prefix string) iter.Seq2[storage.Begun, error]
	Skew() (time.Duration, bool)
}

type ledger interface {
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Uploads(ctx context.Context, org, inbox string) ([]state.UploadRef, error)
	list
}

// list is where the uploads under way are written down: in the ledger, or in it under a
// claim on their inbox.
type list interface {
	AddUpload(ctx context.Context, u state.UploadRef) error
	RemoveUpload(ctx context.Context, key, id string) error
}

// Inbox names the inbox of an organization.
type Inbox struct{ Org, ID string }

// Upload is an upload under way. Whoever begins an upload calls End.
type Upload struct {
	*storage.Upload
	list list
	log  *slog.Logger
}

// Begin begins an upload under a claim on its inbox.
func (u *Uploader) Begin(ctx context.Context, claim list, n storage.New) (*Upload, error) {
	begun, err := u.Bucket.Create(ctx, n)
	if err != nil {
		return nil, err
	}
	up := &Upload{begun, claim, u.Log}
	if err := claim.AddUpload(ctx, state.UploadRef{Key: up.Key, ID: up.ID, Started: time.Now().UTC()}); err != nil {
		return nil, up.End(ctx, failure.OfLedger(err))
	}
	return up, nil
}

// abortTimeout bounds the clean-up of an abandoned upload.
const abortTimeout = 10 * time.Second

// End ends an upload, although ctx has ended. Without an error the upload is complete, and
// the ledger forgets it. Otherwise End aborts the upload and returns the error; the ledger
// remembers the upload, and the next runs make sure that it has ended.
func (u *Upload) End(ctx context.Context, err error) error {
	ctx = context.WithoutCancel(ctx)
	if err == nil {
		return failure.OfLedger(u.list.RemoveUpload(ctx, u.Key, u.ID))
	}
	ctx, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	if aborted := u.Abort(ctx); aborted != nil {
		u.log.Warn("an unfinished upload could not be aborted; the next run aborts it", "key", u.Key, "error", aborted)
	}
	return err
}

// AbortLeft aborts the uploads that earlier passes over an inbox left under way. claim is
// on this inbox.
func (u *Uploader) AbortLeft(ctx context.Context, claim list, in Inbox) error {
	left, err := u.Ledger.Uploads(ctx, in.Org, in.ID)
	if err != nil {
		return failure.OfLedger(err)
	}
	return u.abort(ctx, left, claim)
}

// Sweep aborts the uploads under way that the passes over these inboxes do not abort: those
// that earlier passes left in other inboxes, and those that the ledger does not know.
func (u *Uploader) Sweep(ctx context.Context, inboxes []Inbox) error {
	left, err := u.Ledger.Uploads(ctx, "", "")
	if err != nil {
		return failure.OfLedger(err)
	}
	left = slices.DeleteFunc(left, func(r state.UploadRef) bool { return slices.Contains(inboxes, Inbox{r.Org, r.Inbox}) })
	if err := u.abort(ctx, left, u.Ledger); err != nil {
		return err
	}
	return u.abortUnknown(ctx, inboxes)
}

// abort aborts uploads that earlier passes left under way. The ledger forgets an upload only
// after two aborts: a part that was still being sent may arrive after the first.
func (u *Uploader) abort(ctx context.Context, left []state.UploadRef, kept list) error {
	for _, r := range left {
		if err := u.Bucket.AbortUpload(ctx, r.Key, r.ID); err != nil {
			return fmt.Errorf("abort the unfinished upload of %s: %w", r.Key, err)
		}
		var err error
		if r.Aborted.IsZero() {
			r.Aborted = time.Now().UTC()
			err = kept.AddUpload(ctx, r)
		} else {
			err = kept.RemoveUpload(ctx, r.Key, r.ID)
		}
		if err != nil {
			return failure.OfLedger(err)
		}
		u.Log.Info("aborted an upload that an earlier pass left unfinished", "key", r.Key)
	}
	return nil
}

// unknownAge is how old an upload must be that the ledger does not know. Whoever began it,
// on this machine or another, has ended since.
const unknownAge = 24 * time.Hour

// abortUnknown aborts uploads that the ledger does not know, because the reply to their
// creation was lost. It aborts only uploads of those of the run's inboxes that this ledger
// owns. A store that does not list uploads keeps them: see the doctor. The error is the
// ledger's.
func (u *Uploader) abortUnknown(ctx context.Context, inboxes []Inbox) error {
	known, err := u.Ledger.Uploads(ctx, "", "")
	if err != nil {
		return failure.OfLedger(err)
	}
	skew, _ := u.Bucket.Skew()
	before := time.Now().Add(skew - unknownAge)
	for b, err := range u.Bucket.Uploads(ctx, u.Prefix+"/media/") {
		if err != nil {
			u.Log.Debug("the store does not list uploads: those that the ledger does not know are not aborted", "error", err)
			return nil
		}
		if b.At.After(before) || slices.ContainsFunc(known, func(k state.UploadRef) bool { return k.Key == b.Key && k.ID == b.ID }) {
			continue
		}
		if mine, err := u.owns(ctx, b.Key, inboxes); err != nil {
			return err
		} else if !mine {
			continue
		}
		if err := u.Bucket.AbortUpload(ctx, b.Key, b.ID); err != nil {
			u.Log.Warn("an upload that the ledger does not know could not be aborted", "key", b.Key, "begun", b.At, "error", err)
			continue
		}
		u.Log.Info("aborted an upload that the ledger does not know", "key", b.Key, "begun", b.At)
	}
	return nil
}

// owns reports whether a media key belongs to an inbox of the run of which this ledger is the
// owner.
func (u *Uploader) owns(ctx context.Context, key string, inboxes []Inbox) (bool, error) {
	k, ok := record.ParseKey(u.Prefix, key)
	if !ok {
		return false, nil
	}
	i := slices.IndexFunc(inboxes, func(in Inbox) bool { return in.Org == k.Org && record.EscapeID(in.ID) == k.Inbox })
	if i < 0 {
		return false, nil
	}
	inbox, err := u.Ledger.Inbox(ctx, inboxes[i].Org, inboxes[i].ID)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return false, failure.OfLedger(err)
	}
	return inbox.OwnerClaimed, nil
}
