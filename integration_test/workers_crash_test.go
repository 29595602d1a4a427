package integration_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
)

// members are a team's processes, each replaced when it is killed.
type members struct {
	*team
	ids    map[*genesystest.Inbox][]string // every recording that there ever was
	all    []*process
	killed []*process
}

// newMembers starts n workers that begin a run whenever none is under way, with deletions on.
func newMembers(t *testing.T, n int) *members {
	t.Helper()
	m := &members{team: newTeam(t, genesystest.Options{DeletedListings: 1}, 4, 4), ids: map[*genesystest.Inbox][]string{}}
	m.deleting()
	m.config["passes"] = 2
	m.config["schedule"] = map[string]any{"cron": "@every 1s"}
	for _, in := range m.inboxes {
		m.ids[in] = in.IDs()
	}
	for range n {
		m.all = append(m.all, m.start("run"))
	}
	return m
}

// add adds a recording to each inbox.
func (m *members) add(n int, size int64) {
	for _, in := range m.inboxes {
		id := fmt.Sprintf("%s-more-%04d", in.ID, n)
		in.Add(genesystest.Recording{ID: id, Size: size})
		m.ids[in] = append(m.ids[in], id)
	}
}

// replace kills a worker and starts another one in its place.
func (m *members) replace(i int) {
	m.all[i].kill()
	m.killed = append(m.killed, m.all[i])
	m.all[i] = m.start("run")
}

// settle lets the workers go on in peace until nothing is left to do.
func (m *members) settle() {
	m.Helper()
	over := []state.State{state.StateDeleteRequested, state.StateDeleted, state.StateGone}
	for done := false; !done; {
		m.runs(2)
		m.cloud.Settle()
		done = true
		for _, e := range m.databaseEntries() {
			done = done && slices.Contains(over, e.State)
		}
	}
}

// finish lets the workers settle, stops them, and looks at everything.
func (m *members) finish() {
	m.Helper()
	m.settle()
	for _, p := range m.all {
		m.leaves(p)
	}
	m.wantKept()
	m.wantAlone(append(slices.Clone(m.all), m.killed...))
}

// wantKept wants every recording in the bucket, exact and once, and no upload left.
func (m *members) wantKept() {
	m.Helper()
	var want []recordings
	for in, ids := range m.ids {
		want = append(want, some(in, ids...))
	}
	m.wantArchived(want...)
	m.withDatabase(func(l *postgres.Ledger) {
		uploads, err := l.Uploads(m.Context(), "", "")
		if err != nil || len(uploads) > 0 {
			m.Errorf("uploads are left: %v, %v", uploads, err)
		}
	})
}

// wantAlone wants no inbox to be passed over by two at a time: between the lines with which a
// process takes and leaves an inbox, no other process takes it. A process that was killed
// leaves nothing behind that says when.
func (m *team) wantAlone(processes []*process) {
	m.Helper()
	type span struct {
		from, to time.Time
		claim    int64
	}
	spans := map[string][]span{}
	for _, p := range processes {
		open := map[string]line{} // by inbox and claim
		for _, l := range lines(p.stderr.String()) {
			switch l.Msg {
			case "works on the inbox":
				open[fmt.Sprint(l.Inbox, l.Claim)] = l
			case "leaves the inbox":
				if begun, ok := open[fmt.Sprint(l.Inbox, l.Claim)]; ok {
					spans[l.Inbox] = append(spans[l.Inbox], span{begun.Time.Add(-p.ahead), l.Time.Add(-p.ahead), l.Claim})
				}
			}
		}
	}
	n := 0
	for inbox, all := range spans {
		slices.SortFunc(all, func(a, b span) int { return a.from.Compare(b.from) })
		for i, s := range all[1:] {
			if n++; s.from.Before(all[i].to) || s.claim <= all[i].claim {
				m.Errorf("%s: claim %d from %v to %v, claim %d from %v", inbox, all[i].claim, all[i].from, all[i].to, s.claim, s.from)
			}
		}
	}
	if n == 0 {
		m.Error("no process told of its passes")
	}
}

// TestWorkersCrash kills workers at random moments, with deletions on, while recordings
// arrive. A worker dies for every fourth of -kills. make soak does so for long, with another
// seed each time.
func TestWorkersCrash(t *testing.T) {
	m := newMembers(t, 3)
	r := rand.New(rand.NewPCG(*seed, 2))
	kills := max(3, *kills/4)
	for n := range kills {
		size := 16 + r.Int64N(100<<10)
		if r.IntN(4) == 0 {
			size = 9<<20 + r.Int64N(9<<20)
		}
		m.add(n, size)
		moment := make(chan struct{}, 1)
		reached := func() {
			select {
			case moment <- struct{}{}:
			default:
			}
		}
		at, after := 1+r.IntN(20), r.IntN(2) == 0
		if r.IntN(3) == 0 {
			m.cloud.Inject(genesystest.Fault{Skip: at - 1, Effect: killing(reached, after)})
		} else {
			m.tap.watch(func(n int, _ *http.Request, done bool) {
				if n == at && done == after {
					reached()
				}
			})
		}
		select {
		case <-moment:
		case <-time.After(commandTimeout):
			t.Fatalf("after %d kills nothing is written any more: %s", n, tail(m.all[0].stderr.String()))
		}
		m.replace(r.IntN(len(m.all)))
	}
	m.tap.watch(nil)
	m.cloud.ClearFaults()
	m.finish()
	t.Logf("%d workers killed", kills)
}

// TestWorkersWithoutDatabase stops the database like a crash in the middle of the work, and
// starts it again.
func TestWorkersWithoutDatabase(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 2)
	for n := range 3 {
		m.add(n, 20<<10)
		m.await(opLink, m.cloud.Requests(opLink)+2)
		if err := m.server.Stop(postgrestest.Immediate); err != nil {
			t.Fatal(err)
		}
		if err := m.server.Again(); err != nil {
			t.Fatal(err)
		}
	}
	m.finish()
}

// TestWorkersAllStop ends all workers and the database at once, as a loss of power does, and
// starts them again.
func TestWorkersAllStop(t *testing.T) {
	t.Parallel()
	m := newMembers(t, 3)
	for n := range 3 {
		m.add(n, 20<<10)
		m.await(opLink, m.cloud.Requests(opLink)+2)
		for _, p := range m.all {
			p.signal(t, syscall.SIGKILL)
		}
		if err := m.server.Stop(postgrestest.Immediate); err != nil {
			t.Fatal(err)
		}
		for i := range m.all {
			<-m.all[i].ended
		}
		if err := m.server.Again(); err != nil {
			t.Fatal(err)
		}
		m.outlive()
		for i := range m.all {
			m.replace(i)
		}
	}
	m.finish()
}

// outlive lets the time pass for which the claims and the signs of life of dead processes
// count.
func (m *team) outlive() {
	m.Helper()
	m.execute("update inboxes set claimed_until = clock_timestamp(); update river_job set attempted_at = now() - interval '1 minute' where state = 'running'")
}

// line is one of a process' log.
type line struct {
	Time  time.Time
	Msg   string
	Inbox string
	Claim int64
}

func lines(log string) (all []line) {
	for text := range strings.Lines(log) {
		var l line
		if json.Unmarshal([]byte(text), &l) == nil { // a process that was killed may have left half a line
			all = append(all, l)
		}
	}
	return all
}
