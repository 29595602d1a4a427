package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/archiverd/archiverd/audit"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/integration_test/faults"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state/bolt"
)

// TestVerifyUnreadable lets a store fail for some objects, which are then unreadable, and
// for too many in a row, which means that the store has failed.
func TestVerifyUnreadable(t *testing.T) {
	for _, c := range []struct {
		op         string
		effect     genesystest.Effect
		unreadable int64
		fails      bool
	}{
		{"get media", genesystest.Status(http.StatusInternalServerError, "internal"), 12, false},
		{"get media", genesystest.Shorten(), 12, false},
		{"get", genesystest.Status(http.StatusInternalServerError, "internal"), 9, true},
	} {
		t.Run(c.op+" "+c.effect.Name, func(t *testing.T) {
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
				if v, err := w.verify(); err != nil || v.Found() > 0 || !v.AddsUp() || v.Read != v.Objects {
					t.Fatalf("%+v, %v", v, err)
				}
				w.store.Inject(faults.StoreFault{Op: c.op, Times: genesystest.Always, Effect: c.effect})
				v, err := w.verify()
				if (err != nil) != c.fails || v.Faulty[record.FaultUnreadable] != c.unreadable || v.Found() != c.unreadable {
					t.Errorf("%+v, %v", v, err)
				}
				if err != nil && storeCode(err) != exitTemporary {
					t.Errorf("exit code %d for %v", storeCode(err), err)
				}
			})
		})
	}
}

// verify reads everything, in a process of its own.
func (w *faultWorld) verify() (v audit.Verification, err error) {
	w.Helper()
	transport, b := w.reach()
	defer transport.CloseIdleConnections()
	w.withLedger(func(l *bolt.Ledger) error {
		a := w.fleet(transport, b, l).Archiver
		auditor := &audit.Auditor{Bucket: b, Ledger: l, Prefix: a.Prefix, Workers: a.Workers, Retention: a.Retention, Log: a.Log, Tally: &a.Tally}
		v, err = auditor.Verify(context.Background(), "", "", audit.Depth{Read: true, Percent: 100}, func(proof.Finding) error { return nil })
		return nil
	})
	return v, err
}
