package archiver

import (
	"context"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/state"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

const (
	org, user               = archivertest.Org, archivertest.UserID
	opList, opGet, opDelete = archivertest.OpList, archivertest.OpGet, archivertest.OpDelete
	opDownload, opLink      = archivertest.OpDownload, archivertest.OpLink
)

// rig is a world with the passes over its inbox.
type rig struct {
	*archivertest.World
	options Options // of every Archiver that the rig makes
	in      Inbox
	claim   state.Claim // of the pass that begin made; nil: none
}

func newRig(t *testing.T, on *archivertest.Server, lock bool) *rig {
	t.Helper()
	r := &rig{World: archivertest.New(t, on, lock)}
	r.options = Options{
		Prefix: "genesys", Workers: 2, Memory: 2 * PartSize, Version: archivertest.Version,
		Retention: proof.Retention{Until: func(from time.Time) time.Time { return from.AddDate(7, 0, 0) }},
		Delete:    Deletion{MaxPerPass: 1000},
		Log:       r.Log,
	}
	if lock {
		r.options.Retention.Mode = "GOVERNANCE"
	}
	r.in = r.inboxOf(r.User)
	return r
}

// inboxOf is one user's inbox, as the service reaches it.
func (r *rig) inboxOf(u *genesystest.Inbox) Inbox {
	c := r.Clients(u)
	return Inbox{
		Org: org, ID: u.ID, API: c.API, Links: c.Links, Identity: c.Identity,
		DownloadAPI: genesys.DownloadTranscoding, Format: r.Format, PageSize: 100,
	}
}

// archiver makes one, as a new process would: what an earlier one claimed is free.
func (r *rig) archiver(edit ...func(*Options)) *Archiver {
	r.T.Helper()
	if r.claim != nil {
		if err := r.claim.Release(context.Background()); err != nil {
			r.T.Fatal(err)
		}
		r.claim = nil
	}
	o := r.options
	b := r.Store()
	o.Bucket, o.Ledger = b, r.Ledger
	for _, f := range edit {
		f(&o)
	}
	o.Prover, o.Journal, o.Uploads, o.Twins = r.Parts(b, o.Retention)
	return New(o)
}

// begin makes a pass that has its claim, and has done nothing.
func (r *rig) begin(a *Archiver) *pass {
	r.T.Helper()
	p := a.newPass(context.Background(), r.in)
	r.T.Cleanup(func() { p.halt(nil) })
	var err error
	if r.claim, err = r.Ledger.Claim(context.Background(), r.in.Org, r.in.ID); err != nil {
		r.T.Fatal(err)
	}
	p.claim = r.claim
	return p
}

// pass runs one pass over the inbox in a new process.
func (r *rig) pass(edit ...func(*Options)) InboxReport {
	r.T.Helper()
	ctx := context.Background()
	return r.archiver(edit...).Run(ctx, ctx, []Inbox{r.in}).Inboxes[0]
}

// passed runs one pass that must not fail.
func (r *rig) passed(edit ...func(*Options)) InboxReport {
	r.T.Helper()
	report := r.pass(edit...)
	if report.Err != nil {
		r.T.Fatalf("the pass failed: %v", report.Err)
	}
	return report
}

func deleting(o *Options) { o.Delete.Enabled = true }
