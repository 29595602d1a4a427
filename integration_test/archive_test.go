package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// manifest holds the fields of a manifest that these tests read, as in its schema.
type manifest struct {
	key          string
	RecordingID  string `json:"recording_id"`
	DateModified string `json:"date_modified"`
	Archiverd    string
	Recording    json.RawMessage `json:"recording"`
	User         struct{ ID, Name, Email string }
	Media        struct {
		Key, Format, SHA256, Suspect string
		ContentType                  string `json:"content_type"`
		Size                         int64
	}
}

// object is one version of an object, as a listing shows it.
type object struct {
	Key, VersionID, ETag, Modified string
	Size                           int64
}

// media is what a read of a media object returns.
type media struct {
	size   int64
	sha256 string
}

// archive is the content of a bucket.
type archive struct {
	media     map[string]media // by key
	manifests []manifest       // in the order of their keys
}

// manifestSchema is the published schema of manifests.
var manifestSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	return c.Compile("../docs/manifest.schema.json")
})

// plainKey is the form of every key that archiverd may write.
var plainKey = regexp.MustCompile(`^genesys/(` +
	`(media|manifests)/org=acme/inbox=[A-Za-z0-9_%-]{1,200}/(undated|year=\d{4}/month=\d\d/day=\d\d)/[A-Za-z0-9_%-]{1,200}(~\d+)?\.(wav|webm|ogg|mp3|bin|json)` +
	`|journal/org=acme/inbox=[A-Za-z0-9_%-]{1,200}/\d{8}T\d{6}\.\d{9}Z\.json` +
	`|owners/org=acme/inbox=[A-Za-z0-9_%-]{1,200}\.json|doctor/[A-Za-z0-9_-]+)$`)

// listing returns every version of every object in the bucket. The fake can't list
// versions beyond the first page; there only the newest versions are returned.
func (w *world) listing() []object {
	w.Helper()
	if !w.s3.Capabilities.Locks {
		all, err := w.newest("")
		if err != nil {
			w.Fatal(err)
		}
		return all
	}
	var all []object
	pages := s3.NewListObjectVersionsPaginator(w.s3.Client(), &s3.ListObjectVersionsInput{Bucket: &w.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.Context())
		if err != nil {
			w.Fatalf("list the bucket: %v", err)
		}
		if len(page.DeleteMarkers) > 0 {
			w.Errorf("%d objects were deleted from the archive", len(page.DeleteMarkers))
		}
		for _, v := range page.Versions {
			if !w.s3.Capabilities.ConditionalVersions && strings.HasPrefix(*v.Key, "genesys/doctor/") {
				continue // each run's canary overwrites the previous one
			}
			o := object{aws.ToString(v.Key), aws.ToString(v.VersionId), aws.ToString(v.ETag),
				aws.ToTime(v.LastModified).String(), aws.ToInt64(v.Size)}
			if len(all) == 0 || all[len(all)-1] != o { // versitygw repeats the last object at the start of the next page
				all = append(all, o)
			}
		}
	}
	return all
}

// holdings returns the listing without the journal, which grows with every day and
// every change.
func (w *world) holdings() []object {
	w.Helper()
	return slices.DeleteFunc(w.listing(), func(o object) bool { return strings.HasPrefix(o.Key, "genesys/journal/") })
}

// newest returns the newest version of every object.
func (w *world) newest(prefix string) (all []object, err error) {
	pages := s3.NewListObjectsV2Paginator(w.s3.Client(), &s3.ListObjectsV2Input{Bucket: &w.bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(w.Context())
		if err != nil {
			return nil, fmt.Errorf("list the bucket: %w", err)
		}
		for _, o := range page.Contents {
			all = append(all, object{aws.ToString(o.Key), "", aws.ToString(o.ETag), aws.ToTime(o.LastModified).String(), aws.ToInt64(o.Size)})
		}
	}
	return all, nil
}

func (w *world) read(key string) ([]byte, error) {
	out, err := w.s3.Client().GetObject(w.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// archive reads the bucket, and checks what must hold in every archive: plain keys, one
// version of each object, and manifests that match their schema and name stored media.
func (w *world) archive() archive {
	w.Helper()
	a := archive{media: map[string]media{}}
	seen := map[string]bool{}
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(4)
	for _, o := range w.listing() {
		if seen[o.Key] {
			w.Errorf("%s was overwritten", o.Key)
		}
		seen[o.Key] = true
		if !plainKey.MatchString(o.Key) {
			w.Errorf("odd key %q", o.Key)
		}
		g.Go(func() error {
			body, err := w.read(o.Key)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = a.add(o.Key, body)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		w.Fatal(err)
	}
	slices.SortFunc(a.manifests, func(x, y manifest) int { return strings.Compare(x.key, y.key) })
	return a
}

func (a *archive) add(key string, body []byte) error {
	switch {
	case strings.HasPrefix(key, "genesys/media/"):
		a.media[key] = media{int64(len(body)), hexSum(body)}
	case strings.HasPrefix(key, "genesys/manifests/"):
		m, err := parseManifest(key, body)
		a.manifests = append(a.manifests, m)
		return err
	}
	return nil
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func parseManifest(key string, body []byte) (m manifest, err error) {
	schema, err := manifestSchema()
	if err != nil {
		return m, err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return m, fmt.Errorf("manifest %s: %w", key, err)
	}
	if err := schema.Validate(v); err != nil {
		return m, fmt.Errorf("manifest %s: %w", key, err)
	}
	if n := bytes.IndexByte(body, '\n'); n != len(body)-1 {
		return m, fmt.Errorf("manifest %s is not one line", key)
	}
	m.key = key
	return m, json.Unmarshal(body, &m)
}

// recordings returns the recordings of an inbox that an archive should hold.
type recordings struct {
	inbox *genesystest.Inbox
	ids   []string
}

func all(inbox *genesystest.Inbox) recordings { return recordings{inbox, inbox.IDs()} }

func some(inbox *genesystest.Inbox, ids ...string) recordings { return recordings{inbox, ids} }

// wantArchived checks that the bucket holds exactly these recordings: the bytes that
// Genesys served, stored once, each with exactly one manifest.
func (w *world) wantArchived(want ...recordings) archive {
	w.Helper()
	a := w.archive()
	n := 0
	for _, r := range want {
		for _, id := range r.ids {
			n++
			w.wantRecording(a, r.inbox, id)
		}
	}
	if len(a.media) != n || len(a.manifests) != n {
		w.Errorf("%d media objects and %d manifests for %d recordings", len(a.media), len(a.manifests), n)
	}
	return a
}

func (w *world) wantRecording(a archive, inbox *genesystest.Inbox, id string) {
	w.Helper()
	found := a.of(inbox, id)
	if len(found) != 1 {
		w.Errorf("recording %.60q has %d manifests, want 1", id, len(found))
		return
	}
	m := found[0]
	expected, err := inbox.Media(id, w.format())
	if err != nil {
		w.Fatal(err)
	}
	want := media{expected.Size, hex.EncodeToString(expected.SHA256[:])}
	if a.media[m.Media.Key] != want {
		w.Errorf("recording %.60q: the object %s is %v, Genesys served %v", id, m.Media.Key, a.media[m.Media.Key], want)
	}
	if (media{m.Media.Size, m.Media.SHA256}) != want {
		w.Errorf("recording %.60q: the manifest says %v, Genesys served %v", id, m.Media, want)
	}
	if d := cmp.Diff(compact(inbox.JSON(id, true)), compact(m.Recording)); d != "" {
		w.Errorf("recording %.60q: its metadata in the manifest differ from Genesys': -want +got\n%s", id, d)
	}
}

// of gives the manifests of a recording.
func (a archive) of(inbox *genesystest.Inbox, id string) (found []manifest) {
	for _, m := range a.manifests {
		if m.RecordingID == id && m.User.ID == inbox.ID {
			found = append(found, m)
		}
	}
	return found
}

// identities returns what must be the same however a run went: keys, bytes, and whose
// recording each manifest describes.
func (a archive) identities() []string {
	var ids []string
	for key, m := range a.media {
		ids = append(ids, fmt.Sprintf("%s %d %s", key, m.size, m.sha256))
	}
	for _, m := range a.manifests {
		ids = append(ids, fmt.Sprintf("%s describes %s of %q %s: %d %s %s", m.key, m.Media.Key, m.RecordingID, m.DateModified, m.Media.Size, m.Media.SHA256, compact(m.Recording)))
	}
	slices.Sort(ids)
	return ids
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return "not JSON: " + string(raw)
	}
	return b.String()
}

func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
