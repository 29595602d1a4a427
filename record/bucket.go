package record

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/archiverd/archiverd/storage"
)

// Bucket holds the operations that reading an archive needs; *storage.Bucket implements it.
type Bucket interface {
	Head(ctx context.Context, key, versionID string) (storage.Object, error)
	Get(ctx context.Context, key, versionID string) (io.ReadCloser, storage.Object, error)
	ListAfter(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error]
}

// ReadSmall reads at most most bytes of an object.
func ReadSmall(ctx context.Context, b Bucket, key string, most int64) ([]byte, storage.Object, error) {
	r, obj, err := b.Get(ctx, key, "")
	if err != nil {
		return nil, obj, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, most))
	if err != nil {
		return nil, obj, fmt.Errorf("read %s: %w", key, err)
	}
	return text, obj, nil
}

// HoldsRecordings reports whether the archive holds media or manifests of an organization.
// Objects whose keys archiverd would not make are ignored.
func HoldsRecordings(ctx context.Context, b Bucket, prefix, org string) (bool, error) {
	for _, kind := range []string{"media", "manifests"} {
		for o, err := range b.ListAfter(ctx, prefix+"/"+kind+"/org="+org+"/", "") {
			if err != nil {
				return false, err
			}
			if _, ok := ParseKey(prefix, o.Key); ok {
				return true, nil
			}
		}
	}
	return false, nil
}
