package integration_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// put writes an object as anyone with access to the bucket could.
func (w *world) put(key string, body []byte) {
	w.Helper()
	_, err := w.s3.Client().PutObject(w.Context(), &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		w.Fatal(err)
	}
}

func TestGet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "r000", Size: 9 << 20})
	inbox.Add(genesystest.Recording{ID: "empty", Empty: true})
	w.once(0)
	w.expect(0, "get", "r000")
	w.wantFile(filepath.Join(w.dir, "r000.wav"), inbox, "r000")
	w.expect(0, "get", "empty", "-o", "there")
	w.wantFile(filepath.Join(w.dir, "there"), inbox, "empty")
	w.wantBytes([]byte(w.expect(0, "get", "r000", "-o", "-").stdout), inbox, "r000")

	first := w.expect(0, "get", "r000", "-o", "-").stdout
	inbox.Change("r000")
	w.once(0)
	w.wantBytes([]byte(w.expect(0, "get", "r000", "-o", "-").stdout), inbox, "r000")
	if w.expect(0, "get", "r000", "--number", "1", "-o", "-").stdout != first {
		t.Error("the first version is not the one archived first")
	}
	w.expect(2, "get", "r000", "--number", "3")
	w.expect(2, "get", "unknown")
}

// TestGetAltered alters what the archive holds. Its bucket has no versions, in which
// the archived bytes would survive.
func TestGetAltered(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.bucket = w.s3.NewBucket(t, false)
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.once(0)
	a := w.wantArchived(all(inbox))
	flipped := a.of(inbox, "r000")[0].Media.Key
	body, err := w.read(flipped)
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)/2] ^= 1
	w.put(flipped, body)
	removed := a.of(inbox, "r001")[0].Media.Key
	if _, err := w.s3.Client().DeleteObject(w.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: &removed}); err != nil {
		t.Fatal(err)
	}
	for id, says := range map[string][]string{"r000": {flipped, "SHA-256"}, "r001": {removed, "lacks"}} {
		for _, out := range []string{"out.wav", "-"} {
			r := w.expect(6, "get", id, "-o", out)
			for _, want := range says {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("%q is not said: %s", want, r)
				}
			}
		}
	}
	if left, err := filepath.Glob(filepath.Join(w.dir, "out.wav*")); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	w.deleting() // nor is an original deleted that the archive has no more
	w.run("run", "--once")
	if ids := deletedIDs(w.cloud); len(ids) != 1 || ids[0] != "r002" {
		t.Errorf("deletions were asked for: %v, want that of r002 alone", ids)
	}
}

func deletedIDs(c *genesystest.Cloud) (ids []string) {
	for _, e := range c.Events() {
		if e.Op == opDelete {
			ids = append(ids, e.Recording)
		}
	}
	return ids
}

// TestForeign finds objects of nobody knows whom where recordings should go.
func TestForeign(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.once(0)
	a := w.archive()
	media, described := a.of(inbox, "r000")[0].Media.Key, a.of(inbox, "r001")[0].key

	w = place(t, w.cloud, w.s3) // where they go is known now
	ids := inbox.IDs()
	for _, id := range ids {
		inbox.Remove(id)
	}
	inbox.Add(genesystest.Recording{ID: "first"}) // a ledger that knows nothing would refuse the bucket
	w.once(0)
	for _, id := range ids {
		inbox.Restore(id)
	}
	foreign := []byte("not by archiverd")
	w.put(media, foreign)
	w.put(described, foreign)
	r := w.once(6)
	if !strings.Contains(r.stdout+r.stderr, media) {
		t.Errorf("the foreign object is not named: %s", r)
	}
	for _, key := range []string{media, described} {
		if body, err := w.read(key); err != nil || !bytes.Equal(body, foreign) {
			t.Errorf("%s was touched: %q, %v", key, body, err)
		}
	}
	for id, want := range map[string]string{"r000": strings.Replace(media, ".wav", "~2.wav", 1), "r001": "r001.wav", "r002": "r002.wav"} {
		w.expect(0, "get", id, "-o", id)
		w.wantFile(filepath.Join(w.dir, id), inbox, id)
		if v := w.entries(inbox)[id].Versions; len(v) != 1 || !strings.HasSuffix(v[0].MediaKey, want) {
			t.Errorf("%s has the versions %v, want one at %s", id, v, want)
		}
	}
	w.once(0)
}
