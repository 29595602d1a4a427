package archiver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// own makes sure that the inbox has an owner, and reports whether that is this ledger. An
// inbox that another ledger owns is archived, but nothing is deleted from it.
func (p *pass) own(ctx context.Context) (bool, error) {
	key := p.keys.Owner()
	have, err := p.readOwner(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		if have, err = p.writeOwner(ctx, key); errors.Is(err, storage.ErrExists) {
			have, err = p.readOwner(ctx, key)
		}
	}
	if err != nil {
		return false, fmt.Errorf("enter the inbox's owner: %w", err)
	}
	mine := have.Ledger == p.Ledger.ID()
	if !mine {
		p.log.Warn("another ledger owns this inbox: archiving, but deleting nothing. To take over, make sure that no other archiverd works on it, delete the owner object and run again",
			"owner", have.Ledger, "object", key, "this_ledger", p.Ledger.ID())
	}
	if p.atStart.OwnerClaimed != mine {
		err = p.claim.EditInbox(context.WithoutCancel(ctx), func(i *state.Inbox) { i.OwnerClaimed = mine })
	}
	return mine, p.written(err)
}

// readOwner reads the owner object. An object at its key that is no owner object counts as
// another ledger's.
func (p *pass) readOwner(ctx context.Context, key string) (record.Owner, error) {
	o, err := record.ReadOwner(ctx, p.Bucket, key)
	if err == nil && o.Ledger == "" {
		p.reportForeign(key)
	}
	return o, err
}

func (p *pass) writeOwner(ctx context.Context, key string) (record.Owner, error) {
	o := record.Owner{Ledger: p.Ledger.ID(), Claimed: time.Now().UTC()}
	text, err := o.Encode()
	if err != nil {
		return o, err
	}
	_, _, err = p.Prover.Put(ctx, storage.New{Key: key, ContentType: "application/json"}, text)
	return o, err
}
