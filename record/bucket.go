package record

import (
	"context"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/archiverd/archiverd/storage"
)

// Bucket holds the operations that reading an archive needs; *storage.Bucket implements it.
type Bucket interface {
	Head(ctx context.Context, key, versionID string) (storage.Object, error)
	getter
	lister
}

type getter interface {
	Get(ctx context.Context, key, versionID string) (io.ReadCloser, storage.Object, error)
}

type lister interface {
	ListAfter(ctx context.Context, prefix, after string) iter.Seq2[storage.Object, error]
}

// ReadSmall reads at most most bytes of an object.
func ReadSmall(ctx context.Context, b getter, key string, most int64) ([]byte, storage.Object, error) {
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
func HoldsRecordings(ctx context.Context, b lister, prefix, org string) (bool, error) {
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

// OtherInboxes returns the ids of the inboxes of which the archive holds media or
// manifests, except those that are known.
func OtherInboxes(ctx context.Context, b lister, prefix, org string, known []string) ([]string, error) {
	found := map[string]bool{}
	for _, kind := range []string{"media", "manifests"} {
		dir := prefix + "/" + kind + "/org=" + org + "/inbox="
		for after := ""; ; {
			escaped, err := firstInbox(ctx, b, dir, after)
			if err != nil {
				return nil, err
			}
			if escaped == "" {
				break
			}
			after = dir + escaped + "0" // '0' follows '/', so this is after all keys of the inbox
			if id, ok := UnescapeID(escaped); ok {
				found[id] = true
			}
		}
	}
	for _, id := range known {
		// The keys show only the hash of an id that was hashed.
		back, _ := UnescapeID(EscapeID(id))
		delete(found, back)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// firstInbox returns the escaped id in the first key after one, or "" if there is none.
func firstInbox(ctx context.Context, b lister, prefix, after string) (string, error) {
	for obj, err := range b.ListAfter(ctx, prefix, after) {
		if err != nil {
			return "", err
		}
		if id, _, ok := strings.Cut(strings.TrimPrefix(obj.Key, prefix), "/"); ok && id != "" {
			return id, nil
		}
	}
	return "", nil
}
