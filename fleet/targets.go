package fleet

import (
	"context"
	"errors"
	"slices"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// Target is one inbox to reconcile.
type Target struct {
	archiver.Inbox
	Unreachable error // why Genesys can't be asked, or nil
}

// Targets returns the inboxes that can be listed, then those that are only in the
// ledger, then those that are only in the bucket.
func (f *Fleet) Targets(ctx context.Context, only Selection) ([]Target, error) {
	reachable, err := f.Inboxes(ctx, Selection{Org: only.Org})
	if err != nil {
		return nil, err
	}
	var all []Target
	for _, in := range reachable {
		all = append(all, Target{Inbox: in})
	}
	known, err := f.Ledger.Inboxes(ctx, only.Org)
	if err != nil {
		return nil, err
	}
	for _, i := range known {
		if !slices.ContainsFunc(reachable, func(in archiver.Inbox) bool { return in.Org == i.Org && in.ID == i.ID }) {
			all = append(all, Target{archiver.Inbox{Org: i.Org, ID: i.ID}, unreachable(i)})
		}
	}
	strangers, err := f.strangers(ctx, only.Org, all)
	if err != nil {
		return nil, err
	}
	all = append(all, strangers...)
	all = slices.DeleteFunc(all, func(t Target) bool { return !only.has(t.ID) })
	if len(all) == 0 && only != (Selection{}) {
		return nil, noSuchInbox(only)
	}
	return all, nil
}

func unreachable(i state.Inbox) error {
	if i.LoggedOut {
		return errors.New("its user was logged out")
	}
	return errors.New("the configuration does not reach this inbox any more")
}

// strangers returns the inboxes that only the bucket holds.
func (f *Fleet) strangers(ctx context.Context, org string, known []Target) ([]Target, error) {
	var all []Target
	for _, o := range f.Config.Organizations {
		if org != "" && org != o.Name {
			continue
		}
		ids := []string{}
		for _, t := range known {
			if t.Org == o.Name {
				ids = append(ids, t.ID)
			}
		}
		found, err := record.OtherInboxes(ctx, f.Archiver.Bucket, f.Archiver.Prefix, o.Name, ids)
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			all = append(all, Target{archiver.Inbox{Org: o.Name, ID: id}, errors.New("the ledger does not know this inbox")})
		}
	}
	return all, nil
}

// TrustAgain allows deletions from a rebuilt inbox again. It is for an inbox that was
// reconciled without a span of dates and found clean.
func TrustAgain(ctx context.Context, l ledger, org, id string) error {
	if i, err := l.Inbox(ctx, org, id); err != nil || !i.Rebuilt {
		return err
	}
	return l.EditInbox(ctx, org, id, func(i *state.Inbox) { i.Rebuilt = false })
}
