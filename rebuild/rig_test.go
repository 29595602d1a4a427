package rebuild

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/archiver/archivertest/passes"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/tally"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

const (
	org, user        = archivertest.Org, archivertest.UserID
	opDelete, opLink = archivertest.OpDelete, archivertest.OpLink
)

type rig struct{ *passes.Rig }

func newRig(t *testing.T, on *archivertest.Server, lock bool) *rig {
	t.Helper()
	return &rig{passes.New(t, on, lock)}
}

// rigOn is a rig with one recording and its media's first key.
func rigOn(t *testing.T, on *archivertest.Server) (*rig, string) {
	t.Parallel()
	r := newRig(t, on, false)
	r.Add(1)
	return r, r.FirstKey("rec-01")
}

// rebuilt loses the ledger and makes it again.
func (r *rig) rebuilt() (*Result, []proof.Finding) {
	r.T.Helper()
	sum, found, err := r.rebuild(context.Background())
	if err != nil {
		r.T.Fatal(err)
	}
	return sum, found
}

func (r *rig) rebuild(ctx context.Context) (*Result, []proof.Finding, error) {
	r.T.Helper()
	id := r.Ledger.ID()
	r.CloseLedger()
	r.Path = filepath.Join(r.T.TempDir(), "rebuilt.db")
	var err error
	if r.Ledger, err = bolt.Open(r.Path, bolt.Options{ID: id}); err != nil {
		r.T.Fatal(err)
	}
	var found []proof.Finding
	b := r.Store()
	prover, _, _, _ := r.Parts(b, r.Options.Retention)
	sum, err := FromArchive(ctx, Options{
		Bucket: b, Ledger: r.Ledger, Prover: prover, Prefix: r.Options.Prefix, Version: r.Options.Version,
		Retention: r.Options.Retention, Log: r.Log, Tally: &tally.Tally{},
	}, []Org{{Name: org, Format: genesys.FormatWAV, Login: true}}, func(f proof.Finding) error {
		found = append(found, f)
		return nil
	})
	return sum, found, err
}

// wantRestored compares what is of the archive. Of the way to where an entry stands,
// only that part is told there. Where no journal tells when, the media's own time does.
func wantRestored(t *testing.T, got, want any) {
	t.Helper()
	diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Minute),
		cmpopts.IgnoreFields(state.Entry{}, "Fingerprint", "Raw", "Expanded", "Attempts", "Mismatches", "NextAttempt", "MissingSince", "Milliseconds"))
	if diff != "" {
		t.Errorf("-lost +rebuilt\n%s", diff)
	}
}

func deleting(o *archiver.Options) { o.Delete.Enabled = true }
