package keeping

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Certificate says what was removed from the archive by one list, and what was left and why.
type Certificate struct {
	SchemaVersion int        `json:"schema_version"`
	Act           state.Act  `json:"act"`         // who, when and why
	List          Header     `json:"list"`        // what was approved
	ListSHA256    string     `json:"list_sha256"` // of the approved list's text
	Disposed      []Item     `json:"disposed"`    // all versions of media and manifests are gone from the store
	Left          []LeftItem `json:"left"`
}

// LeftItem is a recording that was listed and not removed.
type LeftItem struct {
	Item
	Why string `json:"why"`
}

// Certified is a certificate in the archive.
type Certified struct {
	state.Certificate
	JSON, Page []byte
}

// certificateVersion is the version of the certificate's schema.
const certificateVersion = 1

func newCertificate(o Order, l *List, outcomes map[state.Key]Outcome) *Certificate {
	c := &Certificate{SchemaVersion: certificateVersion, Act: o.Act, List: l.Header, ListSHA256: l.SHA256, Disposed: []Item{}, Left: []LeftItem{}}
	for _, i := range l.Items {
		if out := outcomes[i.key()]; out.Result == Done || out.Result == Already {
			c.Disposed = append(c.Disposed, i)
		} else {
			c.Left = append(c.Left, LeftItem{i, out.Why})
		}
	}
	return c
}

// certify puts a certificate and its page into the archive, locked as the journal is. Then it
// enters their hashes, as an act on one of the recordings of each inbox that the certificate
// names, so that the journal has them and an altered certificate is found.
func (k *Keeper) certify(ctx context.Context, o Order, c *Certificate) (*Certified, error) {
	text, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the certificate: %w", err)
	}
	out := &Certified{JSON: append(text, '\n')}
	out.SHA256 = sum(out.JSON)
	var page bytes.Buffer
	if err := certificatePage.Execute(&page, struct {
		*Certificate
		SHA256 string
	}{c, out.SHA256}); err != nil {
		return nil, fmt.Errorf("make the certificate's page: %w", err)
	}
	out.Page = page.Bytes()
	out.PageSHA256 = sum(out.Page)
	if out.Key, err = k.publish(ctx, o.ID, out); err != nil {
		return nil, fmt.Errorf("everything that is listed as removed is gone, but the certificate could not be stored; give the same list again: %w", err)
	}
	act := state.Act{ID: o.ID + "-" + out.SHA256[:8], Kind: state.ActCertify, By: o.By, At: o.At, Reason: o.Reason, Certificate: out.Certificate}
	done := map[[2]string]bool{}
	for _, i := range c.Disposed {
		if in := [2]string{i.Org, i.Inbox}; !done[in] {
			done[in] = true
			if _, err := k.edit(ctx, i.key(), act.Do); err != nil {
				return nil, err
			}
			if err := k.Journal(context.WithoutCancel(ctx), i.Org, i.Inbox); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// publish stores the two objects of a certificate under the first free name, and returns the
// key of the JSON.
func (k *Keeper) publish(ctx context.Context, id string, c *Certified) (string, error) {
	for n := 1; n <= record.MaxPlaces; n++ {
		key := record.CertificateKey(k.Prefix, id, n)
		err := k.create(ctx, key, "application/json", c.JSON)
		if errors.Is(err, storage.ErrExists) {
			continue
		}
		if err == nil {
			err = k.create(ctx, record.CertificatePage(key), "text/html; charset=utf-8", c.Page)
		}
		return key, err
	}
	return "", fmt.Errorf("no free key: %d are taken", record.MaxPlaces)
}

// create puts a small object and reads it back. If the key holds the same bytes already, an
// earlier try stored them: that is a success.
func (k *Keeper) create(ctx context.Context, key, contentType string, text []byte) error {
	lock := k.Retention.Lock("", time.Now())
	put := func() error {
		_, err := k.Bucket.Put(ctx, storage.New{Key: key, ContentType: contentType, Retention: lock}, text, sha256.Sum256(text))
		return err
	}
	err := failure.Retry(ctx, func(error) {}, put)
	if err != nil && !errors.Is(err, storage.ErrExists) {
		return err
	}
	have, obj, rerr := record.ReadSmall(ctx, k.Bucket, key, int64(len(text))+1)
	switch {
	case rerr != nil:
		return rerr
	case !bytes.Equal(have, text) && err != nil:
		return err
	case !bytes.Equal(have, text):
		return fmt.Errorf("%s: %w", key, failure.ErrCorrupt)
	case lock.Mode == "":
		return nil
	}
	_, err = k.Bucket.Extend(ctx, key, obj.VersionID, lock)
	return err
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

//go:embed certificate.html
var certificateHTML string

// certificatePage needs no other file and no script.
var certificatePage = template.Must(template.New("certificate").Funcs(template.FuncMap{
	"time": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"day":  day,
}).Parse(certificateHTML))
