package archiver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// many makes n users with one recording each.
func (r *rig) many(n int) (all []Inbox) {
	for i := range n {
		u := r.Cloud.AddUser(fmt.Sprintf("user-%02d", i), "U", "")
		u.Add(genesystest.Recording{ID: "rec-01", Duration: 50 * time.Millisecond})
		r.Login(u)
		all = append(all, r.inboxOf(u))
	}
	return all
}

// Promise 7: what meets every inbox ends the run, before those that have not begun
// ask anybody anything.
func TestNoBucketStopsTheRun(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	all := r.many(3 * maxWalks)
	r.Bucket = "no-such-bucket"
	report := r.archiver().Run(t.Context(), t.Context(), all)
	asked := map[string]bool{}
	for _, e := range r.Cloud.Events() {
		asked[e.Inbox] = true
	}
	idle := 0
	for _, in := range report.Inboxes {
		archivertest.WantErr(t, in.Err, failure.KindConfiguration)
		if strings.Contains(fmt.Sprint(in.Err), "not done, since another inbox met this") && !asked[in.Inbox] {
			idle++
		}
	}
	if idle == 0 {
		t.Errorf("all of %d inboxes found out for themselves", len(all))
	}
}

// A failure of one organization's client ends that organization's passes, not others'.
func TestClientRefusedStopsItsOrganizationOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	all := r.many(maxWalks + 2)
	refused := &genesys.Error{Op: opList, Status: 403, Code: "app.not.authorized.for.scope", Parsed: true}
	for i := range all[:maxWalks+1] {
		all[i].Org = "other"
		all[i].API = &shapedAPI{recordingsAPI: all[i].API, refuse: func(genesys.ListParams) error { return refused }}
		if err := r.Ledger.EditInbox(t.Context(), "other", all[i].ID, func(*state.Inbox) {}); err != nil {
			t.Fatal(err)
		}
	}
	report := r.archiver().Run(t.Context(), t.Context(), all)
	for _, in := range report.Inboxes {
		if in.Org == "other" {
			archivertest.WantErr(t, in.Err, failure.KindClientRefused)
		} else if in.Err != nil || in.Pass.Archived != 1 {
			t.Errorf("%s/%s: %d archived, %v", in.Org, in.Inbox, in.Pass.Archived, in.Err)
		}
	}
}

// A ledger that can't be written ends the pass: what is not written down is not done.
func TestLedgerFailureEndsThePass(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.Workers = 1
	r.Add(30)
	failing := func(o *Options) { o.Ledger = brokenLedger{o.Ledger} }
	archivertest.WantErr(t, r.pass(deleting, failing).Err, failure.KindLedger, "disk full")
	if n := len(r.Requests(opLink)); n > 2 {
		t.Errorf("%d downloads that nobody wrote down", n)
	}
	if sent := r.Requests(opDelete); len(sent) != 0 {
		t.Errorf("deleted %q", sent)
	}
	r.passed()
	r.WantArchived("rec-30")
	if n := len(r.Requests(opLink)); n != 30 {
		t.Errorf("%d downloads of 30 recordings", n)
	}
}

// brokenLedger can't write that something is archived.
type brokenLedger struct{ ledger }

func (l brokenLedger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	c, err := l.ledger.Claim(ctx, org, inbox)
	return brokenClaim{c}, err
}

type brokenClaim struct{ state.Claim }

func (c brokenClaim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	if to == state.StateArchived {
		return state.Entry{}, errors.New("disk full")
	}
	return c.Claim.Move(ctx, recording, from, to, edit)
}

// Told to stop, a pass finishes the transfer under way and begins no other.
func TestStopFinishesTransfersUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(40)
	stop, end := context.WithCancel(t.Context())
	defer end()
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Effect: r.Cloud.Stall()})
	report := make(chan *Report)
	go func() {
		report <- r.archiver(func(o *Options) { o.Workers = 1 }).Run(context.Background(), stop, []Inbox{r.in})
	}()
	if err := r.Cloud.Await(t.Context(), opLink, 1); err != nil {
		t.Fatal(err)
	}
	end()
	r.Cloud.Release()
	got := (<-report).Inboxes[0]
	archivertest.WantErr(t, got.Err, failure.KindStopped)
	if got.Pass.Archived != 1 || len(r.Requests(opLink)) != 1 {
		t.Errorf("%d archived, %d downloads begun", got.Pass.Archived, len(r.Requests(opLink)))
	}
	r.passed()
	if n := len(r.Requests(opLink)); n != 40 {
		t.Errorf("%d downloads of 40 recordings", n)
	}
}

// Abandoned in the middle of a long body, a transfer leaves nothing behind.
func TestAbandonedTransferLeavesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.User.Add(genesystest.Recording{ID: "rec-01", Size: PartSize + PartSize/2})
	ctx, abandon := context.WithCancel(t.Context())
	defer abandon()
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Effect: r.Cloud.StallAfter(PartSize + 1000)})
	report := make(chan *Report)
	parts := make(chan struct{})
	r.Wire.Use(archivertest.Signalling("PUT media part", parts))
	a := r.archiver()
	go func() { report <- a.Run(ctx, context.Background(), []Inbox{r.in}) }()
	<-parts
	abandon()
	archivertest.WantErr(t, (<-report).Inboxes[0].Err, failure.KindStopped)
	r.Wire.Use(nil)
	if n := r.Uploads(); n != 0 {
		t.Errorf("%d uploads are under way", n)
	}
	r.wantUploadsForgotten()
	if left := r.Objects("media"); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	if e := r.WantState("rec-01", state.StateListed); e.Attempts != 0 {
		t.Errorf("being stopped counts as %d attempts", e.Attempts)
	}
}

// Three recordings that exist name the operation; one served before clears it, and
// 404s with an ErrorBody or without are the same.
func TestDownloadAPIThatIsNotServed(t *testing.T) {
	for name, absence := range map[string]genesystest.Absence{"coded": genesystest.AbsentCoded, "uncoded": genesystest.AbsentUncoded} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Echoing, false)
			r.options.Workers = 1
			r.Add(30)
			r.Cloud.Configure(func(o *genesystest.Options) { o.Transcoding = absence })
			archivertest.WantErr(t, r.pass().Err, failure.KindFailed, "download_api: transcoding is not served", "try download_api: media")
			if n := len(r.Requests(opDownload)); n > 5 {
				t.Errorf("%d requests to find out", n)
			}
			r.in.DownloadAPI = genesys.DownloadMedia
			for range eagerTries {
				r.passed()
			}
			r.WantArchived("rec-30")
		})
	}
}

// An inbox that may not ask yet holds up no other, however many there are of its
// kind, however much they have to do, and be there one worker.
func TestBusyInboxesHoldUpNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.Workers = 1
	all := r.many(maxWalks + 4)
	limited := make(chan struct{})
	for i := range all[:maxWalks+2] {
		for n := range 5 {
			r.Cloud.AddUser(all[i].ID, "U", "").Add(genesystest.Recording{ID: fmt.Sprintf("more-%d", n), Duration: 50 * time.Millisecond})
		}
		all[i].API = limitedAPI{all[i].API, limited}
	}
	report := make(chan *Report)
	go func() { report <- r.archiver().Run(t.Context(), t.Context(), all) }()
	if err := r.Cloud.Await(t.Context(), opLink, 2); err != nil {
		t.Fatal(err)
	}
	close(limited)
	for i, in := range (<-report).Inboxes {
		want := int64(1)
		if i < maxWalks+2 {
			want = 6
		}
		if in.Err != nil || in.Pass.Archived != want {
			t.Errorf("%s: %d archived of %d, %v", in.Inbox, in.Pass.Archived, want, in.Err)
		}
	}
}

// limitedAPI has no rate budget left until the channel is closed.
type limitedAPI struct {
	recordingsAPI
	until <-chan struct{}
}

func (a limitedAPI) Reserve(ctx context.Context) (*genesys.Reservation, error) {
	select {
	case <-a.until:
		return a.recordingsAPI.Reserve(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// More inboxes with much to do than are listed at a time don't keep one with a single recording waiting for their end.
func TestBacklogsDoNotStarveOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.Workers = 1
	all := r.many(maxWalks + 4)
	small := all[len(all)-1].ID // and last in every queue
	for _, in := range all[:len(all)-1] {
		u := r.Cloud.AddUser(in.ID, "", "")
		for k := range 10 {
			u.Add(genesystest.Recording{ID: fmt.Sprintf("more-%02d", k), Duration: 50 * time.Millisecond})
		}
	}
	for _, in := range r.archiver().Run(t.Context(), t.Context(), all).Inboxes {
		if in.Err != nil {
			t.Fatal(in.Err)
		}
	}
	downloads, at := 0, 0
	for _, e := range r.Cloud.Events() {
		if e.Op == opLink {
			downloads++
			if e.Inbox == small {
				at = downloads
			}
		}
	}
	if at == 0 || at > downloads/2 {
		t.Errorf("the small inbox came to its turn as number %d of %d downloads", at, downloads)
	}
}
