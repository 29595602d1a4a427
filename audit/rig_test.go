package audit

import (
	"path/filepath"
	"testing"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/archiver/archivertest/passes"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/rebuild"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/tally"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

const org, user = archivertest.Org, archivertest.UserID

type rig struct{ *passes.Rig }

func newRig(t *testing.T, on *archivertest.Server, lock bool) *rig {
	t.Helper()
	return &rig{passes.New(t, on, lock)}
}

func (r *rig) auditor() *Auditor {
	return &Auditor{
		Bucket: r.Store(), Ledger: r.Ledger, Prefix: r.Options.Prefix, Workers: r.Options.Workers,
		Retention: r.Options.Retention, Log: r.Log, Tally: &tally.Tally{},
	}
}

// accept has a person accept what is wrong with the inbox's journal.
func (r *rig) accept() ([]record.JournalFault, error) {
	return AcceptJournal(r.T.Context(), r.Store(), r.Ledger, record.Keys{Prefix: r.Options.Prefix, Org: org, Inbox: r.In.ID})
}

// rebuilt loses the ledger and makes it again.
func (r *rig) rebuilt() {
	r.T.Helper()
	id := r.Ledger.ID()
	r.CloseLedger()
	r.Path = filepath.Join(r.T.TempDir(), "rebuilt.db")
	var err error
	if r.Ledger, err = bolt.Open(r.Path, bolt.Options{ID: id}); err != nil {
		r.T.Fatal(err)
	}
	b := r.Store()
	prover, _, _, _ := r.Parts(b, r.Options.Retention)
	_, err = rebuild.FromArchive(r.T.Context(), rebuild.Options{
		Bucket: b, Ledger: r.Ledger, Prover: prover, Prefix: r.Options.Prefix, Version: r.Options.Version,
		Retention: r.Options.Retention, Log: r.Log, Tally: &tally.Tally{},
	}, []rebuild.Org{{Name: org, Format: r.Format, Login: true}}, func(proof.Finding) error { return nil })
	if err != nil {
		r.T.Fatal(err)
	}
}
