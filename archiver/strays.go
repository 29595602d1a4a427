package archiver

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// strayAge is how old an upload has to be that the ledger does not know: whoever began
// it, on this machine or another, has long ended.
const strayAge = 24 * time.Hour

// abortStrays ends uploads that nobody knows, since the reply to their creation was lost:
// those of the run's inboxes that this ledger owns, and none that the ledger remembers. A
// store that does not list uploads keeps them: see the doctor. Its error is the ledger's.
func (a *Archiver) abortStrays(ctx context.Context, inboxes []Inbox) error {
	known, err := a.Ledger.Uploads(ctx, "", "")
	if err != nil {
		return failure.OfLedger(err)
	}
	skew, _ := a.Bucket.Skew()
	before := time.Now().Add(skew - strayAge)
	for u, err := range a.Bucket.Uploads(ctx, a.Prefix+"/media/") {
		if err != nil {
			a.Log.Debug("uploads that nobody knows were not looked for", "error", err)
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

// owns tells whether a media key is that of an inbox of the run which this ledger has
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
