package record

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// maxOwner bounds the bytes read of an owner object.
const maxOwner = 1 << 16

// Owner is an owner object: it names the ledger that may delete from an inbox.
type Owner struct {
	Ledger  string    `json:"ledger"`
	Claimed time.Time `json:"claimed"`
}

// ReadOwner reads an owner object. It returns the zero Owner if the object is not an owner object.
func ReadOwner(ctx context.Context, b getter, key string) (o Owner, err error) {
	text, _, err := ReadSmall(ctx, b, key, maxOwner)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(text, &o); err != nil || o.Ledger == "" {
		return Owner{}, nil
	}
	return o, nil
}

// Encode returns the bytes of the owner object: one line of JSON.
func (o Owner) Encode() ([]byte, error) { return encode("owner", o) }

// Owners returns the ids of the ledgers that own the inboxes of an organization, by the
// inboxes' escaped ids. An object that is not an owner object gives "".
func Owners(ctx context.Context, b Bucket, prefix, org string) (map[string]string, error) {
	dir, owners := prefix+"/owners/org="+org+"/inbox=", map[string]string{}
	for o, err := range b.ListAfter(ctx, dir, "") {
		if err != nil {
			return nil, err
		}
		owner, err := ReadOwner(ctx, b, o.Key)
		if err != nil {
			return nil, err
		}
		owners[strings.TrimSuffix(strings.TrimPrefix(o.Key, dir), ".json")] = owner.Ledger
	}
	return owners, nil
}
