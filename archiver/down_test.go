package archiver

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// unavailable answers requests of a name in the place of a store that is down.
func unavailable(name string) rule {
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == name {
			return archivertest.Answer(req, http.StatusServiceUnavailable, "<Error><Code>ServiceUnavailable</Code></Error>"), nil
		}
		return send()
	}
}

// downAPI shows no recording, in a way that the pass does not wait out.
type downAPI struct {
	recordingsAPI
	asked *int
}

func (a downAPI) Recording(context.Context, string, ...string) (*genesys.Recording, error) {
	*a.asked++
	return nil, &genesys.Error{Op: "media_link", Status: http.StatusServiceUnavailable, RetryAfter: time.Hour}
}

// Promise 7: a service that fails one original after the other ends the pass soon, and
// the next one goes on.
func TestServiceDownEndsDeleting(t *testing.T) {
	const storeTries = 3
	for name, down := range map[string]func(*rig) (asked func() int, tries int){
		"the store": func(r *rig) (func() int, int) {
			r.Wire.Use(unavailable("HEAD media"))
			return func() int { return r.Wire.Count("HEAD media") }, storeTries
		},
		"Genesys, asked for the recording": func(r *rig) (func() int, int) {
			asked := 0
			r.in.API = downAPI{r.in.API, &asked}
			return func() int { return asked }, 1
		},
		"Genesys, asked to delete it": func(r *rig) (func() int, int) {
			r.Cloud.Inject(genesystest.Fault{Op: opDelete, Times: genesystest.Always, Effect: genesystest.Status(503, "service.unavailable")})
			return func() int { return len(r.Requests(opDelete)) }, 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, false)
			r.options.Workers = 1
			ids := r.Add(3 * downStreak)
			r.passed()
			up := r.in
			asked, tries := down(r)
			archivertest.WantErr(t, r.pass(deleting).Err, failure.KindTemporary, "one recording after the other")
			// One more may have begun before the last one failed.
			if n := asked(); n < tries*downStreak || n > tries*(downStreak+1) {
				t.Errorf("it was asked %d times, want %d for each of %d", n, tries, downStreak)
			}
			r.in = up
			r.Wire.Use(nil)
			r.Cloud.ClearFaults()
			r.passed(deleting)
			for _, id := range ids {
				r.WantState(id, state.StateDeleteRequested)
			}
		})
	}
}

// One that goes well begins the count anew.
func TestSomeFailuresEndNoDeleting(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.options.Workers = 1
	for i, id := range r.Add(3 * downStreak) {
		if (i+1)%downStreak != 0 {
			r.Cloud.Inject(genesystest.Fault{Op: opDelete, Recording: id, Effect: genesystest.Status(503, "service.unavailable")})
		}
	}
	if report := r.passed(deleting); report.Pass.DeleteRequested != 3 || len(r.Requests(opDelete)) != 3*downStreak {
		t.Errorf("%d of %d deletions went well, want 3", report.Pass.DeleteRequested, len(r.Requests(opDelete)))
	}
}

// Settling has the same rule. A single recording that can't be looked at stops no other.
func TestServiceDownEndsSettling(t *testing.T) {
	const n = 2*downStreak + 1
	for name, down := range map[string]func(*rig){
		"the store": func(r *rig) { r.Wire.Use(unavailable("HEAD media")) },
		"Genesys":   func(r *rig) { r.in.API = downAPI{r.in.API, new(int)} },
	} {
		for missing, ends := range map[int]bool{1: false, downStreak - 1: false, n: true} {
			t.Run(fmt.Sprintf("%s, %d", name, missing), func(t *testing.T) {
				r, ids := missingRig(t, n+1, missing)
				up := r.in
				down(r)
				err := r.walk().settle(t.Context())
				if ends {
					archivertest.WantErr(t, err, failure.KindTemporary, "one recording after the other")
				} else if err != nil {
					t.Error(err)
				}
				for _, id := range ids[:missing] {
					r.WantState(id, state.StateListed)
				}
				r.in = up
				r.Wire.Use(nil)
				r.settled()
				for _, id := range ids[:missing] {
					r.WantState(id, state.StateVanished)
				}
			})
		}
	}
}

// Media whose original disappeared before they were described are not given up because
// the store can't be read just now.
func TestUndescribedMediaWaitForTheStore(t *testing.T) {
	t.Parallel()
	r := undescribed(t)
	r.Wire.Use(unavailable("GET media"))
	r.passed()
	r.passed()
	r.WantState("rec-01", state.StateListed)
	r.Wire.Use(nil)
	r.passed()
	r.WantState("rec-01", state.StateGone)
}
