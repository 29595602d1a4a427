package archiver

import (
	"net/http"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
)

// A machine whose clock is slow dates nothing too early that deletion and retention
// count from: the store's clock shows the time. A clock that is fast does no harm.
func TestWrongClockWhileArchiving(t *testing.T) {
	for name, store := range map[string]time.Duration{"slow": 10 * time.Minute, "fast": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, archivertest.Checking, true)
			began := time.Now().Truncate(time.Second)
			right := began.Add(store)
			r.Wire.Use(archivertest.Header("", "Date", right.UTC().Format(http.TimeFormat)))
			created := right.Add(-5 * time.Minute)
			r.Add(1, func(rec *genesystest.Recording) { rec.DateCreated = created })
			r.passed()
			v := r.Entry("rec-01").Versions[0]
			if v.ArchivedAt.Before(right) || v.ArchivedAt.Before(began) {
				t.Errorf("archived at %v, at %v by this machine's clock and at %v by the store's", v.ArchivedAt, began, right)
			}
			if until := created.AddDate(7, 0, 0); v.RetainUntil.Before(until.Truncate(time.Second)) {
				t.Errorf("locked until %v, want %v", v.RetainUntil, until)
			}
		})
	}
}
