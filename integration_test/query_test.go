package integration_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// TestQueries selects from what a run with a failure left in the ledger.
func TestQueries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	for n, name := range []string{"Alpha call", "beta Call", "gamma"} {
		inbox.Add(genesystest.Recording{ID: recordingID(n), Name: name, ConversationID: "c" + name[:1],
			DateCreated: time.Date(2026, 10, 1+n, 12, 0, 0, 0, time.UTC), Duration: time.Duration(3-n) * 2 * time.Second,
			Participants: []any{map[string]any{"userId": "agent-" + name[:1], "name": "Zoë =" + name}, map[string]any{"address": "tel:+3531" + recordingID(n)}}})
	}
	w.cloud.Inject(genesystest.Fault{Op: opLink, Recording: "r002", Times: genesystest.Always, Effect: genesystest.HTML(200)})
	w.wantReport(w.expect(3, "run", "--once", "--json"))
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"r000", "r001", "r002"}},
		{[]string{"--name", "CALL"}, []string{"r000", "r001"}},
		{[]string{"--conversation", "cb"}, []string{"r001"}},
		{[]string{"--from", "2026-10-02"}, []string{"r001", "r002"}},
		{[]string{"--from", "2026-10-01T12:00:00Z", "--to", "2026-10-03"}, []string{"r000", "r001"}},
		{[]string{"--state", "failed"}, []string{"r002"}},
		{[]string{"--org", "acme", "--inbox", "client", "--state", "archived", "--name", "beta"}, []string{"r001"}},
		{[]string{"--inbox", "other"}, nil},
		{[]string{"--participant", "ZOË =a"}, []string{"r000"}},
		{[]string{"--participant", "agent-b"}, []string{"r001"}},
		{[]string{"--participant", "+3531r002"}, []string{"r002"}},
		{[]string{"--min-duration", "3s"}, []string{"r000", "r001"}},
		{[]string{"--max-duration", "4s"}, []string{"r001", "r002"}},
		{[]string{"--min-size", "1KB", "--max-size", "1GiB"}, []string{"r000", "r001"}},
		{[]string{"--case", "smith"}, nil},
		{[]string{"r002", "r000", "--state", "archived"}, []string{"r000"}},
		{[]string{"--sort", "created", "--skip", "1", "--limit", "1"}, []string{"r001"}},
		{[]string{"--sort", "size", "--reverse", "--limit", "1"}, []string{"r000"}},
	} {
		out := w.expect(0, append([]string{"ls", "--json"}, c.args...)...).stdout
		var ids []string
		for line := range bytes.Lines([]byte(out)) {
			var e struct{ Recording string }
			if err := json.Unmarshal(line, &e); err != nil {
				t.Fatalf("%v: %q", err, line)
			}
			ids = append(ids, e.Recording)
		}
		slices.Sort(ids)
		if d := cmp.Diff(c.want, ids); d != "" {
			t.Errorf("ls %q: -want +got\n%s", c.args, d)
		}
		table := w.expect(0, append([]string{"ls"}, c.args...)...).stdout
		for _, id := range inbox.IDs() {
			if strings.Contains(table, id) != slices.Contains(c.want, id) {
				t.Errorf("ls %q without --json: %s", c.args, table)
			}
		}
	}
	for _, args := range [][]string{{"--state", "lost"}, {"--sort", "color"}, {"--reverse"}, {"--limit", "-1"}, {"--min-size", "big"}, {"--max-duration", "0s"}, {"--csv", "--json"}, {""}} {
		w.expect(2, append([]string{"ls"}, args...)...)
	}
	found := w.expect(0, "ls", "--participant", "zoë", "--csv", "--sort", "name").stdout
	lines, err := csv.NewReader(strings.NewReader(found)).ReadAll()
	if err != nil || len(lines) != 4 || lines[0][0] != "recording" || lines[1][0] != "r000" || lines[1][9] != "Zoë =Alpha call agent-A; tel:+3531r000" || lines[1][5] != "6000" {
		t.Errorf("CSV: %v, %q", err, lines)
	}
	if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
		t.Fatal(err)
	}
	w.expect(0, "rebuild")
	if again := w.expect(0, "ls", "--participant", "zoë =", "--state", "archived", "--csv", "--sort", "name").stdout; again != strings.Join(strings.SplitAfter(found, "\n")[:3], "") {
		t.Errorf("after a rebuild\n%s, before\n%s", again, found)
	}
	if err := os.Rename(w.ledgerPath()+".lost", w.ledgerPath()); err != nil {
		t.Fatal(err)
	}
	w.expect(2, "show", "r003")
	if r := w.expect(0, "show", "r002"); !strings.Contains(r.stdout, "HTML") {
		t.Errorf("show doesn't say why r002 failed: %s", r)
	}
}

// wantReport reads the report of a run that archived two recordings and failed at one.
func (w *world) wantReport(r result) {
	w.Helper()
	var report struct {
		ExitCode int `json:"exit_code"`
		Inboxes  []struct {
			Org, Inbox string
			Pass       struct{ Listed, Archived, Failed int }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || len(report.Inboxes) != 1 || report.ExitCode != 3 {
		w.Fatalf("%v: %s", err, r)
	}
	if p := report.Inboxes[0].Pass; p.Listed != 3 || p.Archived != 2 || p.Failed != 1 {
		w.Errorf("the report says %+v", p)
	}
}
