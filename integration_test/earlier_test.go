package integration_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/bbolt"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

var earlierBinary = flag.String("earlier", "", "the `binary` of an earlier archiverd: write its ledger and archive to testdata/earlier")

// storedObject is an object of the bucket as testdata/earlier/objects.json.gz keeps it.
type storedObject struct {
	Body        []byte
	Metadata    map[string]string
	ContentType string
	SHA256      string
}

// TestEarlierArchive takes up a ledger and a bucket that an earlier archiverd wrote
// (ledger schema 1): they are read, verified, rebuilt, gone on with, and deleted from.
func TestEarlierArchive(t *testing.T) {
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.bucket = w.s3.NewBucket(t, false) // version ids would not be the ledger's
	inbox := w.cloud.ClientInbox()
	for n := range 8 {
		inbox.Add(genesystest.Recording{
			ID: recordingID(n), Duration: 200 * time.Millisecond, Empty: n == 7,
			DateCreated: time.Date(2026, 3, 1+n, 8, 0, 0, 0, time.UTC),
		})
	}
	meanwhile := func() {
		inbox.Edit(recordingID(0), func(r *genesystest.Recording) {
			r.Duration, r.MediaDuration, r.DateModified = 300*time.Millisecond, 300*time.Millisecond, r.DateModified.Add(time.Hour)
		})
		inbox.Remove(recordingID(1))
	}
	if *earlierBinary != "" {
		w.makeEarlier(meanwhile)
	} else {
		meanwhile()
	}
	t.Parallel()
	w.restoreEarlier()
	if r := w.expect(0, "ls"); strings.Count(r.stdout, "archived") != 7 || strings.Count(r.stdout, "gone") != 1 {
		t.Errorf("ls: %s", r)
	}
	w.expect(0, "verify", "--read")
	w.expect(0, "reconcile")

	asked := w.transfers()
	w.once(0)
	if n := w.transfers() - asked; n != 0 {
		t.Errorf("the first run asked Genesys %d times for media of an earlier archive", n)
	}
	written := w.entries(inbox)
	if _, err := os.Stat(w.ledgerPath() + ".schema1"); err != nil {
		t.Errorf("no copy of the ledger from before its schema changed: %v", err)
	}
	if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
		t.Fatal(err)
	}
	w.expect(0, "rebuild")
	diff := cmp.Diff(written, w.entries(inbox), cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Second),
		cmpopts.IgnoreFields(state.Entry{}, "MissingSince", "Fingerprint", "Milliseconds"), cmpopts.IgnoreFields(state.Version{}, "Fingerprint")) // the manifests show it
	if diff != "" {
		t.Errorf("-written +rebuilt\n%s", diff)
	}

	w.expect(0, "reconcile")
	inbox.Add(genesystest.Recording{ID: "new"})
	inbox.Change(recordingID(2))
	w.deleting()
	for range 2 {
		w.once(0)
	}
	w.wantDeletion(inbox, append([]string{"new"}, recordingIDs(0, 2, 3, 4, 5, 6)...)...)
	w.wantState(state.StateGone, inbox, recordingID(1))
	w.wantState(state.StateArchived, inbox, recordingID(7)) // nothing shows that an empty recording is whole
	w.expect(0, "verify", "--read")
	w.expect(0, "reconcile")
}

func recordingIDs(numbers ...int) (ids []string) {
	for _, n := range numbers {
		ids = append(ids, recordingID(n))
	}
	return ids
}

// makeEarlier lets an earlier binary archive the inbox before and after what happens
// meanwhile, and keeps what the binary wrote.
func (w *world) makeEarlier(meanwhile func()) {
	w.Helper()
	this := binary
	binary = *earlierBinary
	defer func() { binary = this }()
	earlier := place(w.T, w.cloud, w.s3)
	earlier.bucket = w.s3.NewBucket(w, false)
	earlier.once(0)
	meanwhile()
	for range 2 {
		earlier.once(0)
	}
	earlier.keep()
	w.guardDeletions()
}

// keep writes the ledger and the bucket's objects to testdata/earlier.
func (w *world) keep() {
	w.Helper()
	all, err := w.newest("")
	if err != nil {
		w.Fatal(err)
	}
	all = slices.DeleteFunc(all, func(o object) bool { return strings.HasPrefix(o.Key, "genesys/doctor/") }) // damaged on purpose
	objects := map[string]storedObject{}
	for _, o := range all {
		out, err := w.s3.Client().GetObject(w.Context(), &s3.GetObjectInput{Bucket: &w.bucket, Key: &o.Key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			w.Fatal(err)
		}
		body, err := io.ReadAll(out.Body)
		if err != nil {
			w.Fatal(err)
		}
		objects[o.Key] = storedObject{body, out.Metadata, aws.ToString(out.ContentType), aws.ToString(out.ChecksumSHA256)}
	}
	data, err := json.Marshal(objects)
	if err != nil {
		w.Fatal(err)
	}
	file, err := os.ReadFile(w.ledgerPath())
	if err == nil {
		err = errors.Join(writeGzip("ledger.db.gz", file), writeGzip("objects.json.gz", data))
	}
	if err != nil {
		w.Fatal(err)
	}
}

func writeGzip(name string, data []byte) error {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(data); err != nil {
		return err
	}
	return errors.Join(z.Close(), os.MkdirAll("testdata/earlier", 0o755), os.WriteFile(filepath.Join("testdata/earlier", name), b.Bytes(), 0o644))
}

func (w *world) readGzip(name string) []byte {
	w.Helper()
	f, err := os.Open(filepath.Join("testdata/earlier", name))
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		w.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		w.Fatal(err)
	}
	return data
}

// restoreEarlier puts the kept objects into the bucket, and the kept ledger in its
// place. Only the addresses that the ledger is bound to become this world's.
func (w *world) restoreEarlier() {
	w.Helper()
	var objects map[string]storedObject
	if err := json.Unmarshal(w.readGzip("objects.json.gz"), &objects); err != nil {
		w.Fatal(err)
	}
	for key, o := range objects {
		in := &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(o.Body), Metadata: o.Metadata, ContentType: &o.ContentType}
		if o.SHA256 != "" {
			in.ChecksumSHA256 = &o.SHA256
		}
		if _, err := w.s3.Client().PutObject(w.Context(), in); err != nil {
			w.Fatal(err)
		}
	}
	if err := os.WriteFile(w.ledgerPath(), w.readGzip("ledger.db.gz"), 0o600); err != nil {
		w.Fatal(err)
	}
	binding, err := json.Marshal(w.binding())
	if err != nil {
		w.Fatal(err)
	}
	db, err := bbolt.Open(w.ledgerPath(), 0o600, nil)
	if err != nil {
		w.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("binding"), binding) })
	if err := errors.Join(err, db.Close()); err != nil {
		w.Fatal(err)
	}
}
