package bolt

import (
	"context"
	"fmt"
	"strings"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// AddUpload implements state.Uploads.
func (l *Ledger) AddUpload(ctx context.Context, u state.UploadRef) error {
	k, err := uploadKey(u.Key, u.ID)
	if err == nil {
		err = l.update(ctx, func(tx *bbolt.Tx) error {
			return putJSON(tx.Bucket([]byte("uploads")), k, &u)
		})
	}
	if err != nil {
		return fmt.Errorf("add upload of %q: %w", u.Key, err)
	}
	return nil
}

// RemoveUpload implements state.Uploads.
func (l *Ledger) RemoveUpload(ctx context.Context, key, id string) error {
	k, err := uploadKey(key, id)
	if err == nil {
		err = l.update(ctx, func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("uploads")).Delete([]byte(k))
		})
	}
	if err != nil {
		return fmt.Errorf("remove upload of %q: %w", key, err)
	}
	return nil
}

// Uploads implements state.Uploads.
func (l *Ledger) Uploads(ctx context.Context, org, inbox string) ([]state.UploadRef, error) {
	var out []state.UploadRef
	err := l.view(ctx, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("uploads")).ForEach(func(k, v []byte) error {
			u, err := decodeUpload(k, v)
			if inbox == "" || u.Org == org && u.Inbox == inbox {
				out = append(out, u)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read uploads: %w", err)
	}
	return out, nil
}

// uploadKey joins key and id with a NUL, which no key or id of a store holds.
func uploadKey(key, id string) (string, error) {
	k := key + "\x00" + id
	if key == "" || id == "" || len(k) > state.MaxID || strings.Count(k, "\x00") > 1 {
		return "", fmt.Errorf("an upload with key %q and id %q", key, id)
	}
	return k, nil
}

func decodeUpload(k, v []byte) (u state.UploadRef, err error) {
	if err := codec.Unmarshal(v, &u); err != nil {
		return u, damaged(fmt.Errorf("upload %q: %w", k, err))
	}
	u.Key, u.ID, _ = strings.Cut(string(k), "\x00")
	return u, nil
}
