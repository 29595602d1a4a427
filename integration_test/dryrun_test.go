package integration_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// dryRun gives what a dry run would do, as "action recording", and insists that it
// changes nothing.
func (w *world) dryRun() []string {
	w.Helper()
	inbox := w.cloud.ClientInbox()
	bucket, entries, asked := w.listing(), w.entries(inbox), w.transfers()+w.cloud.Requests(opDelete)
	table := w.expect(0, "run", "--once", "--dry-run").stdout
	lines := w.expect(0, "run", "--once", "--dry-run", "--json").stdout
	var planned []string
	for line := range bytes.Lines([]byte(lines)) {
		var p struct{ Action, Recording string }
		if err := json.Unmarshal(line, &p); err != nil {
			w.Fatalf("%v: %q", err, line)
		}
		planned = append(planned, p.Action+" "+p.Recording)
	}
	var rows []string
	for row := range strings.Lines(table) {
		if f := strings.Fields(row); f[0] != "ACTION" {
			rows = append(rows, f[0]+" "+f[2])
		}
	}
	if d := cmp.Diff(planned, rows); d != "" {
		w.Errorf("JSON and table differ: %s", d)
	}
	if d := cmp.Diff(bucket, w.listing()); d != "" {
		w.Errorf("the bucket changed: %s", d)
	}
	if d := cmp.Diff(entries, w.entries(inbox)); d != "" {
		w.Errorf("the ledger's entries changed: %s", d)
	}
	if n := w.transfers() + w.cloud.Requests(opDelete) - asked; n > 0 {
		w.Errorf("Genesys was asked for %d downloads and deletions", n)
	}
	slices.Sort(planned)
	return planned
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{DeletedListings: -1})
	w.config["transfer"] = map[string]any{"min_age": "1h"}
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	inbox.Add(genesystest.Recording{ID: "young", DateCreated: time.Now().Add(-time.Minute).Truncate(time.Millisecond)})
	w.wantPlan("archive r000", "archive r001", "archive r002", "wait young")
	w.once(0)
	w.wantArchived(some(inbox, "r000", "r001", "r002"))
	w.wantPlan("wait young")

	w.config["transfer"] = map[string]any{"min_age": "0s"}
	inbox.Change("r001")
	inbox.Remove("r002")
	w.wantPlan("archive r001", "archive young")
	w.deleting()
	w.wantPlan("archive r001", "archive young", "delete r000")
	w.once(0)
	w.wantPlan()
	if ids := deletedIDs(w.cloud); !slices.Contains(ids, "r000") || len(ids) != 3 {
		t.Errorf("deletions were asked for: %v", ids)
	}
}

func (w *world) wantPlan(want ...string) {
	w.Helper()
	if d := cmp.Diff(want, w.dryRun()); d != "" {
		w.Errorf("the plan differs: -want +got\n%s", d)
	}
}
