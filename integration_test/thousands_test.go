package integration_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/genesys/genesystest"
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
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.listening()
	w.thousands(map[string]func(*state.Inbox){
		"u0007": condition("needs_login", "the refresh token is revoked"),
		"u1999": condition("failing", "the token command ended with 1"),
	})
	w.fails("u0100", "r1", false)
	w.fails("u0200", "r2", true)
	w.withLedger(func(l *bolt.Ledger) error { // so that the service waits for the schedule
		return l.AddRun(t.Context(), state.Run{Start: time.Now().Add(-time.Minute), End: time.Now(), Inboxes: 2000, ExitCode: 3})
	})
	w.wantStatus(4, "acme          2,000    4", "1,996 of 2,000 inboxes are well: archiverd status --all lists them",
		"acme/u1999: the token command ended with 1", "archiverd login --org acme --inbox u0007", "acme/u0100: 1 failed; the next runs try again", "acme/u0200: 1 of its recordings have failed for a week")
	if out := w.expect(0, "status", "--all").stdout; strings.Count(out, "\nacme/u") != 2000+4 {
		t.Errorf("status --all names %d inboxes, want each of 2,000, and 4 with a reason", strings.Count(out, "\nacme/u"))
	}
	p := w.start("run")
	w.awaitLog(p, "archiverd starts", 1)
	var status struct{ Inboxes []state.Inbox }
	w.parse(w.expect(0, "status", "--json").stdout, &status)
	if len(status.Inboxes) != 2000 {
		t.Errorf("status --json has %d inboxes", len(status.Inboxes))
	}
	site := w.site(p)
	_, _, page := w.fetch(site)
	w.wantText(page, "3 inboxes need a person", "acme 2,000 4 0 2 ", "4 of 2,000: all inboxes", "acme/u0100 1 failed; the next runs try again")
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
	w := newWorld(t, genesystest.Options{})
	unwell := map[string]func(*state.Inbox){}
	for i := range 1990 {
		unwell[fmt.Sprintf("u%04d", i)] = condition("failing", "Genesys is away")
	}
	w.thousands(unwell)
	w.wantStatus(50, "acme          2,000    1,990", "acme/u0000 and 49 more of these: Genesys is away", "1,940 more inboxes are not well, and 10 are well: archiverd status --all lists them")
}

// TestDoctorSumsUp wants the doctor to say of a check how many inboxes passed it, to
// list the others, and to say once what holds for many.
func TestDoctorSumsUp(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 48 {
		ids = append(ids, fmt.Sprintf("u%02d", i))
	}
	w, inboxes := newUsers(t, genesystest.Options{RateLimit: 1000}, 1, ids...)
	w.once(0)
	w.login(state.Token{Access: "old", Refresh: "r", Expiry: time.Now().Add(-time.Hour)}, inboxes[3])
	inboxes[5].RevokeAccess()
	if found := w.doctor(6); len(found) < 48*3 || found["genesys.token acme/u01"].Result != "pass" {
		t.Errorf("--json has %d checks", len(found))
	}
	inboxes[7].AnswerMe("emma")
	out := w.expect(6, "doctor").stdout // the store's fault
	for _, want := range []string{
		"genesys.token acme 46 of 48 accepted", "genesys.user acme 45 of 48 have their own user's token", "genesys.read acme 46 of 48 can be listed",
		"genesys.delete acme 46 of 48: originals are not to be deleted", "genesys.rate_limit acme 46 of 48: Genesys allows 1000 requests a minute",
		"warn genesys.token acme/u03 the access token has expired", "warn genesys.token acme/u05 the access token in the ledger is not accepted any more",
		"fail genesys.user acme/u07 the token is that of user emma", "genesys.token acme/u03: run archiverd run --once", "genesys.rate_limit acme: set requests_per_minute to 1000",
	} {
		if !strings.Contains(strings.Join(strings.Fields(out), " "), want) {
			t.Errorf("the doctor does not say %q", want)
		}
	}
	if n := strings.Count(out, "acme/u"); n != 2*3 { // what was found, and what to do
		t.Errorf("the doctor names inboxes %d times", n)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestDoctorOfAnOutage wants the doctor to fit on a screen where Genesys refuses every
// inbox, each time with another correlation id.
func TestDoctorOfAnOutage(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range 24 {
		ids = append(ids, fmt.Sprintf("u%02d", i))
	}
	w, _ := newUsers(t, genesystest.Options{}, 1, ids...)
	w.once(0)
	w.cloud.Inject(genesystest.Fault{Op: opSummary, Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	out := w.expect(6, "doctor").stdout
	if n := strings.Count(out, "\nfail       genesys.read"); n != 21 || !strings.Contains(out, "4 more: archiverd doctor --json names them") {
		t.Errorf("want 20 inboxes, and a line for the other 4, got %d: %s", n, out)
	}
}
