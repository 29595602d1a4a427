package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// unknownAge is how old an upload must be that the ledger does not know. Whoever began it,
// on this machine or another, has ended since.
const unknownAge = 24 * time.Hour

// Sweep ends the uploads under way that the passes over these inboxes do not end: those
// that earlier passes left in other inboxes, and those that the ledger does not know.
func (a *Archiver) Sweep(ctx context.Context, inboxes []Inbox) error {
	left, err := a.Ledger.Uploads(ctx, "", "")
	if err != nil {
		return failure.OfLedger(err)
	}
	left = slices.DeleteFunc(left, func(u state.UploadRef) bool {
		return slices.ContainsFunc(inboxes, func(in Inbox) bool { return in.Org == u.Org && in.ID == u.Inbox })
	})
	if err := a.abortUploads(ctx, left, a.Ledger); err != nil {
		return err
	}
	return a.abortUnknown(ctx, inboxes)
}

// abortLeft ends the uploads that earlier passes left under way in this inbox.
func (p *pass) abortLeft(ctx context.Context) error {
	left, err := p.Ledger.Uploads(ctx, p.in.Org, p.in.ID)
	if err != nil {
		return failure.OfLedger(err)
	}
	return p.abortUploads(ctx, left, p.claim)
}

// abortUploads ends multipart uploads that earlier passes left under way. Their parts cost
// money and are never visible. The ledger forgets an upload only after two aborts: a part
// that was still being sent may arrive after the first. kept is the ledger, or a claim on
// the inbox.
func (a *Archiver) abortUploads(ctx context.Context, left []state.UploadRef, kept uploadLog) error {
	for _, u := range left {
		if err := a.Bucket.AbortUpload(ctx, u.Key, u.ID); err != nil {
			return fmt.Errorf("abort the unfinished upload of %s: %w", u.Key, err)
		}
		var err error
		if u.Aborted.IsZero() {
			u.Aborted = time.Now().UTC()
			err = kept.AddUpload(ctx, u)
		} else {
			err = kept.RemoveUpload(ctx, u.Key, u.ID)
		}
		if err != nil {
			return failure.OfLedger(err)
		}
		a.Log.Info("aborted an upload that an earlier pass left unfinished", "key", u.Key)
	}
	return nil
}

// abortUnknown ends uploads that the ledger does not know, because the reply to their
// creation was lost. It ends only those of the run's inboxes that this ledger owns. A
// store that does not list uploads keeps them: see the doctor. The error is the ledger's.
func (a *Archiver) abortUnknown(ctx context.Context, inboxes []Inbox) error {
	known, err := a.Ledger.Uploads(ctx, "", "")
	if err != nil {
		return failure.OfLedger(err)
	}
	skew, _ := a.Bucket.Skew()
	before := time.Now().Add(skew - unknownAge)
	for u, err := range a.Bucket.Uploads(ctx, a.Prefix+"/media/") {
		if err != nil {
			a.Log.Debug("the store does not list uploads, so uploads that nobody knows are not ended", "error", err)
			return nil
		}
		if u.At.After(before) || slices.ContainsFunc(known, func(k state.UploadRef) bool { return k.Key == u.Key && k.ID == u.ID }) {
			continue
		}
		if mine, err := a.owns(ctx, u.Key, inboxes); err != nil {
			return err
		} else if !mine {
			continue
		}
		if err := a.Bucket.AbortUpload(ctx, u.Key, u.ID); err != nil {
			a.Log.Warn("an upload that nobody knows could not be ended", "key", u.Key, "begun", u.At, "error", err)
			continue
		}
		a.Log.Info("ended an upload that nobody knew", "key", u.Key, "begun", u.At)
	}
	return nil
}

// owns reports whether a media key belongs to an inbox of the run that this ledger has
// claimed.
func (a *Archiver) owns(ctx context.Context, key string, inboxes []Inbox) (bool, error) {
	k, ok := record.ParseKey(a.Prefix, key)
	if !ok {
		return false, nil
	}
	i := slices.IndexFunc(inboxes, func(in Inbox) bool { return in.Org == k.Org && record.EscapeID(in.ID) == k.Inbox })
	if i < 0 {
		return false, nil
	}
	inbox, err := a.Ledger.Inbox(ctx, inboxes[i].Org, inboxes[i].ID)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return false, failure.OfLedger(err)
	}
	return inbox.OwnerClaimed, nil
}
