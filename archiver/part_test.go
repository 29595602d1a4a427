package archiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// parts makes a pass in parts, each in a new process, until one does not yield.
func (r *rig) parts(stop context.Context, slice time.Duration) (last InboxReport, parts int) {
	r.T.Helper()
	var earlier *InboxReport
	for {
		a := r.archiver(deleting)
		c, err := r.Ledger.Claim(r.T.Context(), org, user)
		if err != nil {
			r.T.Fatal(err)
		}
		last = a.Pass(r.T.Context(), stop, r.in, Part{Claim: c, Side: 1, Slice: slice, Earlier: earlier})
		if err := c.Release(r.T.Context()); err != nil {
			r.T.Fatal(err)
		}
		parts++
		if !errors.Is(last.Err, ErrYielded) {
			return last, parts
		}
		earlier = &last
		stop = r.T.Context()
	}
}

// A pass in parts does what a whole one does, counts as one, and tries each recording once.
func TestPassInParts(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	ids := r.Add(10)
	r.options.Workers = 1
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Times: 1, Effect: genesystest.Status(404, "")})
	got, parts := r.parts(t.Context(), time.Nanosecond)
	if got.Err != nil || got.Pass.Archived+got.Pass.Failed != 10 || got.Pass.Failed > 1 || got.Pass.DeleteRequested != got.Pass.Archived {
		t.Errorf("%v, %+v", got.Err, got.Pass)
	}
	if parts < 2 {
		t.Errorf("made in %d parts", parts)
	}
	if n := len(r.Requests(opLink)); n > len(ids)+1 {
		t.Errorf("%d downloads of %d recordings", n, len(ids))
	}
	passes, err := r.Ledger.Passes(t.Context(), org, user, 10)
	if err != nil || len(passes) != 1 || passes[0].Archived != got.Pass.Archived || !passes[0].Complete {
		t.Errorf("%v, passes: %+v", err, passes)
	}
}

// A pass in parts that is told to stop goes on later, and nothing speaks of a failure.
func TestStoppedPartGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(3)
	stop, end := context.WithCancel(t.Context())
	r.Wire.Use(func(name string, _ *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		end() // the first request to the store
		return send()
	})
	got, parts := r.parts(stop, time.Hour)
	if got.Err != nil || parts != 2 || got.Pass.Archived != 3 {
		t.Errorf("%d parts, %v, %+v", parts, got.Err, got.Pass)
	}
	in, err := r.Ledger.Inbox(t.Context(), org, user)
	if err != nil || in.Condition != state.ConditionOK {
		t.Errorf("%v, the inbox is %s", err, in.Condition)
	}
}

// A pass that is stopped among its deletions does not begin to count them again.
func TestDeletionsOfAllParts(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(6)
	r.passed()
	r.options.Workers = 1
	r.options.Delete.MaxPerPass = 3
	stop, end := context.WithCancel(t.Context())
	r.Cloud.Inject(genesystest.Fault{Op: opDelete, Skip: 1, Effect: genesystest.Effect{Before: func(http.ResponseWriter, *http.Request) bool {
		end()
		return false
	}}})
	got, parts := r.parts(stop, time.Hour)
	if got.Err != nil || parts != 2 || got.Pass.DeleteRequested != 3 || len(r.Requests(opDelete)) != 3 {
		t.Errorf("%d parts, %v, %+v, deletions of %q", parts, got.Err, got.Pass, r.Requests(opDelete))
	}
}

// awayClaim is of a ledger that can't be reached when a recording is first moved.
type awayClaim struct {
	state.Claim
	moved atomic.Bool
}

func (c *awayClaim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	if !c.moved.Swap(true) {
		return state.Entry{}, fmt.Errorf("%w: injected", state.ErrUnavailable)
	}
	return c.Claim.Move(ctx, recording, from, to, edit)
}

// A part of a pass goes on later if it was stopped before it began, or could not reach the
// ledger. Nothing speaks of a failure then, also not the pass when it has ended.
func TestPartGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(3)
	c, err := r.Ledger.Claim(t.Context(), org, user)
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	part := Part{Claim: c, Side: 1, Slice: time.Hour}
	if got := r.archiver(deleting).Pass(t.Context(), stopped, r.in, part); !errors.Is(got.Err, ErrYielded) {
		t.Errorf("a part that was stopped before it began ended with %v", got.Err)
	}
	part.Claim = &awayClaim{Claim: c}
	got := r.archiver(deleting).Pass(t.Context(), t.Context(), r.in, part)
	if !errors.Is(got.Err, ErrYielded) {
		t.Errorf("a part without a ledger ended with %v", got.Err)
	}
	if in, err := r.Ledger.Inbox(t.Context(), org, user); err != nil || in.Condition == state.ConditionFailing {
		t.Errorf("%v, the inbox is %s", err, in.Condition)
	}
	got.Pass.Error = "of the part before"
	part.Claim, part.Earlier = c, &got
	if got := r.archiver(deleting).Pass(t.Context(), t.Context(), r.in, part); got.Err != nil || got.Pass.Error != "" {
		t.Errorf("the last part ended with %v, %+v", got.Err, got.Pass)
	}
}
