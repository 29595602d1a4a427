package keeping

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/archiverd/archiverd/state"
)

// listVersion is the version of the list's form.
const listVersion = 1

// Header is the first line of a list: which archive it is of, and what was looked for.
type Header struct {
	Version int       `json:"disposal_list"`
	Bucket  string    `json:"bucket"`
	Prefix  string    `json:"prefix"`
	Ledger  string    `json:"ledger"`
	Before  time.Time `json:"before"` // the retention of all that is listed ended before
	Made    time.Time `json:"made"`
}

// Item is one recording of a list, as it was when the list was made. A recording that
// differs from its item when the list is carried out is left.
type Item struct {
	Org       string       `json:"org"`
	Inbox     string       `json:"inbox"`
	Recording string       `json:"recording"`
	Created   string       `json:"created,omitempty"`
	State     state.State  `json:"state"`
	Ended     time.Time    `json:"retention_ended"`
	Stored    []ItemStored `json:"stored"`
}

// ItemStored is one version of media and manifest that a list names.
type ItemStored struct {
	MediaKey       string `json:"media_key"`
	MediaVersion   string `json:"media_version,omitempty"`
	Size           int64  `json:"size"`
	SHA256         string `json:"sha256"`
	ManifestKey    string `json:"manifest_key"`
	ManifestSHA256 string `json:"manifest_sha256"`
}

func (i Item) key() state.Key { return state.Key{Org: i.Org, Inbox: i.Inbox, Recording: i.Recording} }

func (i Item) equal(j Item) bool {
	a, _ := json.Marshal(i)
	b, _ := json.Marshal(j)
	return bytes.Equal(a, b)
}

// item describes an entry for a list.
func (k *Keeper) item(key state.Key, e *state.Entry) Item {
	i := Item{Org: key.Org, Inbox: key.Inbox, Recording: key.Recording, Created: e.DateCreated, State: e.State}
	for _, v := range e.Versions {
		ends := v.RetainUntil
		if ends.IsZero() {
			ends = k.Retention.End(e.DateCreated, v.ArchivedAt)
		}
		if ends.After(i.Ended) {
			i.Ended = ends.UTC()
		}
		i.Stored = append(i.Stored, ItemStored{v.MediaKey, v.MediaVersionID, v.Size, v.SHA256, v.ManifestKey, v.ManifestSHA256})
	}
	return i
}

// Disposable writes a list of the recordings whose retention ended before a time: a header,
// then a line of JSON for each. Recordings that are held, or can't be removed for another
// reason, are emitted as left, and not listed. A recording that has no lock is retained for
// as long as the configuration says.
func (k *Keeper) Disposable(ctx context.Context, o Order, h Header, w io.Writer) (Totals, error) {
	totals := Totals{}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(h); err != nil {
		return totals, fmt.Errorf("write the list: %w", err)
	}
	err := o.Recordings(ctx, func(key state.Key, e *state.Entry) error {
		if len(e.Versions) == 0 || e.State.Disposed() {
			return nil
		}
		i := k.item(key, e)
		if !i.Ended.Before(h.Before) || i.Ended.After(time.Now()) {
			return nil
		}
		if err := mayRemove(e, state.ActExpire); err != nil {
			totals[Left]++
			return o.Emit(Outcome{key.Org, key.Inbox, key.Recording, Left, err.Error()})
		}
		totals[Done]++
		if err := enc.Encode(i); err != nil {
			return fmt.Errorf("write the list: %w", err)
		}
		return nil
	})
	return totals, err
}

// List is an approved list.
type List struct {
	Header
	Items  []Item
	SHA256 string // of its text, in hex
}

// ReadList reads a list that Disposable wrote. Lines may have been removed by whoever
// approved it; nothing else may have been changed, or the recordings are left.
func ReadList(text []byte) (*List, error) {
	sum := sha256.Sum256(text)
	l := &List{SHA256: hex.EncodeToString(sum[:])}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	seen := map[state.Key]bool{}
	for n := 1; lines.Scan(); n++ {
		var to any = &l.Header
		var i Item
		if n > 1 {
			to = &i
		}
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(to); err != nil {
			return nil, fmt.Errorf("read the list: line %d: %w", n, err)
		}
		if d.More() {
			return nil, fmt.Errorf("read the list: line %d holds more than one recording", n)
		}
		if n == 1 {
			continue
		}
		if seen[i.key()] {
			return nil, fmt.Errorf("read the list: line %d names %s a second time", n, i.key())
		}
		seen[i.key()] = true
		l.Items = append(l.Items, i)
	}
	switch {
	case lines.Err() != nil:
		return nil, fmt.Errorf("read the list: %w", lines.Err())
	case l.Version != listVersion:
		return nil, fmt.Errorf("read the list: it has version %d, this archiverd reads %d: make a new one with --dry-run", l.Version, listVersion)
	case len(l.Items) == 0:
		return nil, fmt.Errorf("read the list: it names no recording")
	}
	return l, nil
}

// NewHeader returns the header of a list that is made now.
func (k *Keeper) NewHeader(bucket string, before time.Time) Header {
	return Header{listVersion, bucket, k.Prefix, k.Ledger.ID(), before.UTC(), time.Now().UTC().Truncate(time.Second)}
}
