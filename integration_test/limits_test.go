package integration_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/integration_test/genesyssim"
)

// TestRetryAfter wants the time waited that Genesys asked for. The cloud notes a
// violation of whoever comes back sooner.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op     string
		status int
		skip   int
	}{{opToken, 429, 0}, {opSummary, 429, 0}, {opList, 503, 1}, {opTranscoding, 429, 3}, {opDelete, 429, 2}} {
		t.Run(c.op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesyssim.Options{})
			w.org["page_size"] = 10
			w.deleting()
			inbox := w.cloud.ClientInbox()
			fill(inbox, 15)
			ids := inbox.IDs()
			w.cloud.Inject(genesyssim.Fault{Op: c.op, Skip: c.skip, Effect: genesyssim.RetryAfter(c.status, 2)})
			w.once(0)
			w.wantArchived(some(inbox, ids...))
			for range 2 {
				w.once(0)
			}
			if left := inbox.IDs(); len(left) > 0 {
				t.Errorf("%v are left in the inbox", left)
			}
		})
	}
}

// TestLongRetryAfter wants no process waiting for an hour, and none asking before.
func TestLongRetryAfter(t *testing.T) {
	t.Parallel()
	for _, op := range []string{opToken, opList, opTranscoding} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesyssim.Options{})
			w.org["page_size"] = 10
			inbox := w.cloud.ClientInbox()
			fill(inbox, 30)
			w.cloud.Inject(genesyssim.Fault{Op: op, Skip: map[string]int{opList: 1, opTranscoding: 5}[op], Effect: genesyssim.RetryAfter(429, 3600)})
			r := w.once(5)
			if !strings.Contains(r.stdout, "limited by Genesys until") {
				t.Errorf("the limit is not named: %s", r)
			}
			asked := len(w.cloud.Events())
			for _, args := range [][]string{{"run", "--once"}, {"retry"}, {"run", "--once", "--dry-run"}} {
				w.expect(5, args...)
			}
			for _, e := range w.cloud.Events()[asked:] {
				t.Errorf("%s was asked within the hour, after a new start", e.Op)
			}
		})
	}
}

// TestHoldSurvivesKill kills a process that was told to wait for an hour.
func TestHoldSurvivesKill(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesyssim.Options{}, 2, "anna", "ben")
	w.cloud.Inject(genesyssim.Fault{Op: opList, Inbox: "anna", Effect: genesyssim.RetryAfter(429, 3600)})
	w.cloud.Inject(genesyssim.Fault{Op: opLink, Inbox: "ben", Times: genesyssim.Always, Effect: w.cloud.Stall()})
	p := w.start("run", "--once")
	w.await(opLink, 1) // so the process lives on
	w.awaitInLedger("not_before")
	p.kill()
	w.cloud.ClearFaults()
	asked := w.asked(inboxes[0], "")
	w.once(5)
	if n := w.asked(inboxes[0], "") - asked; n != 0 {
		t.Errorf("asked %d times within the hour", n)
	}
	w.wantArchived(all(inboxes[1]))
}

// awaitInLedger looks into the file that a running archiverd has open.
func (w *world) awaitInLedger(text string) {
	w.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(commandTimeout)
	for {
		if file, err := os.ReadFile(w.ledgerPath()); err == nil && bytes.Contains(file, []byte(text)) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			w.Fatalf("no %q in the ledger", text)
		}
	}
}
