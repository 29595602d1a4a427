package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
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
			w := newWorld(t, genesystest.Options{})
			w.org["page_size"] = 10
			w.deleting()
			inbox := w.cloud.ClientInbox()
			fill(inbox, 15)
			ids := inbox.IDs()
			w.cloud.Inject(genesystest.Fault{Op: c.op, Skip: c.skip, Effect: genesystest.RetryAfter(c.status, 2)})
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
			w := newWorld(t, genesystest.Options{})
			w.org["page_size"] = 10
			inbox := w.cloud.ClientInbox()
			fill(inbox, 30)
			w.cloud.Inject(genesystest.Fault{Op: op, Skip: map[string]int{opList: 1, opTranscoding: 5}[op], Effect: genesystest.RetryAfter(429, 3600)})
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

// TestImpossibleRetryAfter wants a Unix time and a date taken as what they are, and
// whatever is beyond an hour as one hour, with a warning.
func TestImpossibleRetryAfter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text func() string
		code int
		held time.Duration // what the next start is left with, at least, and at most an hour
	}{
		"reset past":   {func() string { return "1790000000" }, 0, 0},
		"reset soon":   {func() string { return strconv.FormatInt(time.Now().Add(3*time.Second).Unix(), 10) }, 0, 0},
		"date soon":    {func() string { return time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) }, 0, 0},
		"reset in May": {func() string { return strconv.FormatInt(time.Now().AddDate(0, 5, 0).Unix(), 10) }, 5, 59 * time.Minute},
		"huge":         {func() string { return "99999999999999999999999" }, 5, 59 * time.Minute},
		"date far":     {func() string { return "Fri, 31 Dec 9999 23:59:59 GMT" }, 5, 59 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			inbox := w.cloud.ClientInbox()
			fill(inbox, 3)
			text := c.text()
			w.cloud.Inject(genesystest.Fault{Op: opList, Effect: genesystest.RetryAfterText(429, text)})
			r := w.once(c.code)
			warned := strings.Contains(r.stderr, "waits one hour") && strings.Contains(r.stderr, `"retry_after":`+strconv.Quote(text))
			if warned != (c.held > 0) {
				t.Errorf("a warning: %v; %s", warned, r)
			}
			w.withLedger(func(l *bolt.Ledger) error {
				i, err := l.Inbox(t.Context(), "acme", inbox.ID)
				if left := time.Until(i.NotBefore); left > time.Hour || left < c.held && c.held > 0 {
					t.Errorf("the next start waits for %v", left)
				}
				return err
			})
			if c.code == 0 {
				w.wantArchived(all(inbox))
			}
		})
	}
}

// TestAskAnyway wants a person's word to end a wait, at once and for the inboxes named
// alone, also one that an earlier version has kept for months.
func TestAskAnyway(t *testing.T) {
	t.Parallel()
	for _, service := range []bool{false, true} {
		t.Run(fmt.Sprintf("service %v", service), func(t *testing.T) {
			t.Parallel()
			w, inboxes := newUsers(t, genesystest.Options{}, 2, "anna", "ben")
			w.daily()
			w.cloud.Inject(genesystest.Fault{Op: opList, Inbox: "anna", Effect: genesystest.RetryAfter(429, 3600)})
			w.cloud.Inject(genesystest.Fault{Op: opList, Inbox: "ben", Effect: genesystest.RetryAfter(429, 3600)})
			if service {
				p := w.serve()
				defer w.ends(p)
			} else {
				w.once(5)
				w.withLedger(func(l *bolt.Ledger) error {
					return l.EditInbox(t.Context(), "acme", "anna", func(i *state.Inbox) { i.NotBefore = time.Now().AddDate(0, 1, 0) })
				})
			}
			r := w.expect(5, "retry")
			_, text, _ := strings.Cut(r.stdout, "limited by Genesys until ")
			text, _, _ = strings.Cut(text, "Z")
			if until, err := time.Parse(time.RFC3339, text+"Z"); err != nil || time.Until(until) > time.Hour {
				t.Errorf("the limit is not named, or is more than an hour away: %s", r)
			}
			w.cloud.ForgetHolds()
			before := w.asked(inboxes[1], "")
			w.expect(0, "retry", "--ask-anyway", "--inbox", "anna")
			if n := w.asked(inboxes[1], "") - before; n != 0 {
				t.Errorf("the other inbox was asked %d times", n)
			}
			w.expect(5, "retry")
			w.expect(0, "retry", "--ask-anyway")
			w.expect(0, "retry")
			w.wantArchived(all(inboxes[0]), all(inboxes[1]))
		})
	}
}

// TestHoldSurvivesKill kills a process that was told to wait for an hour.
func TestHoldSurvivesKill(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 2, "anna", "ben")
	w.cloud.Inject(genesystest.Fault{Op: opList, Inbox: "anna", Effect: genesystest.RetryAfter(429, 3600)})
	w.cloud.Inject(genesystest.Fault{Op: opLink, Inbox: "ben", Times: genesystest.Always, Effect: w.cloud.Stall()})
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
