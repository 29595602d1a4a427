package archiver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// A recorded object is a media object or a manifest as the ledger has it.
type recorded struct {
	state.Key
	entry          *state.Entry
	version        state.Version
	manifest       bool
	key, versionID string
	size           int64
	sha256         string
	checksum       string // "CRC32:base64", "" where the store showed none
}

func recordedObjects(k state.Key, e *state.Entry, v state.Version) [2]recorded {
	manifestSum := ""
	if sum, err := hex.DecodeString(v.ManifestSHA256); err == nil && len(sum) > 0 {
		manifestSum = "SHA256:" + base64.StdEncoding.EncodeToString(sum)
	}
	return [2]recorded{
		{k, e, v, false, v.MediaKey, v.MediaVersionID, v.Size, v.SHA256, v.Checksum},
		{k, e, v, true, v.ManifestKey, v.ManifestVersionID, v.ManifestSize, v.ManifestSHA256, manifestSum},
	}
}

// A flaw is one thing wrong with an object.
type flaw struct {
	fault  Fault
	detail string
}

func flawf(f Fault, format string, args ...any) flaw { return flaw{f, fmt.Sprintf(format, args...)} }

// finding sums up an object's flaws under the worst.
func (o recorded) finding(flaws []flaw) (Finding, bool) {
	if len(flaws) == 0 {
		return Finding{}, false
	}
	slices.SortStableFunc(flaws, func(x, y flaw) int {
		return slices.Index(Faults[:], x.fault) - slices.Index(Faults[:], y.fault)
	})
	var details []string
	for _, f := range flaws {
		details = append(details, f.detail)
	}
	return Finding{flaws[0].fault, o.Org, o.Inbox, o.Recording, o.key, o.versionID, strings.Join(details, "; ")}, true
}

// maxUnreadable is how many objects in a row a store may fail to give and still
// count as working.
const maxUnreadable = 10

// object compares one object. Where the store fails, it is asked whether it works at
// all: only then can the object be to blame.
func (v *verifier) object(ctx context.Context, o recorded) (flaws []flaw, err error) {
	look := v.look
	if o.entry.Disposal() != nil {
		look = v.lookDisposed
	}
	err = v.retry(ctx, func() (err error) { flaws, err = look(ctx, o); return err })
	if err == nil {
		v.streak.Store(0)
		return flaws, nil
	}
	if ctx.Err() != nil {
		return nil, failure.ErrStopped
	}
	if down := v.down(ctx, err, &v.streak); down != nil {
		return nil, down
	}
	return []flaw{{FaultUnreadable, err.Error()}}, nil
}

// down tells why the store that failed with err on one object would fail on others too,
// or nil where that object alone is to blame. streak counts such objects in a row.
func (a *Archiver) down(ctx context.Context, err error, streak *atomic.Int64) error {
	if down := a.Bucket.Check(ctx); down != nil {
		return down
	}
	var e *storage.Error
	switch {
	case errors.Is(err, storage.ErrAccess), errors.Is(err, storage.ErrHeader):
		return err
	case errors.Is(err, storage.ErrNotFound), errors.As(err, &e) && e.Code == "InvalidObjectState":
		return nil // a store that works says so, the latter of what is in cold storage
	case streak.Add(1) >= maxUnreadable:
		return &failure.DownError{Err: err}
	}
	return nil
}

// look compares the object with what the ledger says of it.
func (v *verifier) look(ctx context.Context, o recorded) ([]flaw, error) {
	obj, flaws, err := v.find(ctx, o)
	if err != nil || obj == nil {
		return flaws, err
	}
	wrong, compared := o.compareHead(*obj)
	if v.depth.reads(o.version.MediaKey) {
		other, err := v.read(ctx, o, *obj)
		if err != nil {
			return nil, err
		}
		wrong = append(wrong, other...)
	} else if !compared {
		v.count(func(t *Verification) { t.SizeOnly++ })
	}
	if len(wrong) > 0 && wrong[0].fault == FaultAltered && !sameRecording(obj.Metadata, record.Keys{Prefix: v.Prefix, Org: o.Org, Inbox: o.Inbox}.Metadata(o.Recording, state.Entry{}, "")) {
		wrong[0] = flawf(FaultForeign, "an object that archiverd did not write: %s", wrong[0].detail)
	}
	return append(append(flaws, wrong...), v.compareTerms(o, *obj)...), nil
}

// lookDisposed wants an object that was disposed of not to be there.
func (v *verifier) lookDisposed(ctx context.Context, o recorded) ([]flaw, error) {
	if act := o.entry.Disposal(); !o.entry.State.Disposed() {
		return []flaw{flawf(FaultUnfinished, "%s began to %s it on %s: run the same command again, which finishes it", act.By, act.Kind, act.At.UTC().Format(time.DateOnly))}, nil
	}
	obj, err := v.Bucket.Head(ctx, o.key, "")
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []flaw{flawf(FaultReturned, "the recording is %s, and an object of %d bytes, written %s, is there", o.entry.State, obj.Size, obj.Modified.UTC().Format(time.RFC3339))}, nil
}

// find asks for the newest version, which is the recorded one unless somebody worked
// on the bucket; only then for the recorded one. A nil object is not there.
func (v *verifier) find(ctx context.Context, o recorded) (*storage.Object, []flaw, error) {
	newest, err := v.Bucket.Head(ctx, o.key, "")
	hidden := errors.Is(err, storage.ErrNotFound)
	if err != nil && !hidden {
		return nil, nil, err
	}
	id := o.versionID
	if id == "" {
		id = "null" // as S3 calls what was written before a bucket had versions
	}
	if !hidden && (newest.VersionID == id || newest.VersionID == o.versionID) {
		return &newest, nil, nil
	}
	obj, err := v.Bucket.Head(ctx, o.key, id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		if err := v.confirmMissing(ctx, o); err != nil {
			return nil, nil, err
		}
		if hidden {
			return nil, []flaw{{FaultMissing, "no such object"}}, nil
		}
		return nil, []flaw{flawf(FaultMissing, "the recorded version is gone; version %s of %d bytes stands in its place", newest.VersionID, newest.Size)}, nil
	case err != nil:
		return nil, nil, err
	case hidden:
		return &obj, []flaw{{FaultHidden, "a delete marker hides it; the recorded version is still there: remove the marker"}}, nil
	}
	by := "archiverd did not write"
	if sameRecording(newest.Metadata, obj.Metadata) {
		by = "names the same recording"
	}
	return &obj, []flaw{flawf(FaultOverwritten, "version %s of %d bytes, which %s, lies over the recorded version", newest.VersionID, newest.Size, by)}, nil
}

// confirmMissing makes sure that it is the store which says so: the reply to a HEAD
// has no body, and a 404 without one may come from anything that stands before it.
func (v *verifier) confirmMissing(ctx context.Context, o recorded) error {
	body, _, err := v.Bucket.Get(ctx, o.key, o.versionID)
	switch {
	case err == nil:
		body.Close()
		return &storage.Error{Op: "head", Key: o.key, Err: errors.New("HEAD finds no object, GET does")}
	case errors.Is(err, storage.ErrNotFound):
		return nil
	}
	return err
}

// compareHead compares what HEAD shows of the bytes, and tells whether a checksum was
// among it.
func (o recorded) compareHead(obj storage.Object) (flaws []flaw, compared bool) {
	if obj.Size != o.size {
		flaws = append(flaws, flawf(FaultAltered, "%d bytes, the ledger has %d", obj.Size, o.size))
	}
	algorithm, _, _ := strings.Cut(o.checksum, ":")
	if algorithm == "" || o.manifest && obj.Checksum.Algorithm != algorithm {
		return flaws, false
	}
	if shown := obj.Checksum.Algorithm + ":" + obj.Checksum.Value; shown != o.checksum {
		flaws = append(flaws, flawf(FaultAltered, "the store shows the checksum %q, the ledger has %q", shown, o.checksum))
	}
	return flaws, true
}

// compareTerms compares how long the object will be kept.
func (v *verifier) compareTerms(o recorded, obj storage.Object) (flaws []flaw) {
	recorded := storage.Retention{Mode: o.version.RetentionMode, Until: o.version.RetainUntil}
	if short := record.ShortLock(obj.Retention, recorded); short != "" {
		flaws = append(flaws, flaw{FaultLock, short})
	}
	if until := v.keepUntil(o.entry.DateCreated, o.version.ArchivedAt); !obj.Expires.IsZero() && obj.Expires.Before(until) {
		flaws = append(flaws, flawf(FaultExpires, "a lifecycle rule will remove it on %s, its retention ends on %s: exclude the prefix from the rule",
			obj.Expires.Format(time.DateOnly), until.Format(time.DateOnly)))
	}
	return flaws
}

// read compares the bytes and, of a manifest, what it says.
func (v *verifier) read(ctx context.Context, o recorded, obj storage.Object) ([]flaw, error) {
	sum := sha256.New()
	var text bytes.Buffer
	w := io.Writer(sum)
	if o.manifest && obj.Size <= record.MaxManifest {
		w = io.MultiWriter(sum, &text)
	}
	if err := v.readInto(ctx, obj, w); err != nil {
		return nil, err
	}
	v.Progress.Bytes.Add(obj.Size)
	v.count(func(t *Verification) { t.Read++; t.Bytes += obj.Size })
	var flaws []flaw
	if have := hex.EncodeToString(sum.Sum(nil)); have != o.sha256 {
		flaws = append(flaws, flawf(FaultAltered, "the bytes have the SHA-256 %s, the ledger has %s", have, o.sha256))
	}
	if o.manifest {
		if err := o.describedBy(text.Bytes()); err != nil {
			flaws = append(flaws, flaw{FaultManifest, err.Error()})
		}
	}
	return flaws, nil
}

// describedBy tells whether a manifest says of the version what the ledger says.
func (o recorded) describedBy(text []byte) error {
	m, err := record.DecodeManifest(text)
	if err != nil {
		return err
	}
	have := storage.Object{Key: o.version.MediaKey, VersionID: o.version.MediaVersionID, Size: o.version.Size}
	if !m.Describes(o.Recording, cmp.Or(o.version.ManifestModified, o.version.DateModified), have) || m.Media.SHA256 != o.version.SHA256 || m.Organization != o.Org || m.User.ID != o.Inbox {
		return fmt.Errorf("it describes %s of recording %q, %d bytes with SHA-256 %s", m.Media.Key, m.RecordingID, m.Media.Size, m.Media.SHA256)
	}
	return nil
}
