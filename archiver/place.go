package archiver

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// place is the key that a recording's media get, or already have.
type place struct {
	key   string
	fresh bool            // the survey showed nothing at the key, and no HEAD was sent
	found *storage.Object // nil, or our own object of this version, to be adopted
}

// place finds the first key that is free or already holds this version. The metadata alone
// show that an object is our own: the store made it visible only when it was complete.
// Every other object is left as it is.
func (t *transfer) place(ctx context.Context) (place, error) {
	e, want := t.entry, t.keys.Metadata(t.key.Recording, t.entry, t.in.Format)
	for n := 1; n <= record.MaxPlaces; n++ {
		key := record.Nth(e.MediaKey, n, t.in.Format)
		if slices.Contains(e.BadKeys, key) {
			continue
		}
		obj, err := t.Bucket.Head(ctx, key, "")
		if errors.Is(err, storage.ErrNotFound) {
			return place{key: key}, nil
		}
		if err != nil {
			return place{}, err
		}
		if !record.SameRecording(obj.Metadata, want) {
			t.reportForeign(key)
		} else if sameVersion(obj.Metadata, want) && !superseded(e, obj) {
			return place{key: key, found: &obj}, nil
		}
	}
	return place{}, fmt.Errorf("no free key beside %s: %d are taken", e.MediaKey, record.MaxPlaces)
}

// sameVersion reports whether the metadata of two objects of one recording name the same
// version. An object without a fingerprint was written by an earlier archiverd. A
// recording without a fingerprint is known from the archive alone.
func sameVersion(have, want map[string]string) bool {
	return have[record.MetaDateModified] == want[record.MetaDateModified] && have[record.MetaFormat] == want[record.MetaFormat] &&
		(have[record.MetaFingerprint] == want[record.MetaFingerprint] || have[record.MetaFingerprint] == "" || want[record.MetaFingerprint] == "")
}

// superseded reports whether the ledger has the object as another version than the one to
// be archived now. That is so if the recording is asked for once more, or if an earlier
// archiverd archived the object and the recording changed since without a new
// dateModified.
func superseded(e state.Entry, obj storage.Object) bool {
	if e.Twin != "" && obj.Metadata[record.MetaSHA256] == e.Twin {
		return true
	}
	return slices.ContainsFunc(e.Versions, func(v state.Version) bool {
		return v.MediaKey == obj.Key && (e.Twin != "" || obj.Metadata[record.MetaFingerprint] == "" && v.ManifestSize > 0)
	})
}

// reportForeign notes a key that is taken by an object that archiverd did not write.
func (p *pass) reportForeign(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.foreign, key) {
		p.foreign = append(p.foreign, key)
		p.log.Error("the key holds an object that archiverd did not write; the recording gets the next free key", "key", key)
	}
}

// reportCorrupt notes an object whose bytes are not the ones downloaded, as why says. The
// object is never taken for the recording again. reportCorrupt returns why, joined with the
// error of the ledger if that could not be written.
func (t *transfer) reportCorrupt(ctx context.Context, key string, why error) error {
	t.noteCorrupt(key)
	err := t.edit(ctx, t.entry.State, func(e *state.Entry) { e.BadKeys, e.Why = append(e.BadKeys, key), why.Error() })
	return errors.Join(why, err)
}

// noteCorrupt notes a key at which the archive does not hold what the ledger says.
func (p *pass) noteCorrupt(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.corrupt = append(p.corrupt, key)
}
