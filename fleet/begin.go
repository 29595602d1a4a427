package fleet

import (
	"cmp"
	"context"
	"fmt"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/record"
)

// MayBegin returns an error if the archive holds recordings of an organization and the
// ledger knows none of them: the ledger was lost, or the archive is another's. It is
// called with a nil l before a new ledger is made, so that rebuild finds its place free.
func MayBegin(ctx context.Context, c *config.Config, b record.Bucket, l inboxLister) error {
	for _, o := range c.Organizations {
		known, err := knows(ctx, l, o.Name)
		if err != nil {
			return err
		}
		if known {
			continue
		}
		holds, err := record.HoldsRecordings(ctx, b, c.Storage.Prefix, o.Name)
		if err != nil {
			return err
		}
		if !holds {
			continue
		}
		owner, err := LostLedger(ctx, c, b)
		if err != nil {
			return err
		}
		return &UsageError{fmt.Errorf("the archive holds recordings of organization %s, and the ledger %s knows none of them. They belong to ledger %s: if it was lost, restore a backup, or move what is in its place away and run: archiverd rebuild, which takes over. If another archiverd still works with it, give this one a storage.prefix of its own",
			o.Name, c.State.Place(), cmp.Or(owner, "(several)"))}
	}
	return nil
}

func knows(ctx context.Context, l inboxLister, org string) (bool, error) {
	if l == nil {
		return false, nil
	}
	inboxes, err := l.Inboxes(ctx, org)
	for _, in := range inboxes {
		if len(in.Counts) > 0 {
			return true, nil
		}
	}
	return false, err
}

// LostLedger returns the ledger id that all owner objects name, or "" if they name
// several or there are none.
func LostLedger(ctx context.Context, c *config.Config, b record.Bucket) (string, error) {
	ids := map[string]bool{}
	for _, o := range c.Organizations {
		owners, err := record.Owners(ctx, b, c.Storage.Prefix, o.Name)
		if err != nil {
			return "", err
		}
		for _, id := range owners {
			ids[id] = true
		}
	}
	if len(ids) == 1 {
		for id := range ids {
			return id, nil
		}
	}
	return "", nil
}
