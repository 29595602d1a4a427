package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// locking gives what is archived from now on a lock of a year.
func (w *world) locking() {
	section := w.storageSection()
	section["object_lock"] = map[string]any{"mode": "governance", "retain_for": "1y"}
	w.config["storage"] = section
}

// damage is something that happens to a stored object.
type damage struct {
	name       string
	head, read string // the fault that verify finds by HEAD and with --read; "": none
	manifest   bool   // it happens to the manifest, not to the media
	do         func(w *world, key, version string)
}

// onAnyStore is what anyone with enough rights can do to a versioned, locked bucket.
var onAnyStore = []damage{
	{"nothing", "", "", false, func(*world, string, string) {}},
	{"media removed", "missing", "missing", false, (*world).removeVersion},
	{"manifest removed", "missing", "missing", true, (*world).removeVersion},
	{"media hidden", "hidden", "hidden", false, (*world).hide},
	{"manifest hidden", "hidden", "hidden", true, (*world).hide},
	{"media covered", "overwritten", "overwritten", false, (*world).cover},
	{"manifest covered", "overwritten", "overwritten", true, (*world).cover},
	{"lock of media shortened", "lock", "lock", false, (*world).shortenLock},
	{"lock of manifest shortened", "lock", "lock", true, (*world).shortenLock},
}

func (w *world) removeVersion(key, version string) {
	w.Helper()
	_, err := w.s3.Client().DeleteObject(w.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: aws.Bool(true)})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) hide(key, _ string) {
	w.Helper()
	if _, err := w.s3.Client().DeleteObject(w.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: &key}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) cover(key, _ string) {
	w.Helper()
	_, err := w.s3.Client().PutObject(w.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: &key,
		Body: strings.NewReader("not by archiverd"), Metadata: map[string]string{"recording": "another"}}) // without any, versitygw keeps the old ones
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) shortenLock(key, version string) {
	w.Helper()
	_, err := w.s3.Client().PutObjectRetention(w.Context(), &s3.PutObjectRetentionInput{
		Bucket: &w.bucket, Key: &key, VersionId: &version, BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(48 * time.Hour))},
	})
	if err != nil {
		w.Fatal(err)
	}
}

// expire lets a lifecycle rule announce that the object will be removed.
func (w *world) expire(key, _ string) {
	w.Helper()
	_, err := w.s3.Client().PutBucketLifecycleConfiguration(w.Context(), &s3.PutBucketLifecycleConfigurationInput{
		Bucket: &w.bucket,
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{{
			ID: aws.String("expire"), Status: types.ExpirationStatusEnabled,
			Filter:     &types.LifecycleRuleFilter{Prefix: &key},
			Expiration: &types.LifecycleExpiration{Days: aws.Int32(30)},
		}}},
	})
	if err != nil {
		w.Fatal(err)
	}
}

// file is where the store keeps an object's bytes: the object itself for versitygw,
// the only part of it for MinIO.
func (w *world) file(key string) string {
	w.Helper()
	path := filepath.Join(w.s3.Dir, "data", w.bucket, filepath.FromSlash(key))
	found := ""
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && (p == path || d.Name() == "part.1") {
			found = p
		}
		return err
	})
	if err != nil || found == "" {
		w.Fatalf("no file of %s: %v", key, err)
	}
	return found
}

func (w *world) flipOnDisk(key, _ string) {
	w.Helper()
	w.editFile(w.file(key), func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
}

func (w *world) tearOnDisk(key, _ string) {
	w.Helper()
	w.editFile(w.file(key), func(b []byte) []byte { return b[:len(b)/2] })
}

func (w *world) editFile(path string, edit func([]byte) []byte) {
	w.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, edit(b), 0o600)
	}
	if err != nil {
		w.Fatal(err)
	}
}

// verified runs verify and gives its findings by recording, and its totals.
func (w *world) verified(code int, args ...string) (map[string]string, verifyTotals) {
	w.Helper()
	r := w.expect(code, append([]string{"verify", "--json"}, args...)...)
	found := map[string]string{}
	var totals verifyTotals
	for line := range strings.Lines(r.stdout) {
		var f struct {
			Type, Fault, Recording, Key, Detail string
			verifyTotals
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			w.Fatalf("%v: %s", err, line)
		}
		switch {
		case f.Type == "totals":
			totals = f.verifyTotals
		case found[f.Recording] != "" || f.Key == "" || f.Detail == "":
			w.Errorf("not one full finding for %s: %s", f.Recording, line)
		default:
			found[f.Recording] = f.Fault
		}
	}
	faulty := 0
	for _, n := range totals.Faulty {
		faulty += n
	}
	if totals.Objects == 0 || totals.Objects != totals.Sound+faulty {
		w.Errorf("the totals do not add up: %+v", totals)
	}
	return found, totals
}

type verifyTotals struct {
	Objects, Sound, Read, Bytes int
	Faulty                      map[string]int
	KnownBad                    int    `json:"known_bad"`
	SizeOnly                    int    `json:"size_only"`
	Seed                        string `json:"seed"`
}

// TestVerify damages one recording in each way that there is, and wants each found
// for what it is, by HEAD as far as that can show it and by reading.
func TestVerify(t *testing.T) {
	for _, c := range []struct {
		name    string
		store   func(testing.TB) *storagetest.Server
		damages []damage
	}{
		{"versitygw", storagetest.Versitygw, []damage{
			{"media flipped", "", "altered", false, (*world).flipOnDisk},
			{"manifest flipped", "", "altered", true, (*world).flipOnDisk},
			{"media torn", "altered", "altered", false, (*world).tearOnDisk},
			{"manifest torn", "altered", "altered", true, (*world).tearOnDisk},
		}},
		{"MinIO", storagetest.MinIO, []damage{
			{"media flipped", "", "unreadable", false, (*world).flipOnDisk}, // MinIO sees it itself, and gives nothing
			{"media torn", "", "unreadable", false, (*world).tearOnDisk},
			{"media expires", "expires", "expires", false, (*world).expire},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, c.store(t), genesystest.Options{})
			w.locking()
			inbox := w.cloud.ClientInbox()
			damages := slices.Concat(onAnyStore, c.damages)
			for i := range damages {
				inbox.Add(genesystest.Recording{ID: recordingID(i), Size: 200 << 10})
			}
			w.once(0)
			for _, args := range [][]string{nil, {"--read"}} {
				if found, totals := w.verified(0, args...); len(found) > 0 || totals.Objects != 2*len(damages) || totals.SizeOnly > 0 {
					t.Errorf("a clean archive: verify %v finds %v, %+v", args, found, totals)
				}
			}
			entries := w.entries(inbox)
			wantHead, wantRead := map[string]string{}, map[string]string{}
			for i, d := range damages {
				id := recordingID(i)
				v := entries[id].Versions[0]
				key, version := v.MediaKey, v.MediaVersionID
				if d.manifest {
					key, version = v.ManifestKey, v.ManifestVersionID
				}
				d.do(w, key, version)
				if d.head != "" {
					wantHead[id] = d.head
				}
				if d.read != "" {
					wantRead[id] = d.read
				}
			}
			head, _ := w.verified(6)
			if d := cmp.Diff(wantHead, head); d != "" {
				t.Errorf("by HEAD: -want +found\n%s", d)
			}
			read, _ := w.verified(6, "--read")
			if d := cmp.Diff(wantRead, read); d != "" {
				t.Errorf("with --read: -want +found\n%s", d)
			}
			if r := w.expect(6, "verify"); !strings.Contains(r.stdout, "missing: genesys/media/") || !strings.Contains(r.stdout, "lock") {
				t.Errorf("the text does not tell: %s", r)
			}
		})
	}
}

// TestVerifyUnversioned looks at a bucket without versions, where what lies in a place
// is all there is.
func TestVerifyUnversioned(t *testing.T) {
	for name, store := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, store(t), genesystest.Options{})
			w.bucket = w.s3.NewBucket(t, false)
			inbox := w.cloud.ClientInbox()
			fill(inbox, 7)
			w.once(0)
			if found, _ := w.verified(0, "--read"); len(found) > 0 {
				t.Errorf("a clean archive: %v", found)
			}
			entries := w.entries(inbox)
			at := func(id string) state.Version { return entries[id].Versions[0] }
			w.cover(at("r000").MediaKey, "")
			w.rewrite(at("r001").MediaKey, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
			w.rewrite(at("r002").ManifestKey, func(b []byte) []byte { return b[:len(b)/2] })
			w.hide(at("r003").MediaKey, "")
			forged := w.rewrite(at("r004").ManifestKey, func(b []byte) []byte {
				return bytes.ReplaceAll(b, []byte(at("r004").SHA256), []byte(at("r005").SHA256))
			})
			w.withLedger(func(l *bolt.Ledger) error {
				k := state.Key{Org: "acme", Inbox: inbox.ID, Recording: "r004"}
				_, err := l.Move(t.Context(), k, state.StateArchived, state.StateArchived, func(e *state.Entry) { e.Versions[0].ManifestSHA256 = hexSum(forged) })
				if err != nil {
					return err
				}
				k.Recording = "r005"
				_, err = l.Move(t.Context(), k, state.StateArchived, state.StateArchived, func(e *state.Entry) { e.BadKeys = []string{"genesys/bad"} })
				return err
			})
			want := map[string]string{"r000": "foreign", "r001": "altered", "r002": "altered", "r003": "missing", "r005": "known bad"}
			head, totals := w.verified(6)
			if d := cmp.Diff(want, head); d != "" || totals.KnownBad != 1 {
				t.Errorf("by HEAD: %+v -want +found\n%s", totals, d)
			}
			want["r004"] = "manifest"
			read, _ := w.verified(6, "--read")
			if d := cmp.Diff(want, read); d != "" {
				t.Errorf("with --read: -want +found\n%s", d)
			}
		})
	}
}

// rewrite replaces an object's bytes and leaves its metadata.
func (w *world) rewrite(key string, edit func([]byte) []byte) []byte {
	w.Helper()
	head, err := w.s3.Client().HeadObject(w.Context(), &s3.HeadObjectInput{Bucket: &w.bucket, Key: &key})
	if err != nil {
		w.Fatal(err)
	}
	body, err := w.read(key)
	if err != nil {
		w.Fatal(err)
	}
	body = edit(body)
	_, err = w.s3.Client().PutObject(w.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(body), Metadata: head.Metadata})
	if err != nil {
		w.Fatal(err)
	}
	return body
}

// TestVerifySample reads the same part again for the same seed.
func TestVerifySample(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	fill(w.cloud.ClientInbox(), 60)
	w.once(0)
	_, first := w.verified(0, "--read", "--sample", "25%")
	if first.Read == 0 || first.Read == first.Objects || first.Seed == "" {
		t.Errorf("a quarter of %d objects: %d read, seed %q", first.Objects, first.Read, first.Seed)
	}
	_, again := w.verified(0, "--read", "--sample", "25%", "--seed", first.Seed)
	if d := cmp.Diff(first, again); d != "" {
		t.Errorf("the seed draws another sample: %s", d)
	}
	for _, args := range [][]string{{"--sample", "5%"}, {"--read", "--sample", "0"}, {"--read", "--sample", "x"}, {"--inbox", "nobody"}} {
		w.expect(2, append([]string{"verify"}, args...)...)
	}
}

// goneAfter forwards to the store until n requests have been answered; then another
// answers for it.
func (w *world) goneAfter(n *atomic.Int64, other http.HandlerFunc) {
	w.Helper()
	target, err := url.Parse(w.s3.Endpoint)
	if err != nil {
		w.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if n.Add(-1) < 0 {
			other(rw, r)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	w.Cleanup(server.Close)
	w.endpoint = server.URL
}

// TestVerifyStoreGoesAway lets the store go away while it is being looked at, by
// reconcile too. Nothing may be called missing then.
func TestVerifyStoreGoesAway(t *testing.T) {
	gone := map[string]http.HandlerFunc{
		"503":           func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusServiceUnavailable) },
		"proxy's 404":   func(rw http.ResponseWriter, r *http.Request) { http.NotFound(rw, r) },
		"no connection": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no such bucket": func(rw http.ResponseWriter, r *http.Request) {
			rw.WriteHeader(http.StatusNotFound)
			if r.Method != http.MethodHead {
				fmt.Fprint(rw, `<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>`)
			}
		},
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			left := new(atomic.Int64)
			left.Store(1e9)
			w.goneAfter(left, gone[name])
			fill(w.cloud.ClientInbox(), 20)
			w.once(0)
			for _, command := range []string{"verify", "reconcile"} {
				left.Store(12)
				if r := w.run(command); r.code != 5 || strings.Contains(r.stdout, "missing") {
					t.Errorf("%s: want exit code 5 and nothing missing, got %s", command, r)
				}
			}
		})
	}
}
