package archiver

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// losingLedger gives claims that are lost right before a change for which lose returns
// true: another has the inbox from then on.
type losingLedger struct {
	ledger
	lose func(to state.State) bool
}

func (l losingLedger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	c, err := l.ledger.Claim(ctx, org, inbox)
	return losingClaim{c, l}, err
}

type losingClaim struct {
	state.Claim
	l losingLedger
}

func (c losingClaim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	if c.l.lose(to) {
		if err := c.Release(ctx); err != nil {
			return state.Entry{}, err
		}
		if _, err := c.l.ledger.Claim(ctx, org, user); err != nil {
			return state.Entry{}, err
		}
	}
	return c.Claim.Move(ctx, recording, from, to, edit)
}

// once returns a function that is true the first time it gets the state.
func once(s state.State) func(state.State) bool {
	var done atomic.Bool
	return func(to state.State) bool { return to == s && done.CompareAndSwap(false, true) }
}

// Whoever lost the claim asks for no deletion, and leaves the inbox to the other: neither
// its record, nor its pass, nor the journal is changed.
func TestLostClaimSendsNoDeletion(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(5)
	r.passed()
	before, err := r.Ledger.Inbox(t.Context(), org, user)
	if err != nil {
		t.Fatal(err)
	}
	journals := r.Objects("journal")
	got := r.pass(deleting, func(o *Options) { o.Ledger = losingLedger{o.Ledger, once(state.StateDeleteRequested)} })
	if !errors.Is(got.Err, state.ErrClaimLost) || failure.KindOf(got.Err) != failure.KindTemporary {
		t.Errorf("the pass ended with %v", got.Err)
	}
	if sent := r.Requests(opDelete); len(sent) != 0 {
		t.Errorf("deleted %q", sent)
	}
	after, err := r.Ledger.Inbox(t.Context(), org, user)
	if err != nil {
		t.Fatal(err)
	}
	if !after.Equal(&before) {
		t.Errorf("the inbox is %+v, want %+v", after, before)
	}
	archivertest.WantSame(t, "journals", r.Objects("journal"), journals)
}

// Once a change was refused because the claim is lost, nothing is sent but the aborts of
// the pass's own uploads: a transfer under way is abandoned, and no other begins.
func TestLostClaimEndsThePass(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(20)
	r.options.Workers = 2
	r.Cloud.Inject(genesystest.Fault{Op: opLink, Effect: r.Cloud.Stall()}) // one worker; it never goes on
	t.Cleanup(r.Cloud.Release)
	lose := once(state.StateArchived)
	var lost atomic.Bool
	r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if lost.Load() && req.Method != http.MethodDelete {
			t.Errorf("%s was sent after the claim was lost", name)
		}
		return send()
	})
	got := r.pass(func(o *Options) {
		o.Ledger = losingLedger{o.Ledger, func(to state.State) bool {
			if !lose(to) {
				return false
			}
			lost.Store(true)
			return true
		}}
	})
	if !errors.Is(got.Err, state.ErrClaimLost) {
		t.Errorf("the pass ended with %v", got.Err)
	}
	if n := len(r.Requests(opLink)); got.Pass.Archived != 0 || n != 2 {
		t.Errorf("%d archived, %d downloads begun", got.Pass.Archived, n)
	}
}

// A pass does not begin while another has the inbox.
func TestClaimedInboxIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(1)
	c, err := r.Ledger.Claim(t.Context(), org, user)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.pass(); !errors.Is(got.Err, state.ErrClaimed) {
		t.Errorf("the pass ended with %v", got.Err)
	}
	if sent := r.Requests(opList); len(sent) != 0 {
		t.Errorf("sent %q", sent)
	}
	if err := c.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.passed()
	r.passed() // the first has released its claim
}
