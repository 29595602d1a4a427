package export

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// row is a recording in the index. A recording without versions has none of their files.
type row struct {
	Org, Inbox, User, Recording string
	State                       state.State
	Created                     string // as Genesys gave it
	Duration                    time.Duration
	Name, Conversation          string
	Participants                []state.Participant
	Cases                       []string
	Versions                    []version
	Journal                     fileRef
	Lacks                       string // what is not in the export, and why; "": nothing

	damaged bool
}

// version is one archived version in the export. A file that is not there has no name.
type version struct {
	ArchivedAt      time.Time
	Media, Manifest fileRef
	Doubt           string // why it is not sure that the media are whole; "": it is

	shared bool // the media are those of an earlier version
}

// fileRef is a file of the export.
type fileRef struct {
	Name, SHA256 string
	Size         int64
}

// recording exports one recording. It returns an error only if others would fail too.
func (x *export) recording(ctx context.Context, s *selected) error {
	e := s.entry
	s.row = row{
		Org: s.key.Org, Inbox: s.key.Inbox, Recording: s.key.Recording, State: e.State,
		Created: e.DateCreated, Duration: time.Duration(e.Milliseconds) * time.Millisecond,
		Name: e.Name, Conversation: e.ConversationID, Participants: e.Participants, Cases: e.Cases(),
	}
	if e.Disposal() != nil {
		s.forget()
	}
	folder := "recordings/" + fileName(s.key.Org) + "/" + fileName(s.key.Inbox) + "/" + fileName(s.key.Recording)
	why := notArchived(e)
	if why == "" {
		for i := range e.Versions {
			if err := x.version(ctx, s, folder, i); err != nil {
				return err
			}
		}
	} else {
		s.row.lack(why, false)
	}
	if err := x.writeJournal(s, folder+"/journal.jsonl"); err != nil {
		return err
	}
	names := []string{s.row.Journal.Name}
	for _, v := range s.row.Versions {
		names = append(names, v.Media.Name, v.Manifest.Name)
	}
	return x.to.only(folder, names...)
}

// forget drops what tells of a person: of a recording that was erased or disposed of, or is
// being removed, the export tells no more than the ledger keeps of it in the end.
func (s *selected) forget() {
	s.row.Duration, s.row.Name, s.row.Conversation, s.row.Participants = 0, "", "", nil
	for i := range s.events {
		if l := s.events[i].Listed; l != nil {
			l.Name, l.Conversation = "", ""
		}
	}
}

func (r *row) lack(why string, damaged bool) {
	if r.Lacks != "" {
		r.Lacks += "; "
	}
	r.Lacks += why
	r.damaged = r.damaged || damaged
}

// notArchived says why the archive has nothing of a recording to export; "": it has.
func notArchived(e *state.Entry) string {
	if act := e.Disposal(); act != nil {
		why := fmt.Sprintf("removed from the archive on %s: %s", act.At.UTC().Format(time.DateOnly), act.Reason)
		if act.Authority != "" {
			why += " (" + act.Authority + ")"
		}
		return why
	}
	if len(e.Versions) > 0 {
		return ""
	}
	switch e.State {
	case state.StateVanished:
		return "deleted in Genesys before it could be archived"
	case state.StateWaived:
		return "not archived, and a person accepts that: " + e.Acts[len(e.Acts)-1].Reason
	case state.StateFailed:
		return "could not be archived yet: " + e.LastError
	}
	return "waits to be archived"
}

// version exports media and manifest of one version.
func (x *export) version(ctx context.Context, s *selected, folder string, i int) error {
	v := &s.entry.Versions[i]
	out := version{ArchivedAt: v.ArchivedAt, Doubt: cmp.Or(v.Suspect, v.Unproved)}
	before := slices.IndexFunc(s.entry.Versions[:i], func(w state.Version) bool { return w.MediaKey == v.MediaKey && w.MediaVersionID == v.MediaVersionID })
	if before >= 0 {
		out.Media, out.shared = s.row.Versions[before].Media, true
	} else {
		_, extension, _ := strings.Cut(v.MediaKey[strings.LastIndexByte(v.MediaKey, '/')+1:], ".")
		ref, err := x.copy(ctx, s, object{v.MediaKey, v.MediaVersionID, v.SHA256}, fmt.Sprintf("%s/%d.%s", folder, i+1, fileName(extension)))
		if err != nil {
			return err
		}
		out.Media = ref
	}
	ref, err := x.manifest(ctx, s, v, fmt.Sprintf("%s/%d.json", folder, i+1))
	if err != nil {
		return err
	}
	out.Manifest = ref
	s.row.Versions = append(s.row.Versions, out)
	return nil
}

// object is an object in the bucket with the SHA-256 of its bytes, in hex.
type object struct{ key, version, sha256 string }

// errDiffers says that an object's bytes are not those that the ledger names.
type errDiffers struct{ have, want string }

func (e *errDiffers) Error() string {
	return fmt.Sprintf("its bytes have the SHA-256 %s, the ledger names %s", e.have, e.want)
}

// copy writes an object as a file. If the object can't be had as the ledger names it, copy
// notes that in the recording's row and returns the zero fileRef.
func (x *export) copy(ctx context.Context, s *selected, o object, name string) (fileRef, error) {
	size, there, err := x.to.has(name, o.sha256)
	if err != nil {
		return fileRef{}, err
	}
	if !there {
		err = x.reading.Try(ctx, func() (err error) { size, err = x.fetch(ctx, o, name); return err })
	}
	if err != nil {
		return fileRef{}, s.lackObject(o.key, err)
	}
	return fileRef{name, o.sha256, size}, nil
}

// lackObject notes why an object is not in the export. It returns err if others would fail
// too.
func (s *selected) lackObject(key string, err error) error {
	_, isWrite := errors.AsType[*writeError](err)
	differs, isDiffers := errors.AsType[*errDiffers](err)
	unreadable, isUnreadable := errors.AsType[*proof.UnreadableError](err)
	switch {
	case isWrite:
		return err
	case isDiffers:
		s.row.lack(key+": "+differs.Error(), true)
	case isUnreadable && errors.Is(err, storage.ErrNotFound):
		s.row.lack(key+" is missing in the archive", true)
	case isUnreadable:
		s.row.lack(key+" can't be read: "+unreadable.Error(), false)
	default:
		return err
	}
	return nil
}

// fetch downloads an object into a file, which stays only if its bytes are right.
func (x *export) fetch(ctx context.Context, o object, name string) (int64, error) {
	r, _, err := x.Bucket.Get(ctx, o.key, o.version)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	f, err := x.to.create(name)
	if err != nil {
		return 0, &writeError{err}
	}
	sum := proof.NewDigest()
	if _, err := io.Copy(writer{f}, io.TeeReader(r, io.MultiWriter(sum, counter{x}))); err != nil {
		return 0, errors.Join(fmt.Errorf("read %s: %w", o.key, err), f.Drop())
	}
	if have := sum.Hex(); have != o.sha256 {
		return 0, errors.Join(&errDiffers{have, o.sha256}, f.Drop())
	}
	if err := f.Keep(); err != nil {
		return 0, &writeError{err}
	}
	return sum.Size, nil
}

// counter counts bytes for the Tally.
type counter struct{ x *export }

func (c counter) Write(p []byte) (int, error) {
	c.x.Tally.Bytes.Add(int64(len(p)))
	return len(p), nil
}

// manifest exports a version's manifest, and takes the name of the user from it. A ledger of
// an early archiverd knows no SHA-256 of the manifest: then the manifest must name the
// media's.
func (x *export) manifest(ctx context.Context, s *selected, v *state.Version, name string) (fileRef, error) {
	var text []byte
	err := x.reading.Try(ctx, func() error {
		r, _, err := x.Bucket.Get(ctx, v.ManifestKey, v.ManifestVersionID)
		if err != nil {
			return err
		}
		defer r.Close()
		text, err = io.ReadAll(io.LimitReader(r, record.MaxManifest))
		return err
	})
	sum := proof.NewDigest()
	_, _ = sum.Write(text) // never fails
	if err == nil && v.ManifestSHA256 != "" && sum.Hex() != v.ManifestSHA256 {
		err = &errDiffers{sum.Hex(), v.ManifestSHA256}
	}
	var m record.Manifest
	if err == nil && (json.Unmarshal(text, &m) != nil || m.Media.SHA256 != v.SHA256) {
		err = &errDiffers{"of a manifest of other media", v.ManifestSHA256}
	}
	if err != nil {
		return fileRef{}, s.lackObject(v.ManifestKey, err)
	}
	s.row.User = strings.TrimSpace(m.User.Name + " " + m.User.Email)
	return x.write(name, text)
}

// write writes a small file.
func (x *export) write(name string, text []byte) (fileRef, error) {
	sum := proof.NewDigest()
	f, err := x.to.create(name)
	if err != nil {
		return fileRef{}, &writeError{err}
	}
	if _, err := io.Copy(io.MultiWriter(f, sum), bytes.NewReader(text)); err != nil {
		return fileRef{}, errors.Join(&writeError{err}, f.Drop())
	}
	if err := f.Keep(); err != nil {
		return fileRef{}, &writeError{err}
	}
	return fileRef{name, sum.Hex(), sum.Size}, nil
}

// writeError says that the export can't be written.
type writeError struct{ err error }

func (e *writeError) Error() string { return "write the export: " + e.err.Error() }

func (e *writeError) Unwrap() error { return e.err }

// writer marks the errors of a file that is written.
type writer struct{ io.Writer }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &writeError{err}
	}
	return n, err
}
