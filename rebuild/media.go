package rebuild

import (
	"context"
	"errors"
	"slices"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// media looks for media that no manifest names: a crash came between the two, or the manifest
// was lost before a journal recorded it.
//
// If fewer media keys exist than versions name, some media are missing: a HEAD for each
// version finds out which.
func (r *rebuild) media(ctx context.Context) error {
	there, last := int64(0), ""
	for o, err := range r.Bucket.ListAfter(ctx, r.Prefix+"/media/org="+r.org.Name+"/", "") {
		if err != nil {
			return err
		}
		if o.Key == last {
			continue
		}
		last = o.Key
		known, err := r.takeMedia(ctx, o.Key)
		if err != nil {
			return err
		}
		if known {
			there++
		}
	}
	if there == r.versions {
		return nil
	}
	return r.Ledger.Scan(ctx, r.org.Name, "", func(k state.Key, e *state.Entry) error {
		if e.Disposal() != nil {
			return nil
		}
		for _, v := range e.Versions {
			_, err := r.head(ctx, v.MediaKey, v.MediaVersionID)
			switch {
			case unreadable(err) && errors.Is(err, storage.ErrNotFound):
				err = r.find(record.FaultMissing, k, v.MediaKey, "the manifest %s names it", v.ManifestKey)
			case unreadable(err):
				err = r.find(record.FaultUnreadable, k, v.MediaKey, "%v", err)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// takeMedia reports whether a version names the media. If none does, and the media are not
// known to be corrupt, it enters the recording as one that waits, or writes its manifest.
func (r *rebuild) takeMedia(ctx context.Context, key string) (known bool, err error) {
	if r.bad[key] {
		return false, nil
	}
	k, ok := record.ParseKey(r.Prefix, key)
	if !ok {
		return false, r.find(record.FaultForeign, state.Key{}, key, "not the key of media")
	}
	inbox, recording := r.ids[k.Inbox], ""
	if inbox == "" && !hashedID.MatchString(k.Inbox) {
		inbox, _ = record.UnescapeID(k.Inbox)
	}
	if id, _ := record.UnescapeID(k.Recording); !hashedID.MatchString(k.Recording) {
		recording = id
	}
	stands, known, err := r.named(ctx, inbox, recording, key)
	if known || err != nil {
		return known, err
	}
	obj, err := r.head(ctx, key, "")
	if unreadable(err) {
		return false, r.find(record.FaultUnreadable, state.Key{Inbox: inbox, Recording: recording}, key, "%v", err)
	}
	if err != nil {
		return false, err
	}
	switch m := obj.Metadata; {
	case m[record.MetaOrg] != r.org.Name || m[record.MetaInbox] != k.Inbox || m[record.MetaRecording] != k.Recording:
		return false, r.find(record.FaultForeign, state.Key{Inbox: inbox, Recording: recording}, key, "archiverd did not write it")
	case inbox == "" || recording == "":
		return false, r.find(record.FaultManifest, state.Key{Inbox: inbox, Recording: recording}, key, "media without a manifest, and an id too long to be in the key: nothing shows whose they are")
	case stands.Disposed():
		return false, r.find(record.FaultReturned, state.Key{Inbox: inbox, Recording: recording}, key, "the recording is %s: give the same order again, which removes it", stands)
	}
	r.totals.Unfinished++
	r.Log.Warn("media without a manifest: the next passes over the inbox describe them", "key", key)
	return false, r.edit(ctx, state.Key{Org: r.org.Name, Inbox: inbox, Recording: recording}, func(e *state.Entry) {
		if e.State == "" {
			e.State, e.MediaKey = state.StateListed, r.firstKey(key)
			e.DateModified, e.Fingerprint = obj.Metadata[record.MetaDateModified], obj.Metadata[record.MetaFingerprint]
			e.ListedAt = obj.Modified.UTC()
		}
	})
}

// named returns the state of a recording, and whether a version of it names the media.
func (r *rebuild) named(ctx context.Context, inbox, recording, key string) (stands state.State, known bool, err error) {
	if inbox == "" || recording == "" {
		return "", r.long[key], nil
	}
	e, err := r.Ledger.Entry(ctx, state.Key{Org: r.org.Name, Inbox: inbox, Recording: recording})
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return "", false, failure.OfLedger(err)
	}
	return e.State, slices.ContainsFunc(e.Versions, func(v state.Version) bool { return v.MediaKey == key }), nil
}
