package watch

import (
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/service"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/tally"
)

// text is the page as a reader has it.
func text(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	code, _, body := get(h, path)
	if code != 200 {
		t.Fatalf("%d %s", code, body)
	}
	for _, name := range []string{"Ada", "ada@", "Secret call"} {
		if strings.Contains(body, name) {
			t.Errorf("the page shows %q", name)
		}
	}
	return html.UnescapeString(strings.Join(strings.Fields(tag.ReplaceAllString(body, " ")), " "))
}

func TestPage(t *testing.T) {
	deleting := archiver.Deletion{Enabled: true, After: 7 * 24 * time.Hour, MaxPerPass: 1000}
	var n tally.Tally
	n.Inboxes.Store(3)
	n.InboxesDone.Store(1)
	n.Found.Store(40)
	n.Archived.Store(8)
	n.Failed.Store(2)
	n.Bytes.Store(10 << 20)
	idle := service.Status{Started: now, Next: now.Add(time.Hour), Skipped: 3}
	running := idle
	running.Running = time.Now().Add(-100 * time.Second)
	broken := idle
	broken.Error, broken.Stopping = "no such bucket", true
	for name, tc := range map[string]struct {
		status   service.Status
		deletion archiver.Deletion
		want     []string
		not      []string
	}{
		"idle": {idle, archiver.Deletion{}, []string{
			"2 inboxes need a person", "No run is under way. The next begins at 2026-11-23 13:00", "3 scheduled runs were skipped since 2026-11-23 12:00",
			"archived 4", "archived, original deleted 1", "waiting 1", "failed, tried again 2", "of these need a person 1", "vanished before they were archived 1",
			"media 5.9 KiB", "oldest left by a pass 2026-11-22 12:00",
			"acme/u2 needs login the refresh token is revoked Let its user log in: archiverd login --org acme --inbox u2", "acme/u1 ok the last pass met 2 objects in the archive that are not what they should be See archiverd verify --inbox u1, which names them. 1 of its recordings have failed for a week",
			"Last good pass acme 3 2 1 2 4 1 1 5.9 KiB 2026-11-23 12:00",
			"fail-2 acme/u1 for a week Needs a person: remove the reason, then run archiverd retry. 3 2026-11-23 11:59 fail-1 acme/u1 <b>no answer</b> Nothing to do: tried again after 2026-11-23 12:00 . 3 2026-11-23 11:00",
			"2026-11-23 10:00 1h0m0s 3 5 0 0 0 B exit code 6",
			"acme/u1 1 failed; the next runs try again the last pass left a recording waiting", "ok 1 2 4 1 1 5.9 KiB 2026-11-23 12:00 acme/u2 needs login 0 0 0 0 0 0 B – 2 of 3: all inboxes",
			"Nothing: delete_originals is off."}, []string{"Under way", "arch-1", "acme/u3"}},
		"broken": {broken, archiver.Deletion{}, []string{"The last run could not be made: no such bucket", "No run is under way. The service is stopping."}, []string{"The next begins"}},
		"running": {running, deleting, []string{
			"Under way since", "10 of 40 recordings, 1 of 3 inboxes", "10.0 MiB at 10", "about 5m", "2 failed",
			"Originals are deleted 7d after", "at most 1000 in one pass",
			"arch-2 acme/u1 2026-11-21 12:00 2026-11-28 12:00 arch-1 acme/u1 2026-11-23 11:00 2026-11-30 11:00"},
			[]string{"No run is under way", "arch-3", "only a part"}},
	} {
		t.Run(name, func(t *testing.T) {
			page := text(t, newSite(t, sample(t), tc.status, tc.deletion, &n), "/")
			for _, want := range tc.want {
				if !strings.Contains(page, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(page, not) {
					t.Errorf("the page says %q", not)
				}
			}
			if t.Failed() {
				t.Log(page)
			}
		})
	}
}

// TestPageIsBounded wants a large ledger to make no larger a page, and to be told so.
func TestPageIsBounded(t *testing.T) {
	l := newLedger(t)
	var ids []string
	for i := range lookedAt + 100 {
		ids = append(ids, fmt.Sprintf("r%05d", i))
	}
	listed(t, l, "u000", ids...)
	must(t, l.List(t.Context(), "acme", "u000", nil, func(func(string) (state.Entry, bool)) (changes []state.Change) {
		for i, id := range ids {
			c := state.Change{Recording: id, From: state.StateListed, To: state.StateArchived, Edit: archivedAt(now)}
			if i < 60 {
				c.To, c.Edit = state.StateFailed, failedSince(now, false, "no answer")
			}
			changes = append(changes, c)
		}
		return changes
	}))
	h := newSite(t, l, service.Status{Next: now}, archiver.Deletion{Enabled: true}, &tally.Tally{})
	page := text(t, h, "/")
	for _, want := range []string{"50 of 60: archiverd ls --state failed lists them all", "covers only a part of the ledger", "Nothing needs a person"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for what, want := range map[string]int{"no answer": listShown, "acme/u000": 1 + 2*listShown} {
		if n := strings.Count(page, what); n != want {
			t.Errorf("%q is there %d times, want %d", what, n, want)
		}
	}
}

// thousands is a ledger with 2,000 inboxes of two organizations. Some are not well.
func thousands(t *testing.T, unwell map[string]func(*state.Inbox)) *bolt.Ledger {
	t.Helper()
	l := newLedger(t)
	var g errgroup.Group
	for i := range 2000 {
		org, id := []string{"acme", "umbrella"}[i%2], fmt.Sprintf("u%04d", i)
		g.Go(func() error {
			return l.AddPass(t.Context(), org, id, state.Pass{Start: now.Add(-time.Minute), End: now}, func(in *state.Inbox) {
				in.Condition, in.LastSuccess = state.ConditionOK, now
				if f := unwell[id]; f != nil {
					f(in)
				}
			})
		})
	}
	must(t, g.Wait())
	return l
}

func inCondition(condition, reason string) func(*state.Inbox) {
	return func(i *state.Inbox) { i.Condition, i.Reason = condition, reason }
}

// TestThousands wants a page of 2,000 inboxes to show the few that are not well, the
// organizations' sums, and the way to all of them.
func TestThousands(t *testing.T) {
	loggedOut := func(i *state.Inbox) { inCondition(state.ConditionNeedsLogin, "nobody's")(i); i.LoggedOut = true }
	l := thousands(t, map[string]func(*state.Inbox){
		"u0700": inCondition(state.ConditionNeedsLogin, "revoked"), "u0801": inCondition(state.ConditionFailing, "no permission"), "u0900": loggedOut,
		"u1000": func(i *state.Inbox) { i.OldestWaiting = now.Add(-72 * time.Hour) }, "u1001": func(i *state.Inbox) { i.OldestWaiting = time.Now().Add(-time.Hour) },
	})
	listed(t, l, "u0702", "r1")
	move(t, l, "u0702", "r1", state.StateListed, state.StateFailed, failedSince(now, false, "no answer"))
	h := newSite(t, l, service.Status{Next: now}, archiver.Deletion{}, &tally.Tally{})
	page := text(t, h, "/")
	for _, want := range []string{"2 inboxes need a person", "acme 1,000 3 0 1 ", "umbrella 1,000 1 0 0 ", "4 of 2,000: all inboxes",
		"umbrella/u0801 failing no permission", "acme/u0700 needs login revoked", "acme/u0702 1 failed; the next runs try again", "acme/u1000 the last pass left a recording waiting"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q: %s", want, page)
		}
	}
	if n := len(regexp.MustCompile(`/u\d{4} `).FindAllString(page, -1)); n != 2+4+1 { // what needs a person, the table, and the failure
		t.Errorf("the page names inboxes %d times: %s", n, page)
	}
	all := text(t, h, "/inboxes")
	if n := len(regexp.MustCompile(`/u\d{4} `).FindAllString(all, -1)); n != 2000 {
		t.Errorf("the full list names %d inboxes", n)
	}
	if first := strings.Index(all, "umbrella/u0801"); first < 0 || first > strings.Index(all, "acme/u0000") {
		t.Error("the full list does not begin with those that need someone")
	}
}

// TestAllUnwell wants an outage of everything to make no larger a page, and every inbox counted.
func TestAllUnwell(t *testing.T) {
	unwell := map[string]func(*state.Inbox){}
	for i := range 2000 {
		unwell[fmt.Sprintf("u%04d", i)] = inCondition(state.ConditionFailing, "Genesys is away")
	}
	h := newSite(t, thousands(t, unwell), service.Status{Next: now}, archiver.Deletion{}, &tally.Tally{})
	page := text(t, h, "/")
	for _, want := range []string{"2,000 inboxes need a person", "50 of 2,000: all inboxes begin with them", "200 of 2,000: all inboxes"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := strings.Count(page, "Genesys is away"); n != listShown {
		t.Errorf("the reason is there %d times", n)
	}
	if n := strings.Count(text(t, h, "/inboxes"), "Genesys is away"); n != 2000 {
		t.Errorf("the full list has the reason %d times", n)
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1997: "1,997", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if have := Number(n); have != want {
			t.Errorf("%d is %q, want %q", n, have, want)
		}
	}
}
