package archiver

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// deleteRig holds one archived recording, on a store that checks.
func deleteRig(t *testing.T, lock bool) *rig {
	t.Parallel()
	r := newRig(t, archivertest.Checking, lock)
	r.options.Workers = 1
	r.Add(1)
	r.passed()
	r.WantArchived("rec-01")
	return r
}

// accepting is a store that takes what it should refuse, as the canary asks it to.
func accepting(request string) rule {
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == request {
			return archivertest.Answer(req, http.StatusOK, ""), nil
		}
		return send()
	}
}

// Promise 3: a store that the canary caught is not believed. Media and manifest
// are read back before the deletion, and a byte that differs keeps the original.
func TestCanaryDecidesWhatIsReadBack(t *testing.T) {
	for name, c := range map[string]struct {
		rule rule // nil: the store is sound
		gets int
		flip string // whose bytes differ
	}{
		"a store that checks":             {nil, 0, ""},
		"takes a wrong checksum":          {accepting("PUT doctor corrupt"), 1, ""},
		"takes a second create":           {accepting("PUT doctor"), 1, ""},
		"takes it, and other media":       {accepting("PUT doctor corrupt"), 1, "media"},
		"takes it, and another manifest":  {accepting("PUT doctor"), 1, "manifests"},
		"unseen: other bytes, right HEAD": {nil, 0, "media"},
	} {
		t.Run(name, func(t *testing.T) {
			r := deleteRig(t, true)
			rules := flippedReply("GET " + c.flip)
			if c.rule != nil {
				rules = both(c.rule, rules)
			}
			r.Wire.Use(rules)
			report := r.passed(deleting)
			if n := r.Wire.Count("GET media"); n != c.gets {
				t.Errorf("the media were read %d times, want %d", n, c.gets)
			}
			if n := r.Wire.Count("GET manifests"); (c.flip != "media" || c.gets == 0) && n != 1 {
				t.Errorf("the manifest was read %d times, want 1", n)
			}
			kept := c.flip != "" && c.gets > 0
			if sent := len(r.Requests(opDelete)); sent == 1 == kept || sent > 1 {
				t.Errorf("%d deletions", sent)
			}
			if (len(report.Corrupt) > 0) != kept {
				t.Errorf("reported as corrupt: %q", report.Corrupt)
			}
		})
	}
}

// The ledger's version is what has to be there: a store that answers a HEAD for it
// with another version, of the same size and checksum, has not shown it.
func TestAnotherVersionKeepsTheOriginal(t *testing.T) {
	for _, kind := range []string{"media", "manifests"} {
		t.Run(kind, func(t *testing.T) {
			r := deleteRig(t, true)
			r.Wire.Altered("HEAD "+kind, "X-Amz-Version-Id", "another-version")
			report := r.passed(deleting)
			if sent := r.Requests(opDelete); len(sent) != 0 {
				t.Errorf("deleted %q", sent)
			}
			if len(report.Corrupt) == 0 {
				t.Error("not reported")
			}
		})
	}
}

// The conditions stand in an order: where one does not hold, none of the later
// ones is asked for, and least of all the deletion.
func TestDeletionChecksInOrder(t *testing.T) {
	checks := []string{"PUT doctor corrupt", "HEAD media", "HEAD manifests", opGet, opDelete}
	for _, c := range []struct {
		name string
		last int // the last of the checks that is made; -1: none
		err  bool
		rule func(*rig)
	}{
		{"all hold", 4, false, func(*rig) {}},
		{"GET shows another dateModified", 3, false, func(r *rig) {
			r.onPages(func(int, int) { r.User.Change("rec-01") })
		}},
		{"the manifest is missing", 2, false, func(r *rig) { r.Wire.Use(absentFor("HEAD manifests")) }},
		{"the media are missing", 1, false, func(r *rig) { r.Wire.Use(absentFor("HEAD media")) }},
		{"the clocks differ", -1, true, func(r *rig) {
			r.Cloud.Configure(func(o *genesystest.Options) { o.DateSkew = -6 * time.Minute })
		}},
		{"it is not time yet", -1, false, func(r *rig) { r.options.Delete.After = time.Hour }},
		{"another ledger's inbox", -1, false, (*rig).otherClaim},
		{"not enabled", -1, false, func(r *rig) { r.options.Delete.MaxPerPass = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := deleteRig(t, false)
			r.Wire.Use(nil)
			c.rule(r)
			gets := len(r.Requests(opGet))
			if err := r.pass(deleting).Err; (err != nil) != c.err {
				t.Errorf("the pass ended with %v", err)
			}
			for i, check := range checks {
				n := r.Wire.Count(check)
				if check == opGet || check == opDelete {
					n = len(r.Requests(check))
				}
				if check == opGet {
					n -= gets
				}
				if made := n > 0; made != (i <= c.last) {
					t.Errorf("%s was asked for %d times, after the check that ends it all: %v", check, n, i > c.last)
				}
			}
		})
	}
}

// otherClaim makes the archive name another ledger as the inbox's owner.
func (r *rig) otherClaim() {
	claim := []byte(`{"ledger":"another"}`)
	r.Wire.Use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == "GET owners" {
			return archivertest.Answer(req, http.StatusOK, string(claim)), nil
		}
		return send()
	})
}

// Listing never overlaps sending deletes, and the last look at a recording is right
// before its deletion.
func TestDeletionComesLast(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.Workers = 1
	r.in.PageSize = 2
	r.Add(5)
	r.passed(deleting)
	var ops []string
	for _, e := range r.Cloud.Events() {
		ops = append(ops, e.Op+" "+e.Recording)
	}
	first := slices.IndexFunc(ops, func(op string) bool { return strings.HasPrefix(op, opDelete+" ") })
	if first < 0 {
		t.Fatalf("no deletion among %q", ops)
	}
	for i, op := range ops[first-1:] {
		_, id, _ := strings.Cut(ops[first-1+i-i%2], " ")
		if want := []string{opGet, opDelete}[i%2] + " " + id; op != want {
			t.Errorf("after the listing: %q, want pairs of GET and DELETE", ops[first-1:])
			break
		}
	}
}

func TestDeletionCap(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(5)
	capped := func(o *Options) { o.Delete.MaxPerPass = 2 }
	for pass, want := range []int{2, 4, 5, 5} {
		report := r.passed(deleting, capped)
		if sent := len(r.Requests(opDelete)); sent != want {
			t.Errorf("pass %d: %d deletions in all, want %d (this pass says %d)", pass+1, sent, want, report.Pass.DeleteRequested)
		}
	}
}

// Originals that are looked at and kept use nothing of the cap up: those behind them
// would never have their turn. However many are looked at at a time, it holds.
func TestDeletionCapCountsRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	ids := r.Add(9)
	for _, id := range ids[:4] {
		r.Cloud.Inject(genesystest.Fault{Op: opGet, Recording: id, Times: genesystest.Always, Effect: genesystest.Status(403, "not.authorized")})
	}
	report := r.passed(deleting, func(o *Options) { o.Workers, o.Memory, o.Delete.MaxPerPass = 9, 9*PartSize, 2 })
	sent := r.Requests(opDelete)
	if len(sent) != 2 || report.Pass.DeleteRequested != 2 {
		t.Errorf("deleted %q (the pass says %d), want two of %q", sent, report.Pass.DeleteRequested, ids[4:])
	}
}

// The entry says delete_requested, in the file, when the request arrives at Genesys;
// a process that ended between the two left that, and it is no reason to send.
func TestDeleteRequestedIsNoReasonToSend(t *testing.T) {
	r := deleteRig(t, true)
	seen := state.State("")
	r.Cloud.Configure(func(o *genesystest.Options) {
		o.OnDelete = func(string, string) error { seen = r.Entry("rec-01").State; return nil }
	})
	crash, end := context.WithCancel(context.Background())
	defer end()
	r.in.API = endingAPI{r.in.API, end}
	r.archiver(deleting).Run(crash, crash, []Inbox{r.in})
	r.WantState("rec-01", state.StateDeleteRequested)
	r.in = r.inboxOf(r.User)
	for range 3 {
		r.passed(deleting)
	}
	if sent := r.Requests(opDelete); len(sent) != 0 {
		t.Fatalf("the request was sent though nobody asked for it again: %q", sent)
	}
	r.Edit("rec-01", func(e *state.Entry) { e.DeleteRequestedAt = e.DeleteRequestedAt.Add(-listingLag) })
	r.passed(deleting)
	if sent := len(r.Requests(opDelete)); sent != 1 || seen != state.StateDeleteRequested {
		t.Errorf("%d deletions a day later; the ledger said %q as one arrived", sent, seen)
	}
}

// endingAPI ends the process instead of sending a deletion.
type endingAPI struct {
	recordingsAPI
	end context.CancelFunc
}

func (a endingAPI) DeleteRecording(context.Context, string) error {
	a.end()
	return &genesys.Error{Op: opDelete, Err: context.Canceled}
}

// How the wire shows what became of a deletion.
func TestDeletionOverTheWire(t *testing.T) {
	for name, c := range map[string]struct {
		effect genesystest.Effect
		want   state.State
	}{
		"refused":                    {genesystest.Status(409, "conflict"), state.StateArchived},
		"never arrived":              {genesystest.Reset(), state.StateDeleteRequested},
		"the reply got lost":         {genesystest.LoseReply(), state.StateDeleteRequested},
		"a gateway's 404, unread":    {genesystest.HTML(404), state.StateDeleteRequested},
		"gone already: that is done": {genesystest.Status(404, "not.found"), state.StateDeleteRequested},
	} {
		t.Run(name, func(t *testing.T) {
			r := deleteRig(t, false)
			r.Cloud.Inject(genesystest.Fault{Op: opDelete, Effect: c.effect})
			r.passed(deleting)
			if e := r.WantState("rec-01", c.want); e.DeleteAttempts != 1 {
				t.Errorf("%d attempts", e.DeleteAttempts)
			}
			if sent := len(r.Requests(opDelete)); sent != 1 {
				t.Errorf("%d requests: one is sent, and never again in a pass", sent)
			}
		})
	}
}

// A deletion that Genesys refuses is asked for again later and later, but not where it
// was the rate limit, and once it is accepted nothing of that is left.
func TestRefusedDeletionWaits(t *testing.T) {
	r := deleteRig(t, false)
	refuse := func(status int, code string) {
		r.Cloud.ClearFaults()
		r.Cloud.Inject(genesystest.Fault{Op: opDelete, Times: genesystest.Always, Effect: genesystest.Status(status, code)})
	}
	asked := 0
	pass := func(want int) state.Entry {
		t.Helper()
		r.passed(deleting)
		if asked += want; len(r.Requests(opDelete)) != asked {
			t.Fatalf("%d deletions were asked for, want %d", len(r.Requests(opDelete)), asked)
		}
		return r.Entry("rec-01")
	}
	refuse(409, "conflict")
	for n, wait := range []time.Duration{firstDelay, 2 * firstDelay, 4 * firstDelay} {
		before := time.Now()
		e := pass(1)
		if got := e.NextAttempt.Sub(before); got < wait || got > wait+time.Minute || e.State != state.StateArchived || !strings.Contains(e.LastError, "409 conflict") {
			t.Errorf("after refusal %d it waits %v, want %v: %s %q", n+1, got, wait, e.State, e.LastError)
		}
		pass(0)
		if planned := r.plan(deleting)["rec-01"]; planned != "wait its deletion was refused and is asked for again after" {
			t.Errorf("a dry run says %q", planned)
		}
		r.Edit("rec-01", func(e *state.Entry) { e.NextAttempt = time.Now() })
	}
	refuse(429, "too.many.requests.retry.after")
	if e := pass(1); e.NextAttempt.After(time.Now()) {
		t.Errorf("a rate limit has it wait until %v", e.NextAttempt)
	}
	r.Cloud.ClearFaults()
	if e := pass(1); e.State != state.StateDeleteRequested || e.LastError != "" || !e.NextAttempt.IsZero() {
		t.Errorf("accepted: %s, %q, next attempt %v", e.State, e.LastError, e.NextAttempt)
	}
}

func TestRipe(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339Nano) }
	p := &visit{Archiver: &Archiver{Options: Options{Delete: Deletion{After: time.Hour}}}}
	for name, c := range map[string]struct {
		archived         time.Duration
		modified, listed string
		suspect          string
		want             bool
	}{
		"an hour since both":         {-time.Hour, at(-time.Hour), at(-time.Hour), "", true},
		"archived a moment too late": {-time.Hour + 1, at(-time.Hour), at(-time.Hour), "", false},
		"changed a moment too late":  {-time.Hour, at(-time.Hour + 1), at(-time.Hour + 1), "", false},
		"no dateModified":            {-time.Hour, "", "", "", false},
		"unreadable dateModified":    {-time.Hour, "yesterday", "yesterday", "", false},
		"listed with another date":   {-time.Hour, at(-2 * time.Hour), at(-3 * time.Hour), "", false},
		"suspect":                    {-time.Hour, at(-time.Hour), at(-time.Hour), "why", false},
		"a clock that jumped":        {time.Hour, at(-time.Hour), at(-time.Hour), "", false},
	} {
		e := state.Entry{DateModified: c.listed, Versions: []state.Version{
			{ArchivedAt: now.Add(-24 * time.Hour), DateModified: at(-24 * time.Hour)}, // only the newest counts
			{ArchivedAt: now.Add(c.archived), DateModified: c.modified, Suspect: c.suspect},
		}}
		if got := p.waited(e, now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
