// Package passes makes passes over a test's inbox, for the tests of what comes after a pass.
package passes

import (
	"context"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
)

// Rig is a world with the passes over its inbox.
type Rig struct {
	*archivertest.World
	Options archiver.Options // of every Archiver that the rig makes
	In      archiver.Inbox
}

// New makes a rig on a server.
func New(t *testing.T, on *archivertest.Server, lock bool) *Rig {
	t.Helper()
	r := &Rig{World: archivertest.New(t, on, lock)}
	r.Options = archiver.Options{
		Prefix: "genesys", Workers: 2, Memory: 2 * archiver.PartSize, Version: archivertest.Version,
		Retention: proof.Retention{Until: func(from time.Time) time.Time { return from.AddDate(7, 0, 0) }},
		Delete:    archiver.Deletion{MaxPerPass: 1000},
		Log:       r.Log,
	}
	if lock {
		r.Options.Retention.Mode = "GOVERNANCE"
	}
	c := r.Clients(r.User)
	r.In = archiver.Inbox{
		Org: archivertest.Org, ID: r.User.ID, API: c.API, Links: c.Links, Identity: c.Identity,
		DownloadAPI: genesys.DownloadTranscoding, Format: r.Format, PageSize: 100,
	}
	return r
}

// Run runs one pass over the inbox in a new process.
func (r *Rig) Run(ctx context.Context, edit ...func(*archiver.Options)) archiver.InboxReport {
	r.T.Helper()
	o := r.Options
	b := r.Store()
	o.Bucket, o.Ledger = b, r.Ledger
	for _, f := range edit {
		f(&o)
	}
	o.Prover, o.Journal, o.Uploads, o.Twins = r.Parts(b, o.Retention)
	return archiver.New(o).Run(ctx, ctx, []archiver.Inbox{r.In}).Inboxes[0]
}

// Pass runs one pass that nothing ends.
func (r *Rig) Pass(edit ...func(*archiver.Options)) archiver.InboxReport {
	r.T.Helper()
	return r.Run(context.Background(), edit...)
}

// Passed runs one pass that must not fail.
func (r *Rig) Passed(edit ...func(*archiver.Options)) archiver.InboxReport {
	r.T.Helper()
	report := r.Pass(edit...)
	if report.Err != nil {
		r.T.Fatalf("the pass failed: %v", report.Err)
	}
	return report
}
