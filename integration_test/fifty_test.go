package integration_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// TestFiftyInboxes runs the service over fifty inboxes through a revoked token, a
// configuration that is broken while it runs, and a stop in the middle. At each point
// status page, metrics and status tell what the ledger holds.
func TestFiftyInboxes(t *testing.T) {
	t.Parallel()
	const users, each = 50, 4
	var ids []string
	for i := range users {
		ids = append(ids, fmt.Sprintf("user%02d", i))
	}
	w, inboxes := newUsers(t, genesystest.Options{}, each, ids...)
	w.daily()
	w.listening()
	revoked := inboxes[7]
	revoked.RevokeTokens()
	const before = 60 // recordings that are let through before the downloads stand still
	w.cloud.Inject(genesystest.Fault{Op: opLink, Skip: before, Times: genesystest.Always, Effect: w.cloud.Stall()})

	p := w.start("run")
	site := w.site(p)
	w.awaitMetric(site, "archiverd_archived_recordings{org=acme}", before)
	w.awaitMetric(site, "archiverd_backlog_recordings{org=acme}", (users-1)*each-before)
	w.awaitMetric(site, "archiverd_inboxes{condition=needs_login,org=acme}", 1)
	w.samePage(site)

	good, err := os.ReadFile(w.configPath())
	if err == nil {
		err = os.WriteFile(w.configPath(), []byte("organizations: []\n"), 0o600)
	}
	if err == nil {
		err = p.cmd.Process.Signal(syscall.SIGHUP)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.awaitLog(p, "and refused; the previous one stays", 1)
	w.samePage(site)
	if err := os.WriteFile(w.configPath(), good, 0o600); err != nil {
		t.Fatal(err)
	}

	p.terminate(t)
	w.cloud.Release() // what is under way is finished
	if r := p.wait(); r.code != 0 {
		t.Fatalf("want exit code 0 after SIGTERM: %s", r)
	}
	w.cloud.ClearFaults()
	again := w.start("run") // waits for the schedule, since a run began lately
	site = w.site(again)
	w.samePage(site)
	w.expect(0, "retry")
	w.wantMetrics(w.scrape(site), scrape{"archiverd_archived_recordings{org=acme}": (users - 1) * each})
	w.samePage(site)
	w.ends(again)
	for _, in := range inboxes {
		if in != revoked {
			w.wantState("archived", in)
		}
	}
	if n := len(w.archive().manifests); n != (users-1)*each {
		t.Errorf("%d manifests for %d recordings", n, (users-1)*each)
	}
}
