package main

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/integration_test/faults"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// TestFaults runs every cell of the table: a run under the fault, once for one request and
// once for all; then the fault is lifted, and later runs must leave every recording in the
// bucket exact and once and every original deleted, with no promise broken on the way.
// What the runs report is docs/reliability.md.
func TestFaults(t *testing.T) {
	cells := faults.Cells()
	rows := make([]faultRow, len(cells))
	t.Run("cells", func(t *testing.T) {
		for i, c := range cells {
			rows[i].Cell = c
			t.Run(c.Action.Name+"/"+c.Form.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { rows[i].once = runCell(t, c, 1) })
				if !c.Once {
					synctest.Test(t, func(t *testing.T) { rows[i].lasting = runCell(t, c, genesystest.Always) })
				}
				rows[i].ran = true
			})
		}
	})
	if !t.Failed() {
		wantReliability(t, rows)
	}
}

// faultRow is a cell with its result.
type faultRow struct {
	faults.Cell
	ran           bool
	once, lasting cellResult
}

// cellResult is what a run under a fault reports, and when things were right again.
type cellResult struct {
	faultOutcome
	login             bool // the user had to log in
	archived, deleted string
}

const sameRun = "the same run"

// laterRun is when a run follows the one before, and what to call that.
type laterRun struct {
	after time.Duration
	name  string
}

var laterRuns = []laterRun{
	{time.Minute, "next run"}, {15 * time.Minute, "15 minutes later"}, {time.Hour, "an hour later"}, {2 * time.Hour, "3 hours later"},
	{25 * time.Hour, "a day later"}, {time.Hour, "a day later"}, {25 * time.Hour, "2 days later"}, {time.Hour, "2 days later"},
}

func runCell(t *testing.T, c faults.Cell, times int) (r cellResult) {
	w := newFaultWorld(t, c.World)
	defer w.close()
	met, lift := w.order(c, times)
	r.faultOutcome = w.run()
	if !met() {
		t.Errorf("the fault was not met: %d %s", r.code, r.report)
	}
	r.note(w, sameRun)
	lift()
	for _, later := range laterRuns {
		if r.login = r.login || w.needsLogin(); w.needsLogin() {
			w.login(24 * time.Hour)
		}
		if w.settled() {
			break
		}
		time.Sleep(later.after)
		if out := w.run(); out.code != exitOK && !strings.Contains(out.report, "log in") {
			t.Logf("%s: exit code %d: %s", later.name, out.code, out.report)
		}
		r.note(w, later.name)
	}
	if !w.settled() {
		t.Errorf("not repaired: %+v", w.entries())
	}
	w.wantExact()
	w.wantUploads(c.Parts)
	if c.Parts {
		time.Sleep(25 * time.Hour)
		w.run()
		w.wantUploads(false)
	}
	w.wantNothingBroken()
	if c.Login != r.login && c.Class != faults.Expired {
		t.Errorf("needs a login: %v, want %v", r.login, c.Login)
	}
	return r
}

// note remembers the first run after which everything was archived, and all originals gone.
func (r *cellResult) note(w *faultWorld, when string) {
	archived := true
	for _, e := range w.entries() {
		archived = archived && len(e.Versions) > 0
	}
	if archived && r.archived == "" && len(w.entries()) == len(w.ids) {
		r.archived = when
	}
	if len(w.user.IDs()) == 0 && r.deleted == "" {
		r.deleted = when
	}
}

// order injects the fault. met tells whether archiverd ran into it, lift ends it.
func (w *faultWorld) order(c faults.Cell, times int) (met func() bool, lift func()) {
	var before genesystest.Options
	w.cloud.Configure(func(o *genesystest.Options) {
		before = *o
		if c.Cloud != nil {
			c.Cloud(o)
		}
	})
	asked := func() bool { return w.cloud.Requests(c.Op) > 0 }
	lift = func() {
		w.cloud.ClearFaults()
		w.store.ClearFaults()
		w.cloud.Configure(func(o *genesystest.Options) { *o = before })
		w.cloud.Settle()
	}
	switch {
	case c.Connect != 0:
		return w.orderConnection(c, times)
	case c.On == faults.Ledger:
		w.ledger = &ledgerFault{op: c.Op, as: c.Commit, left: times}
		f := w.ledger
		return func() bool { return f.met }, func() { w.ledger = nil }
	case c.Effect == nil:
		return asked, lift
	case c.On == faults.Storage:
		w.store.Inject(faults.StoreFault{Op: c.Op, Times: times, Effect: c.Effect(w.cloud)})
		return func() bool { return w.store.Requests(c.Op) > 0 }, lift
	}
	w.cloud.Inject(genesystest.Fault{Op: c.Op, Times: times, Effect: c.Effect(w.cloud)})
	return asked, lift
}

// orderConnection lets connections to a host fail.
func (w *faultWorld) orderConnection(c faults.Cell, times int) (met func() bool, lift func()) {
	host := map[faults.Side]string{
		faults.API: w.cloud.APIURL(), faults.Login: w.cloud.LoginURL(), faults.MediaHost: w.cloud.MediaURL(), faults.Storage: w.server.Endpoint,
	}[c.On]
	host = strings.TrimPrefix(host, "http://")
	dialled := 0
	w.net.Fail(host, func() error {
		if dialled++; times > 0 && dialled > times {
			return nil
		}
		if c.Connect == faults.Unreachable {
			time.Sleep(20 * time.Second)
			return os.NewSyscallError("connect", syscall.EHOSTUNREACH)
		}
		return os.NewSyscallError("connect", syscall.ECONNREFUSED)
	})
	return func() bool { return dialled > 0 }, func() { w.net.Fail(host, nil) }
}

func (w *faultWorld) needsLogin() (needed bool) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		i, err := l.Inbox(w.Context(), faultOrg, w.user.ID)
		needed = i.Condition == state.ConditionNeedsLogin
		return err
	})
	return needed
}

// wantNothingBroken checks that the services saw no violation.
func (w *faultWorld) wantNothingBroken() {
	w.Helper()
	for _, v := range append(w.cloud.Violations(), w.store.Violations()...) {
		w.Errorf("violation: %s", v)
	}
}

// wantUploads tells whether uploads are left under way in the store.
func (w *faultWorld) wantUploads(some bool) {
	w.Helper()
	out, err := w.server.Client().ListMultipartUploads(w.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(faultBucket)})
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "NoSuchUpload" {
		out, err = &s3.ListMultipartUploadsOutput{}, nil // so gofakes3 reports that there are no uploads
	}
	if err != nil || len(out.Uploads) > 0 != some {
		w.Errorf("uploads under way: %v, %v, want some: %v", out, err, some)
	}
}
