package integration_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// The operations of Genesys by which its work for a transfer is counted.
const (
	opList        = "get_userrecordings"
	opSummary     = "get_userrecordings_summary"
	opGet         = "get_userrecording"
	opDelete      = "delete_userrecording"
	opMedia       = "get_userrecording_media"
	opTranscoding = "get_userrecording_transcoding"
	opMe          = "get_users_me"
	opToken       = "oauth_token"
	opLink        = "media_link"
)

// manyRecordings is the size of inbox that archiverd is promised for.
const manyRecordings = 500

// TestPromise is the main one: an inbox of 500 recordings is archived exactly, once,
// whatever interrupts it, and its originals are deleted only after that.
func TestPromise(t *testing.T) {
	for _, c := range []struct {
		name  string
		store func(testing.TB) *storagetest.Server
		cloud genesystest.Options
	}{
		{"versitygw", storagetest.Versitygw, genesystest.Options{Queued: 1, DeletedListings: -1}},
		{"MinIO, unknown lengths", storagetest.MinIO, genesystest.Options{
			Order: genesystest.Shuffled, DeletedListings: -1, Links: genesystest.LinkMode{Length: genesystest.Chunked}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, c.store(t), c.cloud)
			inbox := w.cloud.ClientInbox()
			fillMany(inbox)
			undisturbed := w.archivesOnce(inbox)

			w = place(t, w.cloud, w.s3) // the same again, in a bucket of its own
			disturbed := w.archivesThoughKilled(inbox)
			if d := cmp.Diff(undisturbed.identities(), disturbed.identities()); d != "" {
				t.Errorf("kills left another archive: -undisturbed +disturbed\n%s", d)
			}
			w.deletesAll(inbox)
		})
	}
}

// fillMany adds recordings without any media, of a few bytes, of some seconds, and of
// more than a part of a multipart upload.
func fillMany(inbox *genesystest.Inbox) {
	day := time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)
	sizes := rand.New(rand.NewPCG(1, 2))
	for n := range manyRecordings {
		r := genesystest.Recording{ID: fmt.Sprintf("5f9c1e2a-0000-4000-8000-%012d", n), DateCreated: day.Add(time.Duration(n) * time.Hour)}
		switch {
		case n%25 == 3:
			r.Empty = true
		case n%60 == 7:
			r.Size = 9<<20 + sizes.Int64N(11<<20)
		case n%2 == 0:
			r.Size = 16 + sizes.Int64N(200)
		default:
			r.Size = sizes.Int64N(200 << 10)
		}
		inbox.Add(r)
	}
}

// archivesOnce makes one run, and a second that finds nothing to do.
func (w *world) archivesOnce(inbox *genesystest.Inbox) archive {
	w.Helper()
	w.once(0)
	a := w.wantArchived(all(inbox))
	w.wantState(state.StateArchived, inbox)
	before, asked := w.holdings(), w.transfers()
	w.once(0)
	if n := w.transfers() - asked; n != 0 {
		w.Errorf("the second run asked Genesys %d times for media", n)
	}
	if d := cmp.Diff(before, w.holdings()); d != "" {
		w.Errorf("the second run changed the bucket: -before +after\n%s", d)
	}
	w.noUploads(a)
	return a
}

// transfers counts what Genesys was asked for to download anything.
func (w *world) transfers() int {
	return w.cloud.Requests(opTranscoding) + w.cloud.Requests(opMedia) + w.cloud.Requests(opLink)
}

// moment is when a run is killed: before a media link is answered, or before or after
// a write has its effect in the store.
type moment struct {
	link  bool
	n     int
	after bool
}

func (w *world) archivesThoughKilled(inbox *genesystest.Inbox) archive {
	w.Helper()
	t := w.tapped()
	moments := rand.New(rand.NewPCG(3, 4))
	for k := range 8 {
		w.killedAt(t, moment{link: k%4 == 3, n: 1 + moments.IntN(120), after: k%2 == 0})
	}
	w.once(0)
	a := w.wantArchived(all(inbox))
	w.wantState(state.StateArchived, inbox)
	w.wantTold("archived", inbox.IDs())
	w.once(0) // an upload that the last kill left is forgotten once two runs aborted it
	// The store may have more: an upload whose creation was answered to nobody is known
	// to nobody, and a part that was under way at a kill can outlive the upload's end.
	if left := w.uploads(); len(left) > 0 {
		w.Errorf("the ledger still knows the uploads %v", left)
	}
	return a
}

// killedAt starts a run and kills it at a moment that it is sure to reach.
func (w *world) killedAt(t *tap, m moment) {
	w.Helper()
	started := make(chan *process, 1)
	kill := func() { // whoever meets the moment
		p := <-started
		p.kill()
		started <- p
	}
	if m.link {
		w.cloud.Inject(genesystest.Fault{Op: opLink, Skip: m.n, Effect: genesystest.Effect{Name: "kill", Before: func(http.ResponseWriter, *http.Request) bool {
			kill()
			return false
		}}})
	} else {
		t.watch(func(n int, _ *http.Request, done bool) {
			if n == m.n && done == m.after {
				kill()
			}
		})
	}
	p := w.start("run", "--once")
	started <- p
	if r := p.wait(); r.code != -1 {
		w.Fatalf("not killed at %+v: %s", m, r)
	}
	t.watch(nil)
}

// noUploads looks for unfinished multipart uploads, where there can be any.
func (w *world) noUploads(a archive) {
	w.Helper()
	for _, key := range keysOf(a.media) {
		if a.media[key].size > 8<<20 && len(w.unfinished(key)) > 0 {
			w.Errorf("%s has an unfinished upload", key)
		}
	}
	if left := w.uploads(); len(left) > 0 {
		w.Errorf("the ledger still knows the uploads %v", left)
	}
}

// uploads are those that the ledger knows.
func (w *world) uploads() (known []state.UploadRef) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) (err error) {
		known, err = l.Uploads(w.Context(), "", "")
		return err
	})
	return known
}

// unfinished gives the ids of a key's uploads in the store. MinIO lists no others.
func (w *world) unfinished(key string) (ids []string) {
	w.Helper()
	out, err := w.s3.Client().ListMultipartUploads(w.Context(), &s3.ListMultipartUploadsInput{Bucket: &w.bucket, Prefix: &key})
	if err != nil {
		w.Fatal(err)
	}
	for _, u := range out.Uploads {
		ids = append(ids, *u.UploadId)
	}
	return ids
}

// deletesAll lets the originals be deleted. The world's guard looks into the bucket
// before each.
func (w *world) deletesAll(inbox *genesystest.Inbox) {
	w.Helper()
	ids, kept := slices.Sorted(slices.Values(inbox.IDs())), []string(nil)
	ids = slices.DeleteFunc(ids, func(id string) bool {
		if inbox.Spec(id, w.format()).Empty { // durationMilliseconds is 0: unclear
			kept = append(kept, id)
		}
		return slices.Contains(kept, id)
	})
	before := w.holdings()
	w.deleting()
	w.once(0)
	w.wantState(state.StateDeleteRequested, inbox, ids...)
	w.cloud.Settle()
	if left := slices.Sorted(slices.Values(inbox.IDs())); !slices.Equal(left, kept) {
		w.Errorf("%d recordings are left in the inbox, want the %d that are empty", len(left), len(kept))
	}
	w.once(0)
	if len(kept) > 0 {
		w.wantState(state.StateArchived, inbox, kept...)
	}
	w.wantState(state.StateDeleted, inbox, ids...)
	if n := w.cloud.Requests(opDelete); n != len(ids) {
		w.Errorf("%d deletions were asked for, of %d recordings", n, len(ids))
	}
	if d := cmp.Diff(before, w.holdings()); d != "" {
		w.Errorf("deleting originals changed the bucket: -before +after\n%s", d)
	}
	w.wantArchived(some(inbox, slices.Concat(ids, kept)...))
	w.wantTold("archived", slices.Concat(ids, kept))
	w.wantTold("deleted", ids)
}
