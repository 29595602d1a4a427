package integration_test

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// await waits for requests to arrive. Only a test that fails waits long.
func (w *world) await(op string, n int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), commandTimeout)
	defer cancel()
	if err := w.cloud.Await(ctx, op, n); err != nil {
		w.Fatal(err)
	}
}

// TestStopFinishes wants transfers under way finished, and no others begun, after
// SIGTERM.
func TestStopFinishes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.config["transfer"] = map[string]any{"min_age": "0s", "workers": 2}
	inbox := w.cloud.ClientInbox()
	fill(inbox, 200)
	w.cloud.Inject(genesystest.Fault{Op: opLink, Times: 2, Effect: w.cloud.Stall()})
	p := w.start("run", "--once")
	w.await(opLink, 2)
	p.terminate(t)
	w.cloud.Release()
	if r := p.wait(); r.code != 5 {
		t.Fatalf("want exit code 5: %s", r)
	}
	archived := 0
	entries := w.entries(inbox)
	for _, e := range entries {
		if e.State == state.StateArchived {
			archived++
		}
	}
	if archived < 2 || archived > 100 {
		t.Errorf("%d of 200 are archived, want those under way", archived)
	}
	for _, e := range w.cloud.Events() {
		if e.Op == opLink && entries[e.Recording].State != state.StateArchived {
			t.Errorf("the transfer of %s was not finished", e.Recording)
		}
	}
	w.once(0)
	w.wantArchived(all(inbox))
	if n := w.cloud.Requests(opLink); n != 200 {
		t.Errorf("%d downloads for 200 recordings", n)
	}
}

// TestStopAbandons wants nothing half left where a transfer outlasts shutdown_grace.
func TestStopAbandons(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.config["shutdown_grace"] = "0s"
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "long", Size: 20 << 20})
	w.cloud.Inject(genesystest.Fault{Op: opLink, Effect: w.cloud.StallAfter(9 << 20)})
	uploading := make(chan struct{})
	begun := sync.OnceFunc(func() { close(uploading) })
	w.tapped().watch(func(_ int, r *http.Request, done bool) {
		if done && r.URL.Query().Has("partNumber") {
			begun()
		}
	})
	p := w.start("run", "--once")
	select {
	case <-uploading:
	case <-p.ended:
		t.Fatalf("no part was uploaded: %s", p.wait())
	}
	p.terminate(t)
	if r := p.wait(); r.code != 5 {
		t.Fatalf("want exit code 5: %s", r)
	}
	a := w.wantArchived()
	if ids := w.unfinished("genesys/"); len(ids) > 0 || len(a.media) > 0 {
		t.Errorf("left: unfinished uploads %v, objects %v", ids, a.media)
	}
	w.once(0)
	w.once(0) // forgets
	w.noUploads(w.wantArchived(all(inbox)))
}

// TestForgottenUpload wants an upload ended that a killed process left behind.
func TestForgottenUpload(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	key := "genesys/media/org=acme/inbox=client/undated/left.wav"
	up, err := w.s3.Client().CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &w.bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	number := int32(1)
	_, err = w.s3.Client().UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &w.bucket, Key: &key, UploadId: up.UploadId, PartNumber: &number, Body: bytes.NewReader(make([]byte, 5<<20))})
	if err != nil {
		t.Fatal(err)
	}
	w.withLedger(func(l *bolt.Ledger) error {
		return l.AddUpload(t.Context(), state.UploadRef{Key: key, ID: *up.UploadId, Started: time.Now()})
	})
	w.once(0)
	w.once(0) // forgets
	if ids := w.unfinished(key); len(ids) > 0 || len(w.uploads()) > 0 {
		t.Errorf("unfinished uploads are left: %v, %v", ids, w.uploads())
	}
	w.wantArchived(all(inbox))
}

// TestSecondSignal ends at once what the first signal left to be finished.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.config["shutdown_grace"] = "1h"
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.cloud.Inject(genesystest.Fault{Op: opLink, Times: genesystest.Always, Effect: w.cloud.Stall()})
	p := w.start("run", "--once")
	w.await(opLink, 1)
	again := time.NewTicker(20 * time.Millisecond) // two at once can count as one
	defer again.Stop()
	for ended := false; !ended; {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-p.ended:
			ended = true
		case <-again.C:
		}
	}
	if r := p.wait(); r.code != -1 {
		t.Errorf("not ended by the signal itself: %s", r)
	}
	w.cloud.ClearFaults()
	w.once(0)
	w.wantArchived(all(inbox))
}

// TestScheduled wants runs on the schedule, and exit 0 for a stop, also amid a run.
func TestScheduled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.config["schedule"] = map[string]any{"cron": "@every 1s"}
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	p := w.start("run")
	w.await(opSummary, 2)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Times: genesystest.Always, Effect: w.cloud.Stall()})
	inbox.Add(genesystest.Recording{ID: "late"})
	w.await(opTranscoding, 4)
	p.terminate(t)
	w.cloud.Release()
	if r := p.wait(); r.code != 0 {
		t.Fatalf("want exit code 0: %s", r)
	}
	w.once(0)
	w.wantArchived(all(inbox))
}
