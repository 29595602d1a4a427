package archiver

import (
	"context"
	"errors"
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

// TestDeletes is the control for all the reasons to keep an original: where nothing
// speaks against it, each is asked for once, and the next complete walk says deleted.
func TestDeletes(t *testing.T) {
	for name, on := range map[string]*archivertest.Server{"a store that checks": archivertest.Checking, "a store that only echoes": archivertest.Echoing} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, on, false)
			ids := r.Add(3)
			r.passed(deleting)
			for _, id := range ids {
				if e := r.WantState(id, state.StateDeleteRequested); e.DeleteAttempts != 1 {
					t.Errorf("%s: %d attempts", id, e.DeleteAttempts)
				}
			}
			r.passed(deleting)
			for _, id := range ids {
				r.WantState(id, state.StateDeleted)
			}
			got := r.Requests(opDelete)
			slices.Sort(got)
			archivertest.WantSame(t, "deletions", got, ids)
		})
	}
}

// In a short inbox, what is listed is deleted, and the journal does not claim that the walk
// was complete.
func TestDeletesInAShortInbox(t *testing.T) {
	r := newRig(t, archivertest.Checking, false)
	ids := r.Add(3)
	r.Cloud.Configure(func(o *genesystest.Options) { o.TotalOffset = 2 })
	r.passed(deleting)
	var told []string
	objects, _ := r.Journal()
	for _, e := range objects[len(objects)-1].Events {
		if e.To != state.StateDeleteRequested {
			continue
		}
		told = append(told, e.Recording)
		if strings.Contains(e.Why, "complete walk") || !strings.Contains(e.Why, "Genesys counts more recordings than it lists") {
			t.Errorf("the deletion of %s was checked by %q", e.Recording, e.Why)
		}
	}
	slices.Sort(told)
	archivertest.WantSame(t, "deletions in the journal", told, ids)
}

// keeps breaks one condition of a deletion between two passes, and wants no DELETE.
type keeps struct {
	name  string
	first func(*Options) // of the pass that archives
	rig   func(*rig)     // what is broken before the pass that could delete
	pass  func(*Options) // and of that pass
	lock  bool
	err   string // that the pass fails with
}

func TestKeepsOriginal(t *testing.T) {
	none := func(*Options) {}
	for _, c := range []keeps{
		{name: "deletions are off", rig: func(*rig) {}, pass: func(o *Options) { o.Delete.Enabled = false }},
		{name: "the cap is reached", rig: func(*rig) {}, pass: func(o *Options) { o.Delete.MaxPerPass = 0 }},
		{name: "it was archived too lately", rig: func(*rig) {}, pass: func(o *Options) { o.Delete.After = time.Hour }},
		{name: "another ledger owns the inbox", rig: (*rig).otherOwner},
		{name: "the walk is not complete", rig: func(r *rig) {
			r.Cloud.Configure(func(o *genesystest.Options) {
				o.OnPage = func(i *genesystest.Inbox, _ int) { // a new old one for each page
					i.Add(genesystest.Recording{ID: "late-" + time.Now().Format("150405.000000000"), Duration: 100 * time.Millisecond, DateCreated: time.Now().Add(-time.Hour)})
				}
				o.TotalOffset = 1
			})
		}},
		{name: "users/me refuses to answer", rig: func(r *rig) {
			r.Cloud.Configure(func(o *genesystest.Options) { o.RefuseMe = true })
			r.in = r.inboxOf(r.User)
		}},
		{name: "Genesys' clock differs", err: "clock", rig: func(r *rig) {
			r.Cloud.Configure(func(o *genesystest.Options) { o.DateSkew = 6 * time.Minute })
		}},
		{name: "the store's clock differs", err: "clock", rig: func(r *rig) {
			r.Wire.Use(archivertest.Header("", "Date", time.Now().Add(-6*time.Minute).UTC().Format(http.TimeFormat)))
		}},
		{name: "the media's size differs", rig: func(r *rig) { r.Wire.Altered("HEAD media", "Content-Length", "1") }},
		{name: "the media's checksum differs", rig: func(r *rig) {
			r.Wire.Altered("HEAD media", "X-Amz-Checksum-Sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		}},
		{name: "the manifest's checksum differs", rig: func(r *rig) {
			r.Wire.Altered("HEAD manifests", "X-Amz-Checksum-Sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
		}},
		{name: "the media are missing", rig: func(r *rig) { r.Wire.Use(absentFor("HEAD media")) }},
		{name: "the manifest is missing", rig: func(r *rig) { r.Wire.Use(absentFor("HEAD manifests")) }},
		{name: "the media differ when read back", rig: func(r *rig) {
			r.Wire.Altered("HEAD media", "X-Amz-Checksum-Sha256", "")
			r.Wire.Also(flippedReply("GET media"))
		}},
		{name: "the manifest differs when read back", rig: func(r *rig) {
			r.Wire.Altered("HEAD manifests", "X-Amz-Checksum-Sha256", "")
			r.Wire.Also(flippedReply("GET manifests"))
		}},
		{name: "the retention is shorter", lock: true, rig: func(r *rig) {
			r.Wire.Altered("HEAD media", "X-Amz-Object-Lock-Retain-Until-Date", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}},
		{name: "the retention is gone", lock: true, rig: func(r *rig) { r.Wire.Altered("HEAD manifests", "X-Amz-Object-Lock-Mode", "") }},
		{name: "a lifecycle rule expires the media first", rig: func(r *rig) {
			r.Wire.Altered("HEAD media", "X-Amz-Expiration", `expiry-date="Fri, 01 Jan 2027 00:00:00 GMT", rule-id="x"`)
		}},
		{name: "it can't be looked at", rig: func(r *rig) {
			r.Cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.Status(500, "internal.server.error")})
		}},
		{name: "it is not there any more", rig: func(r *rig) {
			r.Cloud.Inject(genesystest.Fault{Op: opGet, Times: genesystest.Always, Effect: genesystest.Status(404, "not.found")})
		}},
		{name: "it changed after the walk", rig: func(r *rig) {
			r.Cloud.Configure(func(o *genesystest.Options) {
				o.OnPage = func(i *genesystest.Inbox, _ int) { i.Change("rec-01") }
			})
		}},
		{name: "the media are suspect", rig: func(*rig) {}, first: nil, pass: nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, archivertest.Checking, c.lock)
			edit := []func(*genesystest.Recording){func(*genesystest.Recording) {}}
			passes := 1
			if strings.Contains(c.name, "suspect") {
				edit[0] = func(rec *genesystest.Recording) { rec.MediaDuration = 5 * time.Second }
				passes = suspectPass
			}
			r.Add(1, edit...)
			for range passes {
				r.pass(or(c.first, none))
			}
			r.WantState("rec-01", state.StateArchived)
			c.rig(r)
			a := r.archiver(deleting, or(c.pass, none))
			ctx := context.Background()
			err := a.Run(ctx, ctx, []Inbox{r.in}).Inboxes[0].Err
			r.Wire.Use(nil)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("the pass ended with %v, want %q", err, c.err)
			}
			if sent := r.Requests(opDelete); len(sent) != 0 {
				t.Errorf("deleted %q", sent)
			}
		})
	}
}

func or[T any](f, other func(T)) func(T) {
	if f == nil {
		return other
	}
	return f
}

// otherOwner puts another ledger's claim in the place of this one's.
func (r *rig) otherOwner() {
	r.T.Helper()
	r.CloseLedger()
	r.Path += ".other"
	r.OpenLedger()
	r.Login(r.User)
	r.passed()
}

type rule = archivertest.Rule

func absentFor(name string) rule {
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == name {
			return archivertest.Answer(req, http.StatusNotFound, ""), nil
		}
		return send()
	}
}

func flippedReply(name string) rule {
	return func(n string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		resp, err := send()
		if err == nil && n == name {
			resp.Body = archivertest.Flip(resp.Body)
		}
		return resp, err
	}
}

// orderLedger and orderAPI write down what a deletion does in which order.
type orderLedger struct {
	ledger
	log *[]string
}

func (l orderLedger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	c, err := l.ledger.Claim(ctx, org, inbox)
	return orderClaim{c, l.log}, err
}

type orderClaim struct {
	state.Claim
	log *[]string
}

func (c orderClaim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	e, err := c.Claim.Move(ctx, recording, from, to, edit)
	*c.log = append(*c.log, string(to))
	return e, err
}

type orderAPI struct {
	recordingsAPI
	log *[]string
	err error
}

func (a orderAPI) DeleteRecording(ctx context.Context, id string) error {
	*a.log = append(*a.log, "DELETE")
	if a.err != nil {
		return a.err
	}
	return a.recordingsAPI.DeleteRecording(ctx, id)
}

func TestDeletionIsDurableBeforeItIsSent(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want []string
	}{
		{"accepted", nil, []string{"archived", "delete_requested", "DELETE"}},
		{"refused", &genesys.Error{Op: opDelete, Status: 409, Code: "request.conflict", Parsed: true}, []string{"archived", "delete_requested", "DELETE", "archived"}},
		{"no reply", &genesys.Error{Op: opDelete, Err: errors.New("connection reset")}, []string{"archived", "delete_requested", "DELETE"}},
		{"timed out there", &genesys.Error{Op: opDelete, Status: 408, Code: "client.timeout", Parsed: true}, []string{"archived", "delete_requested", "DELETE"}},
		{"refused by who knows whom", &genesys.Error{Op: opDelete, Status: 409}, []string{"archived", "delete_requested", "DELETE"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, archivertest.Checking, false)
			r.Add(1)
			var log []string
			r.in.API = orderAPI{r.in.API, &log, c.err}
			r.passed(deleting, func(o *Options) { o.Ledger = orderLedger{o.Ledger, &log} })
			archivertest.WantSame(t, "steps", log, c.want)
		})
	}
}

func TestDeletionThatDidNotHappen(t *testing.T) {
	r := newRig(t, archivertest.Checking, false)
	r.Add(1)
	r.Cloud.Configure(func(o *genesystest.Options) { o.DeletedListings = -1 })
	r.passed(deleting)
	r.passed(deleting)
	r.WantState("rec-01", state.StateDeleteRequested) // it may only be slow
	r.Edit("rec-01", func(e *state.Entry) { e.DeleteRequestedAt = e.DeleteRequestedAt.Add(-listingLag) })
	r.passed() // deletions off: what it becomes is to be seen
	if e := r.WantState("rec-01", state.StateArchived); e.DeleteAttempts != 1 {
		t.Errorf("%d attempts counted", e.DeleteAttempts)
	}
	r.passed(deleting)
	if e := r.WantState("rec-01", state.StateDeleteRequested); e.DeleteAttempts != 2 {
		t.Errorf("%d attempts counted", e.DeleteAttempts)
	}
}
