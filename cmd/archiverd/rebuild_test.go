package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/integration_test/faults"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/rebuild"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// TestRebuildFromAFailingStore wants a request repeated that fails now and then, a finding
// for an object that a working store can't give, and an end if the store is down.
func TestRebuildFromAFailingStore(t *testing.T) {
	status := genesystest.Status(http.StatusInternalServerError, "internal")
	for _, c := range []struct {
		ops    []string
		effect genesystest.Effect
		times  int
		found  int64
		code   int
	}{
		{[]string{"get manifests"}, genesystest.CutHalf(), 3, 0, exitOK},
		{[]string{"get journal"}, genesystest.CutHalf(), genesystest.Always, 1, exitOK},
		{[]string{"get journal"}, status, genesystest.Always, 1, exitOK},
		{[]string{"get manifests"}, status, genesystest.Always, 0, exitTemporary},
		{[]string{"get journal", "check bucket"}, genesystest.Reset(), genesystest.Always, 0, exitTemporary},
		{[]string{"list objects"}, genesystest.Reset(), genesystest.Always, 0, exitTemporary},
	} {
		t.Run(fmt.Sprint(c.ops, c.effect.Name), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newFaultWorld(t, faults.World{})
				defer w.close()
				for i := len(w.ids); i < 12; i++ {
					w.user.Add(genesystest.Recording{ID: fmt.Sprint("more-", i)})
				}
				if o := w.run(); o.code != exitOK {
					t.Fatal(o)
				}
				for _, op := range c.ops {
					w.store.Inject(faults.StoreFault{Op: op, Times: c.times, Effect: c.effect})
				}
				sum, err := w.rebuild()
				code := codeOf(err)
				if code != c.code || sum.Findings != c.found {
					t.Errorf("%+v, exit code %d: %v", sum, code, err)
				}
				if n := sum.Recordings[state.StateArchived] + sum.Recordings[state.StateDeleteRequested]; code == exitOK && n != 12 {
					t.Errorf("%d recordings are archived", n)
				}
			})
		})
	}
}

// rebuild makes a ledger beside the world's own, in a process of its own.
func (w *faultWorld) rebuild() (*rebuild.Result, error) {
	w.Helper()
	transport, b := w.reach()
	defer transport.CloseIdleConnections()
	l, err := bolt.Open(filepath.Join(fastDir(w.T), "rebuilt.db"), bolt.Options{})
	if err != nil {
		w.Fatal(err)
	}
	a := w.fleet(transport, b, l).Archiver
	sum, err := rebuild.FromArchive(context.Background(), rebuild.Options{
		Bucket: b, Ledger: l, Prover: a.Prover, Prefix: a.Prefix, Version: a.Version, Retention: a.Retention, Log: a.Log, Tally: &a.Tally,
	}, []rebuild.Org{{Name: faultOrg, Format: "WAV"}}, func(proof.Finding) error { return nil })
	if failed := l.Close(); failed != nil {
		w.Fatal(failed)
	}
	return sum, err
}
