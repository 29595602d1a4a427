package rebuild

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// rebuildReads is how many objects a rebuild reads at a time. Each may be maxManifest
// long, though hardly any is.
const rebuildReads = 16

// unreadable reports whether only this object can't be read: the store works.
func unreadable(err error) bool {
	_, ok := errors.AsType[*proof.UnreadableError](err)
	return ok
}

func (r *rebuild) head(ctx context.Context, key, versionID string) (obj storage.Object, err error) {
	err = r.reading.Try(ctx, func() (err error) {
		obj, err = r.Bucket.Head(ctx, key, versionID)
		return err
	})
	return obj, err
}

// tryJournal reads an object of a journal. If only this object can't be read, that is a
// finding, and the error is record.ErrUnread.
func (r *rebuild) tryJournal(ctx context.Context, journal record.Chain, key string) (at state.JournalHead, text []byte, err error) {
	err = r.reading.Try(ctx, func() (err error) {
		at, text, err = journal.Read(ctx, key)
		return err
	})
	if unreadable(err) {
		err = cmp.Or(r.find(record.FaultUnreadable, state.Key{Inbox: journal.Keys.Inbox}, key, "%v", err), record.ErrUnread)
	}
	return at, text, err
}

// inboxIDs returns the inboxes that have an owner or a journal. The others have manifests that
// name them.
func (r *rebuild) inboxIDs(ctx context.Context) ([]string, error) {
	dir := r.Prefix + "/journal/org=" + r.org.Name + "/inbox="
	first := map[string]string{} // by escaped id: a journal object
	for o, err := range r.Bucket.ListAfter(ctx, dir, "") {
		if err != nil {
			return nil, err
		}
		if esc, _, ok := strings.Cut(strings.TrimPrefix(o.Key, dir), "/"); ok && first[esc] == "" {
			first[esc] = o.Key
		}
	}
	for esc := range r.owners {
		first[esc] += ""
	}
	for esc, journal := range first {
		if r.ids[esc] != "" {
			continue
		}
		id, ok := record.UnescapeID(esc)
		if hashedID.MatchString(esc) && journal != "" {
			_, text, err := r.tryJournal(ctx, record.Chain{Bucket: r.Bucket, Keys: record.Keys{Prefix: r.Prefix, Org: r.org.Name, Inbox: ""}}, journal)
			if errors.Is(err, record.ErrUnread) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if j, err := record.DecodeJournal(text); err == nil {
				id, ok = j.Inbox, record.EscapeID(j.Inbox) == esc
			}
		}
		if !ok {
			if err := r.find(record.FaultForeign, state.Key{}, dir+esc, "not the name of an inbox"); err != nil {
				return nil, err
			}
			continue
		}
		r.ids[esc] = id
	}
	return slices.Sorted(maps.Values(r.ids)), nil
}

// hashedID reports whether a text may be the hash that record.EscapeID makes of a long id.
var hashedID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// readManifest is one manifest as the archive holds it.
type readManifest struct {
	*record.Manifest
	key     record.Key
	version state.Version
}

// manifests enters the archived versions.
func (r *rebuild) manifests(ctx context.Context) error {
	var keys []string
	flush := func() error {
		err := r.takeManifests(ctx, keys)
		keys = keys[:0]
		return err
	}
	for o, err := range r.Bucket.ListAfter(ctx, r.Prefix+"/manifests/org="+r.org.Name+"/", "") {
		if err != nil {
			return err
		}
		if keys = append(keys, o.Key); len(keys) == state.ReadSize {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// takeManifests reads some manifests at the same time, and enters them in one transaction for
// each inbox.
func (r *rebuild) takeManifests(ctx context.Context, keys []string) error {
	read, flaws := make([]*readManifest, len(keys)), make([]proof.Flaw, len(keys))
	g, reading := errgroup.WithContext(ctx)
	g.SetLimit(rebuildReads)
	for i, key := range keys {
		g.Go(func() (err error) {
			read[i], flaws[i], err = r.readManifest(reading, key)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	gathered := map[string][]statement{}
	for i, m := range read {
		r.totals.Manifests++
		if m == nil {
			if err := r.find(flaws[i].Fault, state.Key{}, keys[i], "%s", flaws[i].Detail); err != nil {
				return err
			}
			continue
		}
		r.users[m.User.ID], r.ids[m.key.Inbox] = m.User, m.User.ID
		if hashedID.MatchString(m.key.Inbox) || hashedID.MatchString(m.key.Recording) {
			r.long[m.Media.Key] = true
		}
		edit := func(e *state.Entry) { r.enter(m, e) }
		gathered[m.User.ID] = append(gathered[m.User.ID], statement{state.Restored{Recording: m.RecordingID, Edit: edit}, keys[i]})
		r.Tally.Checked.Add(1)
	}
	for _, inbox := range slices.Sorted(maps.Keys(gathered)) {
		if err := r.restore(ctx, inbox, record.FaultManifest, gathered[inbox]); err != nil {
			return err
		}
	}
	return nil
}

// readManifest reads one manifest. If that is nil without an error, the flaw says what is
// wrong with it.
func (r *rebuild) readManifest(ctx context.Context, key string) (*readManifest, proof.Flaw, error) {
	k, ok := record.ParseKey(r.Prefix, key)
	if !ok {
		return nil, proof.Flawf(record.FaultManifest, "not the key of a manifest"), nil
	}
	var text []byte
	var obj storage.Object
	err := r.reading.Try(ctx, func() (err error) {
		text, obj, err = record.ReadSmall(ctx, r.Bucket, key, record.MaxManifest)
		return err
	})
	if unreadable(err) {
		return nil, proof.Flawf(record.FaultUnreadable, "%v", err), nil
	}
	if err != nil {
		return nil, proof.Flaw{}, err
	}
	said, err := record.DecodeManifest(text)
	if err != nil {
		return nil, proof.Flawf(record.FaultManifest, "%v", err), nil
	}
	if !r.belongs(said, k) {
		return nil, proof.Flawf(record.FaultManifest, "it describes %s of recording %q of %s/%s: it does not belong here", said.Media.Key, said.RecordingID, said.Organization, said.User.ID), nil
	}
	if obj.VersionID == "" && said.Media.VersionID != "" { // the reply to a GET need not show it
		obj, err = r.head(ctx, key, "")
		if unreadable(err) {
			return nil, proof.Flawf(record.FaultUnreadable, "%v", err), nil
		}
		if err != nil {
			return nil, proof.Flaw{}, err
		}
	}
	v := said.Version()
	v.ManifestKey, v.ManifestVersionID = key, obj.VersionID
	v.ManifestSize, v.ManifestSHA256 = int64(len(text)), fmt.Sprintf("%x", sha256.Sum256(text))
	return &readManifest{said, k, v}, proof.Flaw{}, nil
}

// belongs reports whether a manifest describes the recording that its key names.
func (r *rebuild) belongs(m *record.Manifest, k record.Key) bool {
	media, ok := record.ParseKey(r.Prefix, m.Media.Key)
	want := k
	want.Kind, want.Number, want.Extension = "media", media.Number, media.Extension
	return ok && media == want && m.Organization == k.Org && record.EscapeID(m.User.ID) == k.Inbox && record.EscapeID(m.RecordingID) == k.Recording
}

// enter adds a manifest's version to an entry, whose versions stand in the order of
// their manifests' keys, and takes the recording's metadata from the newest.
func (r *rebuild) enter(m *readManifest, e *state.Entry) {
	at := r.insert(e, m.version)
	e.State = state.StateArchived
	e.MediaKey = r.firstKey(e.Versions[0].MediaKey)
	if e.ListedAt.IsZero() || m.Times.Listed.Before(e.ListedAt) {
		e.ListedAt = m.Times.Listed
	}
	if at < len(e.Versions)-1 {
		return
	}
	e.DateModified, e.Fingerprint = m.DateModified, m.version.Fingerprint
	if rec, err := genesys.ParseRecording(m.Recording); err == nil {
		record.Describe(e, rec)
	}
}

// insert adds a version in its place, and returns its index.
func (r *rebuild) insert(e *state.Entry, v state.Version) int {
	number := func(v state.Version) int {
		k, _ := record.ParseKey(r.Prefix, v.ManifestKey)
		return k.Number
	}
	at, _ := slices.BinarySearchFunc(e.Versions, number(v), func(v state.Version, n int) int { return number(v) - n })
	e.Versions = slices.Insert(e.Versions, at, v)
	return at
}

// firstKey returns the first key of a recording's media, of which the given one is the nth.
func (r *rebuild) firstKey(media string) string {
	k, ok := record.ParseKey(r.Prefix, media)
	if !ok {
		return media
	}
	k.Number = 1
	return k.Path(r.Prefix)
}

// entries completes the entries that manifests and journal left open.
func (r *rebuild) entries(ctx context.Context) error {
	return r.Ledger.Scan(ctx, r.org.Name, "", func(k state.Key, e *state.Entry) error {
		if e.Disposal() != nil {
			return nil // what the disposal left of its objects is no version
		}
		r.versions += int64(len(e.Versions))
		for i, v := range e.Versions {
			if err := r.complete(ctx, k, e, i, v); err != nil {
				return err
			}
		}
		if len(e.Cases()) == 0 {
			return nil
		}
		return r.holds(ctx, k)
	})
}

func (r *rebuild) complete(ctx context.Context, k state.Key, e *state.Entry, i int, v state.Version) error {
	if v.ManifestSize == 0 {
		return r.replaceManifest(ctx, k, e, i)
	}
	if !v.ArchivedAt.IsZero() {
		return nil
	}
	obj, err := r.head(ctx, v.MediaKey, v.MediaVersionID)
	archived, lost := obj.Modified.UTC(), unreadable(err)
	if lost {
		archived = r.Prover.Now() // the time is not known: a deletion has to wait from now on
		if errors.Is(err, storage.ErrNotFound) {
			err = nil // the step media finds that
		} else {
			err = r.find(record.FaultUnreadable, k, v.MediaKey, "%v", err)
		}
	}
	if err != nil {
		return err
	}
	return r.edit(ctx, k, func(e *state.Entry) {
		e.Versions[i].ArchivedAt = archived
		if lost {
			return
		}
		if e.State == state.StateListed || e.State == state.StateFailed || e.State == state.StateVanished {
			e.State = state.StateArchived // later than the journal's last event
			e.LastError, e.FailedSince = "", time.Time{}
		}
	})
}

func (r *rebuild) edit(ctx context.Context, k state.Key, f func(*state.Entry)) error {
	if err := r.Ledger.Restore(ctx, k.Org, k.Inbox, []state.Restored{{Recording: k.Recording, Edit: f}}); err != nil {
		return failure.OfLedger(err)
	}
	return nil
}

// inboxes enters what is known of the inboxes themselves, and counts.
func (r *rebuild) inboxes(ctx context.Context) error {
	for esc, owner := range r.owners {
		id := r.ids[esc]
		if id == "" {
			continue // already reported
		}
		if owner != r.Ledger.ID() {
			r.totals.Foreign = append(r.totals.Foreign, r.org.Name+"/"+id)
		}
		// Entered even if it has nothing yet.
		if err := r.Ledger.EditInbox(ctx, r.org.Name, id, func(i *state.Inbox) { i.OwnerClaimed = owner == r.Ledger.ID() }); err != nil {
			return failure.OfLedger(err)
		}
	}
	all, err := r.Ledger.Inboxes(ctx, r.org.Name)
	if err != nil {
		return failure.OfLedger(err)
	}
	for _, in := range all {
		r.totals.Inboxes++
		for s, n := range in.Counts {
			r.totals.Recordings[s] += n
		}
		user := r.users[in.ID]
		err := r.Ledger.EditInbox(ctx, r.org.Name, in.ID, func(i *state.Inbox) {
			i.Name, i.Email, i.Rebuilt = user.Name, user.Email, true
			if r.org.Login {
				i.Condition, i.Reason = state.ConditionNeedsLogin, "the ledger was rebuilt from the archive, which holds no tokens: archiverd login"
			}
		})
		if err != nil {
			return failure.OfLedger(err)
		}
	}
	slices.Sort(r.totals.Foreign)
	return nil
}
