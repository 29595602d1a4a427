// Package archiver moves recordings from Genesys Cloud inboxes into an archive,
// one pass over one inbox at a time, so that a crash anywhere loses nothing.
//
// A pass has one order:
//
//	walk       list the inbox until the listing proves itself complete
//	transfer   for each recording that waits (transfer.go):
//	             1 place     a listing or HEAD finds a free key, or media to adopt
//	             2 media     download, check, hash, create-only put, HEAD proves it (store.go)
//	             3 manifest  create-only put, HEAD proves it (manifest.go)
//	             4 ledger    listed → archived (enter, in manifest.go)
//	settle     recordings that two complete walks missed are vanished or gone
//	delete     if enabled: originals whose stored objects are proved once more (delete.go)
//
// A crash between 2 and 3, or between 3 and 4, leaves an object that the next pass finds in
// step 1 and adopts: the normal code does the repair. A crash inside 2 leaves nothing
// visible, at most an upload under way; the ledger holds its id, and the next run aborts
// it. Deletion comes last, and trusts only what it proves at that moment.
//
// The package knows Genesys, the store and the ledger by the small interfaces beside Options
// and Inbox.
package archiver

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/listing"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/tally"
	"github.com/archiverd/archiverd/twins"
	"github.com/archiverd/archiverd/uploads"
)

// Options configure an Archiver. A field is required unless its comment says otherwise.
type Options struct {
	Bucket    bucket
	Ledger    ledger
	Prover    *proof.Prover // the Journal's too, so that the store is tried out once for both
	Journal   *journal.Writer
	Uploads   *uploads.Uploader
	Twins     twins.Finder
	Prefix    string        // of every key, without slashes at its ends
	Workers   int           // transfers at a time
	Memory    int64         // bytes of transfer buffers in all, at least PartSize
	Bandwidth int64         // bytes a second downloaded in all; 0: unlimited
	MinAge    time.Duration // younger recordings wait for a later pass
	Delete    Deletion
	Retention proof.Retention
	Version   string   // of archiverd, for manifests
	Observer  observer // may be nil
	Log       *slog.Logger
}

// bucket is where a pass stores media; *storage.Bucket implements it.
type bucket interface {
	record.Bucket
	Put(ctx context.Context, n storage.New, body []byte, sha256 [32]byte) (storage.Object, error)
	SetHold(ctx context.Context, key, versionID string, on bool) error
	Skew() (time.Duration, bool)
}

// ledger is what a pass asks of the ledger. What it changes, it changes through the claim.
type ledger interface {
	ID() string
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	Claim(ctx context.Context, org, inbox string) (state.Claim, error)
	Entries(ctx context.Context, org, inbox string, recordings []string) (map[string]state.Entry, error)
	Archived(ctx context.Context, org, inbox string, recordings []string) (modified []string, err error)
	Live(ctx context.Context, org, inbox, after string, limit int, skip func(recording string) bool) ([]state.KeyedEntry, error)
	Waiting(ctx context.Context, org, inbox, after string, limit int) ([]state.KeyedEntry, error)
}

// observer is called when something happens. Its methods are called concurrently, and the
// caller waits for them.
type observer interface {
	PassEnded(InboxReport)
	Retried() // a request to Genesys is sent once more
}

// Deletion says whether and when originals are deleted.
type Deletion struct {
	Enabled    bool
	After      time.Duration // since archiving and since the last change
	MaxPerPass int           // requests for a deletion
	Unproved   bool          // delete originals too of which it is not known whether the media are whole
	ReadBack   bool          // read every byte of media and manifest right before each deletion
	Halted     func() bool   // while true, no deletion is requested, not even by a pass under way; may be nil
}

func (d Deletion) allowed() bool { return d.Enabled && (d.Halted == nil || !d.Halted()) }

// Inbox is one user's recordings and the means to reach them. *genesys.Client, *genesys.Links
// and *genesys.Tokens are these means.
type Inbox struct {
	Org, ID     string
	API         recordingsAPI
	Links       linkOpener
	Identity    identity // nil for the client's own inbox, which has no user
	DownloadAPI genesys.DownloadAPI
	Format      genesys.Format
	PageSize    int
	// Under is told the claim that a pass works under before the pass sends its first
	// request, and nil when the pass has ended. May be nil.
	Under func(state.Claim)
}

type recordingsAPI interface {
	Recordings(ctx context.Context, p genesys.ListParams) (*genesys.Listing, error)
	Summary(ctx context.Context) (*genesys.Summary, error)
	Reserve(ctx context.Context) (*genesys.Reservation, error)
	Recording(ctx context.Context, id string, expand ...string) (*genesys.Recording, error)
	Download(ctx context.Context, reserved *genesys.Reservation, api genesys.DownloadAPI, id string, f genesys.Format) (*genesys.Download, error)
	DeleteRecording(ctx context.Context, id string) error
	Skew() (time.Duration, bool)
}

type linkOpener interface {
	Open(ctx context.Context, link string, at genesys.Position) (*genesys.Media, error)
}

// identity knows whose token is used for an inbox.
type identity interface {
	Confirmed() bool // users/me named the inbox's user since the last renewal
	Me(ctx context.Context, expand ...string) (*genesys.User, error)
}

// Listed returns the part of the inbox that listing it needs.
func (in Inbox) Listed() listing.Inbox {
	return listing.Inbox{Org: in.Org, ID: in.ID, API: in.API, PageSize: in.PageSize}
}

// Archiver runs passes. Its methods may be called concurrently, but only one pass
// over an inbox at a time.
type Archiver struct {
	Options
	Tally tally.Tally // of the Run under way, or the last one

	walks   *semaphore.Weighted
	workers *semaphore.Weighted
	buffers *buffers
	pace    *rate.Limiter // nil: unlimited

	journalEvery int // recordings that a pass begins between two writings of the journal
}

// New returns an Archiver.
func New(o Options) *Archiver {
	a := &Archiver{
		Options: o,
		walks:   semaphore.NewWeighted(maxWalks),
		workers: semaphore.NewWeighted(int64(o.Workers)),
		buffers: newBuffers(o.Memory, o.Workers),

		journalEvery: record.MaxEvents,
	}
	if o.Bandwidth > 0 {
		a.pace = rate.NewLimiter(rate.Limit(o.Bandwidth), int(max(o.Bandwidth, readSize)))
	}
	return a
}

// retry calls f, a request to Genesys, with retries.
func (a *Archiver) retry(ctx context.Context, f func() error) error {
	return failure.Retry(ctx, a.again, f)
}

// again notes that a request is sent once more.
func (a *Archiver) again(err error) {
	a.Log.Debug("trying again", "error", err)
	if a.Observer != nil {
		a.Observer.Retried()
	}
}

const (
	// maxWalks bounds the inboxes that are listed at a time. The number of passes has no
	// bound, so an inbox with many recordings to transfer does not keep others from being
	// listed.
	maxWalks = 16
	// maxBegun bounds the recordings that all passes together have begun and not finished.
	// Most of them wait for Genesys to transcode, and hold no worker.
	maxBegun = 512
)

// Run makes one pass over each inbox, side by side. Only one Run may be under way at a
// time. The end of stop ends it soon: nothing new begins, and transfers under way are
// finished. The end of ctx abandons those too; no part of what they wrote is ever visible.
// A failure of the store or the ledger ends every pass. A failure of an organization's
// client ends all passes of that organization.
func (a *Archiver) Run(ctx, stop context.Context, inboxes []Inbox) *Report {
	r := &Report{Start: time.Now().UTC(), Inboxes: make([]InboxReport, len(inboxes))}
	a.Tally.Begin(len(inboxes))
	stop, stopAll := context.WithCancelCause(stop)
	defer stopAll(nil)
	type orgRun struct {
		ctx    context.Context
		cancel context.CancelCauseFunc
		shared *twins.Register
	}
	orgs := map[string]orgRun{}
	swept := make([]uploads.Inbox, len(inboxes))
	for i, in := range inboxes {
		swept[i] = uploads.Inbox{Org: in.Org, ID: in.ID}
		if _, ok := orgs[in.Org]; !ok {
			ctx, cancel := context.WithCancelCause(stop)
			defer cancel(nil)
			orgs[in.Org] = orgRun{ctx, cancel, a.Twins.Register(in.Org)}
		}
		orgs[in.Org].shared.Transferring.Add(1)
	}
	if err := a.Uploads.Sweep(ctx, swept); err != nil {
		stopAll(err)
	}
	begun := min(max(2, maxBegun/max(1, len(inboxes))), a.Workers*begunPerWorker)
	var g errgroup.Group
	for i, in := range inboxes {
		g.Go(func() error {
			org := orgs[in.Org]
			p := a.newPass(org.ctx, in)
			p.limits = limits{begun, org.shared}
			r.Inboxes[i] = p.make(ctx, func(err error) {
				switch {
				case failure.EndsRun(err), failure.Temporary(err) && failure.OfStore(err):
					stopAll(fmt.Errorf("not done, since another inbox met this: %w", err))
				case genesys.AsError(err).OfClient(), genesys.AsError(err).Silent():
					org.cancel(fmt.Errorf("not done, since another inbox met this: %w", err))
				}
			})
			a.Tally.InboxesDone.Add(1)
			return nil
		})
	}
	_ = g.Wait()     // no error: each pass reports its own
	a.buffers.drop() // a service needs no buffers until its next run
	r.End = time.Now().UTC()
	return r
}
