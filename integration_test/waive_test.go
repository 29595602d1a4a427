package integration_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// TestWaive accepts a recording that can't be archived: it fails no run any more, the
// journal and a rebuilt ledger know who accepted it, and it is archived once it changes.
func TestWaive(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "r001", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	w.once(3)
	for _, args := range [][]string{
		{"--reason", "lost", "--yes"}, {"r001", "--yes"}, {"r001", "--reason", " ", "--yes"}, {"r001", "--reason", "lost"},
		{"r001", "r009", "--reason", "lost", "--yes"}, {"--name", "nobody", "--reason", "lost", "--yes"}, {"--state", "burnt", "--reason", "lost", "--yes"},
	} {
		w.expect(2, append([]string{"waive"}, args...)...)
	}
	if r := w.expect(0, "waive", "--state", "failed", "--reason", "lost", "--dry-run"); !strings.Contains(r.stdout, "done\tr001") || !strings.Contains(r.stdout, "dry run") {
		t.Errorf("a dry run says %s", r)
	}
	w.wantState(state.StateFailed, inbox, "r001")
	if r := w.expect(3, "waive", "r000", "--reason", "lost", "--yes"); !strings.Contains(r.stdout, "it is archived") {
		t.Errorf("an archived recording: %s", r)
	}

	r := w.expect(0, "waive", "r001", "--reason", "Genesys lost its media", "--by", "Ann", "--yes", "--json")
	if !strings.Contains(r.stdout, `"result":"done"`) || !strings.Contains(r.stdout, `"results":{"done":1}`) {
		t.Errorf("waive says %s", r)
	}
	act := w.entries(inbox)["r001"].Acts[0]
	if act.Kind != state.ActWaive || act.By != "Ann" || act.Reason != "Genesys lost its media" {
		t.Errorf("the ledger has %+v", act)
	}
	w.wantTold("waived", []string{"r001"})
	w.expect(0, "waive", "r001", "--reason", "again", "--yes")
	w.wantTold("waived", []string{"r001"})
	w.once(0)
	w.expect(0, "retry")
	w.expect(0, "reconcile")
	w.expect(0, "verify", "--read")
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "acme: 1 waived") {
		t.Errorf("status says %s", r)
	}
	if r := w.expect(0, "show", "r001"); !strings.Contains(r.stdout, "by Ann: Genesys lost its media") {
		t.Errorf("show says %s", r)
	}

	written := w.entries(inbox)
	if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
		t.Fatal(err)
	}
	w.expect(0, "rebuild")
	if diff := cmp.Diff(written["r001"].Acts, w.entries(inbox)["r001"].Acts, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-written +rebuilt\n%s", diff)
	}
	w.once(0)
	w.wantState(state.StateWaived, inbox, "r001")

	w.cloud.ClearFaults()
	inbox.Change("r001")
	w.once(0)
	w.wantState(state.StateArchived, inbox)
	w.wantArchived(all(inbox))
}

// TestWaiveByService gives the order while a service holds the ledger.
func TestWaiveByService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "r001", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	p := w.serve()
	w.expect(2, "waive", "r001", "--reason", "lost")
	r := w.expect(0, "waive", "r001", "--reason", "lost", "--yes")
	w.wantTold("waived", []string{"r001"})
	w.ends(p)
	act := w.entries(inbox)["r001"].Acts[0]
	if act.By == "" || !strings.Contains(r.stdout, "waive by "+act.By) {
		t.Errorf("the ledger has %+v; %s", act, r)
	}
}
