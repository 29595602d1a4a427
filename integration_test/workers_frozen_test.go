package integration_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

// TestWorkerFrozen stops a process in the middle of a request, for so long that another one
// has its inbox, and wakes it then.
func TestWorkerFrozen(t *testing.T) {
	for name, op := range map[string]string{"download": opLink, "deletion": opDelete, "listing": opList} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMembers(t, 0)
			m.freeze("works on the inbox", m.atGenesys(op, m.cloud.Stall()))
			m.finish()
		})
	}
}

// TestWorkersFrozenPutting stops processes in the middle of a put, until another one has done
// all that there was to do for their inboxes. Their requests take effect then, or are
// answered then.
func TestWorkersFrozenPutting(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 0)
	for _, in := range m.inboxes {
		in.Add(genesystest.Recording{ID: in.ID + "-large", Size: 9 << 20})
		m.ids[in] = append(m.ids[in], in.ID+"-large")
	}
	put := func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.RawQuery == "x-id=PutObject" }
	complete := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	m.freeze("leaves the inbox",
		m.atStore(put, false), m.atStore(put, true), m.atStore(complete, false), m.atStore(complete, true))
	m.finish()
}

// TestWorkersFrozenRenewing stops processes in the middle of the renewal of a user's token.
// Nobody can know whether the refresh token is spent, so nobody sends it again, and the user
// has to log in.
func TestWorkersFrozenRenewing(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 0)
	m.logIn(0)
	frozen := m.freeze("leaves the inbox",
		m.atGenesys(opToken, m.cloud.Stall()), m.atGenesys(opToken, m.cloud.StallAfter(1)))
	m.runs(1)
	for _, in := range frozen {
		if n := m.asked(in, opToken); n != 1 {
			t.Errorf("%d requests for a token while one was perhaps being made", n)
		}
		m.withDatabase(func(l *postgres.Ledger) {
			known, err := l.Inbox(t.Context(), "acme", in.ID)
			if err != nil || known.Condition != state.ConditionNeedsLogin {
				t.Errorf("the inbox is %q (%s), %v", known.Condition, known.Reason, err)
			}
		})
	}
	m.logInTo(time.Hour, frozen...)
	m.finish()
	m.noneSpent()
}

// standstill waits for a moment at which a process is to be stopped, and returns the inbox.
type standstill struct {
	begin  func() (reached <-chan string)
	passed func() // lets go on what waits for the process
}

// atGenesys is when Genesys gets the next request of an operation.
func (m *members) atGenesys(op string, waits genesystest.Effect) standstill {
	return standstill{func() <-chan string {
		reached, n := make(chan string, 1), m.cloud.Requests(op)
		m.cloud.Inject(genesystest.Fault{Op: op, Effect: waits})
		go func() {
			if m.cloud.Await(m.Context(), op, n+1) != nil {
				return
			}
			for _, e := range slices.Backward(m.cloud.Events()) {
				if e.Op == op {
					reached <- e.Inbox
					return
				}
			}
		}()
		return reached
	}, m.cloud.Release}
}

// atStore is when the store gets the next write of media that matches, or has answered it.
func (m *members) atStore(matches func(*http.Request) bool, done bool) standstill {
	passed := make(chan struct{})
	return standstill{func() <-chan string {
		reached := make(chan string, 1)
		var first atomic.Bool
		m.tap.watch(func(_ int, r *http.Request, answered bool) {
			if answered != done || !strings.Contains(r.URL.Path, "/media/") || !matches(r) || first.Swap(true) {
				return
			}
			_, after, _ := strings.Cut(r.URL.Path, "/inbox=")
			inbox, _, _ := strings.Cut(after, "/")
			reached <- inbox
			<-passed
		})
		return reached
	}, func() { close(passed) }}
}

// freeze starts a worker for each moment and stops it then. It starts another one, wakes the
// first ones when that has logged a text about each of their inboxes, and returns these.
func (m *members) freeze(text string, moments ...standstill) (inboxes []*genesystest.Inbox) {
	m.Helper()
	m.config["passes"] = 1 // so that each is stopped in an inbox of its own
	var frozen []*process
	var ids []string
	for _, at := range moments {
		reached := at.begin()
		p := m.start("run")
		select {
		case id := <-reached:
			ids = append(ids, id)
		case <-time.After(commandTimeout):
			m.Fatalf("the moment never came: %s", tail(p.stderr.String()))
		}
		p.signal(m.T, syscall.SIGSTOP)
		frozen = append(frozen, p)
	}
	m.config["passes"] = 2
	other := m.start("run")
	for _, in := range m.inboxes {
		if slices.Contains(ids, in.ID) {
			inboxes = append(inboxes, in)
			m.awaitLog(other, fmt.Sprintf(`"msg":%q,"org":"acme","inbox":%q`, text, in.ID), 1)
		}
	}
	for i, p := range frozen {
		p.signal(m.T, syscall.SIGCONT)
		moments[i].passed()
		m.awaitLog(p, "the claim on the inbox was lost", 1)
		m.leaves(p)
	}
	m.all = []*process{other} // what the frozen ones tell of their times is late
	return inboxes
}
