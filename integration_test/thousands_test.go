package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/integration_test/genesyssim"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// thousands puts 2,000 inboxes into the ledger, each with a pass that went well but for
// those that unwell names.
func (w *world) thousands(unwell map[string]func(*state.Inbox)) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		var g errgroup.Group
		for i := range 2000 {
			id := fmt.Sprintf("u%04d", i)
			g.Go(func() error {
				return l.AddPass(w.Context(), "acme", id, state.Pass{Start: time.Now().Add(-time.Minute), End: time.Now()}, func(in *state.Inbox) {
					in.Condition, in.LastSuccess = "ok", time.Now()
					if f := unwell[id]; f != nil {
						f(in)
					}
				})
			})
		}
		return g.Wait()
	})
}

func condition(is, reason string) func(*state.Inbox) {
	return func(i *state.Inbox) { i.Condition, i.Reason = is, reason }
}

// fails has a recording of an inbox fail, for so long that a person has to look or not.
func (w *world) fails(inbox, recording string, person bool) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		k := state.Key{Org: "acme", Inbox: inbox, Recording: recording}
		if _, err := l.Move(w.Context(), k, "", state.StateListed, func(e *state.Entry) { e.Raw = []byte("{}") }); err != nil {
			return err
		}
		_, err := l.Move(w.Context(), k, state.StateListed, state.StateFailed, func(e *state.Entry) {
			e.Attempts, e.FailedSince, e.NeedsPerson, e.LastError = 3, time.Now(), person, "no answer"
		})
		return err
	})
}

// TestStatusOfThousands wants status and page to name the inboxes that are not well and
// no other, and the full lists and --json to have all of them.
func TestStatusOfThousands(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesyssim.Options{})
	w.daily()
	w.listening()
	w.thousands(map[string]func(*state.Inbox){
		"u0007": condition("needs_login", "the refresh token is revoked"),
		"u1999": condition("failing", "the token command ended with 1"),
	})
	w.fails("u0100", "r1", false)
	w.fails("u0200", "r2", true)
	w.withLedger(func(l *bolt.Ledger) error { // so that the service waits
		return l.AddRun(t.Context(), state.Run{Start: time.Now().Add(-time.Minute), End: time.Now(), Inboxes: 2000, ExitCode: 3})
	})
	w.wantStatus(4, "acme          2,000    4", "1,996 of 2,000 inboxes are well: archiverd status --all lists them",
		"acme/u1999: the token command ended with 1", "archiverd login --org acme --inbox u0007", "acme/u0100: 1 failed, and are tried again", "acme/u0200: 1 of its recordings have failed for a week")
	if out := w.expect(0, "status", "--all").stdout; strings.Count(out, "\nacme/u") != 2000+4 {
		t.Errorf("status --all names %d inboxes, want each of 2,000, and 4 with a reason", strings.Count(out, "\nacme/u"))
	}
	p := w.serve()
	var status struct{ Inboxes []state.Inbox }
	w.parse(w.expect(0, "status", "--json").stdout, &status)
	if len(status.Inboxes) != 2000 {
		t.Errorf("status --json has %d inboxes", len(status.Inboxes))
	}
	site := w.site(p)
	_, _, page := w.fetch(site)
	w.wantText(page, "3 inboxes need a person", "acme 2,000 4 0 2 ", "4 of 2,000: all inboxes", "acme/u0100 1 failed, and are tried again")
	if strings.Contains(page, "acme/u0001") {
		t.Error("the page names an inbox that is well")
	}
	if _, _, all := w.fetch(site + "/inboxes"); strings.Count(all, "acme/u") != 2000 {
		t.Errorf("the full list names %d inboxes", strings.Count(all, "acme/u"))
	}
	w.ends(p)
}

// wantStatus wants status to have lines for so many inboxes, and to say the texts.
func (w *world) wantStatus(inboxes int, want ...string) {
	w.Helper()
	out := w.expect(0, "status").stdout
	if _, table, _ := strings.Cut(out, "\nINBOX "); strings.Count(table, "\nacme/")-strings.Count(table, "\n\nacme/") != inboxes {
		w.Errorf("want %d inboxes listed: %s", inboxes, out)
	}
	for _, text := range want {
		if !strings.Contains(out, text) {
			w.Errorf("status does not say %q: %s", text, out)
		}
	}
}

// TestStatusOfAnOutage wants status to fit on a screen where no inbox is well.
func TestStatusOfAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesyssim.Options{})
	unwell := map[string]func(*state.Inbox){}
	for i := range 1990 {
		unwell[fmt.Sprintf("u%04d", i)] = condition("failing", "Genesys is away")
	}
	w.thousands(unwell)
	w.wantStatus(50, "acme          2,000    1,990", "acme/u0000 and 49 more of these: Genesys is away", "1,940 more inboxes are not well, and 10 are: archiverd status --all lists them")
}
