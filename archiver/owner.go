package archiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// maxOwner bounds what is read back as an owner object.
const maxOwner = 1 << 16

// owner is the claim of one ledger on one inbox, in the archive.
type owner struct {
	Ledger  string    `json:"ledger"`
	Claimed time.Time `json:"claimed"`
}

// claim makes sure of the inbox's claim and tells whether it is this ledger's. An
// inbox that another ledger claimed is archived, but never deleted from.
func (p *pass) claim(ctx context.Context) (bool, error) {
	key := p.keys.owner()
	have, err := p.readOwner(ctx, key)
	if errors.Is(err, storage.ErrNotFound) {
		if have, err = p.writeOwner(ctx, key); errors.Is(err, storage.ErrExists) {
			have, err = p.readOwner(ctx, key)
		}
	}
	if err != nil {
		return false, fmt.Errorf("claim the inbox: %w", err)
	}
	mine := have.Ledger == p.Ledger.ID()
	if !mine {
		p.log.Warn("another ledger owns this inbox: archiving, but deleting nothing. To take over, make sure that no other archiverd works on it, delete the owner object and run again",
			"owner", have.Ledger, "object", key, "this_ledger", p.Ledger.ID())
	}
	if p.inbox.OwnerClaimed != mine {
		err = p.Ledger.EditInbox(p.in.Org, p.in.ID, func(i *state.Inbox) { i.OwnerClaimed = mine })
	}
	if err != nil {
		return false, &ledgerError{err}
	}
	return mine, nil
}

func (p *pass) readOwner(ctx context.Context, key string) (o owner, err error) {
	text, _, err := readSmall(ctx, p.Bucket, key, maxOwner)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &o); err != nil || o.Ledger == "" {
		p.reportForeign(key)
		return owner{}, nil // nobody's, so not ours
	}
	return o, nil
}

func (p *pass) writeOwner(ctx context.Context, key string) (owner, error) {
	o := owner{Ledger: p.Ledger.ID(), Claimed: time.Now().UTC()}
	text, err := json.Marshal(o)
	if err != nil {
		return o, fmt.Errorf("encode the claim: %w", err)
	}
	_, _, err = p.putProved(ctx, storage.New{Key: key, ContentType: "application/json"}, append(text, '\n'))
	return o, err
}
