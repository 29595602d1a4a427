package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// team is a world whose inboxes several archiverd processes share.
type team struct {
	*world
	server  *postgrestest.Server
	tap     *tap
	inboxes []*genesystest.Inbox
}

// newTeam has so many users, each with n recordings, who have logged in.
func newTeam(t *testing.T, o genesystest.Options, users, n int) *team {
	t.Helper()
	w := newWorldOn(t, storagetest.Versitygw(t), o)
	m := &team{world: w, server: postgrestest.Run(t), tap: w.tapped()}
	w.org["grant"] = "authorization_code"
	w.inDatabase(m.server)
	w.config["state"].(map[string]any)["claim"] = "10s"
	w.config["log"] = map[string]any{"format": "json", "level": "debug"}
	w.daily()
	w.expect(0, "migrate")
	m.execute(tellOfRuns)
	for u := range users {
		id := fmt.Sprintf("user-%02d", u)
		inbox := w.cloud.AddUser(id, "User "+id, id+"@example.com")
		for k := range n {
			inbox.Add(genesystest.Recording{ID: id + "-" + recordingID(k)})
		}
		m.inboxes = append(m.inboxes, inbox)
	}
	m.logIn(24 * time.Hour)
	return m
}

// logIn gives every inbox a token whose access token lives for so long.
func (m *team) logIn(life time.Duration) { m.Helper(); m.logInTo(life, m.inboxes...) }

func (m *team) logInTo(life time.Duration, inboxes ...*genesystest.Inbox) {
	m.Helper()
	m.withDatabase(func(l *postgres.Ledger) {
		for _, in := range inboxes {
			t := state.Token{Access: in.IssueAccessToken(life), Refresh: in.IssueRefreshToken(), Expiry: time.Now().Add(life)}
			if err := l.Login(m.Context(), "acme", in.ID, t, func(i *state.Inbox) { i.Name, i.Email = in.Name, in.Email }); err != nil {
				m.Fatal(err)
			}
		}
	})
}

// tellOfRuns lets the database tell its listeners whenever a run begins or ends.
const tellOfRuns = `create function tell_of_runs() returns trigger language plpgsql as $$ begin notify runs; return null; end $$;
	create trigger tell after insert or update on runs for each row execute function tell_of_runs()`

// execute executes statements in the database.
func (m *team) execute(sql string) {
	m.Helper()
	c, err := pgx.Connect(m.Context(), m.databaseURL())
	if err != nil {
		m.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(m.Context()))
	if _, err := c.Exec(m.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		m.Fatal(err)
	}
}

// awaitEnded waits until so many runs have ended that began after the run of this number.
func (m *team) awaitEnded(n int, after int64) {
	m.Helper()
	m.awaitTrue("select count(*) >= $1 from runs where substr(id, 5)::bigint > $2 and run->>'end' is not null", n, after)
}

// awaitTrue waits until a question to the database is answered with true. It asks whenever
// the database has told something.
func (m *team) awaitTrue(question string, args ...any) {
	m.Helper()
	ctx, cancel := context.WithTimeout(m.Context(), commandTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, m.databaseURL())
	if err != nil {
		m.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(ctx))
	_, err = c.Exec(ctx, "listen runs")
	for yes := false; err == nil; _, err = c.WaitForNotification(ctx) {
		err = c.QueryRow(ctx, question, args...).Scan(&yes)
		if err != nil || yes {
			break
		}
	}
	if err != nil {
		m.Fatalf("never true: %s: %v", question, err)
	}
}

// runs waits for the end of n more runs.
func (m *team) runs(n int) {
	m.Helper()
	var begun int64
	m.eventually(func(l *postgres.Ledger) error {
		return l.Pool().QueryRow(m.Context(), "select coalesce(max(substr(id, 5)::bigint), 0) from runs").Scan(&begun)
	})
	m.awaitEnded(n, begun)
}

// awaitRuns returns the newest run that has ended, once so many have.
func (m *team) awaitRuns(n int) (newest state.Run) {
	m.Helper()
	m.awaitEnded(n, 0)
	m.eventually(func(l *postgres.Ledger) error {
		runs, err := l.Runs(m.Context(), 100)
		newest = runs[slices.IndexFunc(runs, func(r state.Run) bool { return !r.End.IsZero() })]
		return err
	})
	return newest
}

// eventually opens the ledger, also after a database that was away.
func (m *team) eventually(f func(*postgres.Ledger) error) {
	m.Helper()
	l, err := postgres.Open(m.Context(), m.databaseURL(), postgres.Options{Binding: m.binding(), SealKey: m.sealKey})
	if err != nil {
		m.Fatal(err)
	}
	defer l.Close()
	if err := f(l); err != nil {
		m.Fatal(err)
	}
}

// leaves stops a worker and wants exit code 0.
func (m *team) leaves(p *process) {
	m.Helper()
	select {
	case <-p.ended:
		m.Fatalf("a worker ended by itself: %s", p.wait())
	default:
	}
	m.ends(p)
}

// wantAllOnce wants every recording in the bucket once.
func (m *team) wantAllOnce() {
	m.Helper()
	var want []recordings
	for _, in := range m.inboxes {
		want = append(want, all(in))
	}
	m.wantArchived(want...)
}

// TestWorkersShareARun wants several processes to make one run together: each takes part,
// every inbox has one pass, and the run's record is the sum.
func TestWorkersShareARun(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 12, 5)
	m.config["passes"] = 2
	gate := make(chan struct{}) // opens once each worker has two inboxes
	var held atomic.Int64
	for _, in := range m.inboxes {
		m.cloud.Inject(genesystest.Fault{Op: opTranscoding, Inbox: in.ID, Effect: genesystest.Effect{Before: func(http.ResponseWriter, *http.Request) bool {
			if held.Add(1) == 3*2 {
				close(gate)
			}
			<-gate
			return false
		}}})
	}
	var workers []*process
	for range 3 {
		workers = append(workers, m.start("run"))
	}
	r := m.awaitRuns(1)
	if r.Inboxes != 12 || r.Archived != 60 || r.ExitCode != 0 || r.Error != "" {
		t.Errorf("the run's record is %+v", r)
	}
	passes := 0
	for i, p := range workers {
		m.leaves(p)
		n := strings.Count(p.stderr.String(), `"msg":"pass done"`)
		if passes += n; n == 0 {
			t.Errorf("worker %d made no pass", i)
		}
	}
	if passes != 12 {
		t.Errorf("%d passes over 12 inboxes", passes)
	}
	m.wantAllOnce()
	m.withDatabase(func(l *postgres.Ledger) {
		var jobs int
		if err := l.Pool().QueryRow(t.Context(), "select count(*) from river_job").Scan(&jobs); err != nil || jobs > 3 {
			t.Errorf("%d jobs are kept after the run, %v", jobs, err)
		}
	})
}

// TestWorkersDeletionsOff wants deletions that are switched off to end in every pass under
// way, also in one that began before an earlier change of the configuration, and also if they
// are switched on again with another rule.
func TestWorkersDeletionsOff(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 3, 3)
	m.once(0)
	m.deleting()
	m.config["passes"] = 2
	m.config["transfer"] = map[string]any{"min_age": "0s", "workers": 1}
	m.config["schedule"] = map[string]any{"cron": "@every 1s"}
	gates := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{})}
	var arrived atomic.Int64
	for _, in := range m.inboxes {
		m.cloud.Inject(genesystest.Fault{Op: opDelete, Inbox: in.ID, Effect: genesystest.Effect{Before: func(http.ResponseWriter, *http.Request) bool {
			<-gates[arrived.Add(1)-1]
			return false
		}}})
	}
	p := m.start("run")
	m.await(opDelete, 2)
	m.config["transfer"] = map[string]any{"min_age": "1s", "workers": 1}
	m.reload(p, "takes effect with the next run", 1)
	close(gates[1])
	m.await(opDelete, 5) // the third inbox's pass has the new configuration
	delete(m.config, "delete_originals")
	m.reload(p, "takes effect with the next run", 2)
	m.config["delete_originals"] = map[string]any{"enabled": true, "after": "1000h"} // which the passes under way don't know
	m.reload(p, "takes effect with the next run", 3)
	close(gates[0])
	close(gates[2])
	m.awaitRuns(2)
	m.leaves(p)
	if n := m.cloud.Requests(opDelete); n != 5 {
		t.Errorf("%d deletions were asked for, want the two under way and the three before", n)
	}
}

// TestWorkersMixedUpMedia wants the media of two inboxes compared as those of one, by
// whichever passes they were served: what a cache mixed up once is asked for once more, what
// two recordings are always served is suspect, and no original is deleted before that is
// known.
func TestWorkersMixedUpMedia(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 2, 0)
	m.config["passes"] = 1
	m.deleting()
	for _, in := range m.inboxes {
		for _, id := range []string{"once", "always", "never"} {
			in.Add(genesystest.Recording{ID: id + "-" + in.ID, Duration: 3 * time.Second})
		}
	}
	one, other := m.inboxes[0], m.inboxes[1]
	always, theirs := m.mediaOf(one, "always-"+one.ID), m.mediaOf(other, "once-"+other.ID)
	var once sync.Once
	m.cloud.Configure(func(o *genesystest.Options) {
		o.Serve = func(_, id string) (body []byte) {
			switch {
			case strings.HasPrefix(id, "always"):
				return always
			case id == "once-"+one.ID:
				once.Do(func() { body = theirs })
			}
			return body
		}
	})
	m.once(0)
	if n := m.cloud.Requests(opDelete); n != 0 {
		t.Errorf("%d originals were deleted in the run that archived them", n)
	}
	for range 4 {
		m.once(0) // the world's guard looks at each deletion
	}
	all := m.databaseEntries()
	for _, in := range m.inboxes {
		for _, name := range []string{"once-", "never-"} {
			if s := all[name+in.ID].State; s != state.StateDeleteRequested && s != state.StateDeleted {
				t.Errorf("%s%s is %s, want its deletion asked for", name, in.ID, s)
			}
		}
		e := all["always-"+in.ID]
		if e.State != state.StateArchived || e.Newest().Suspect == "" {
			t.Errorf("%s: what another recording is always served too is %s, %+v", in.ID, e.State, e.Newest())
		}
	}
}

// TestRetryBesideWorkers wants retry to try a failed recording again although the run under way
// has passed over its inbox already: it waits for the end of that run, and makes another.
func TestRetryBesideWorkers(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 2, 1)
	m.cloud.Inject(genesystest.Fault{Op: opLink, Inbox: m.inboxes[0].ID, Effect: genesystest.Status(404, "")})
	m.cloud.Inject(genesystest.Fault{Op: opLink, Inbox: m.inboxes[1].ID, Effect: m.cloud.Stall()})
	p := m.start("run")
	m.awaitLog(p, fmt.Sprintf(`"msg":"pass done","org":"acme","inbox":%q`, m.inboxes[0].ID), 1)
	retry := m.start("retry")
	m.awaitLog(retry, "waiting for the run under way to end", 1)
	m.cloud.Release()
	if r := retry.wait(); r.code != 0 {
		t.Errorf("retry ended with %s", r)
	}
	m.leaves(p)
	m.wantAllOnce()
}

// TestWorkerCanNotWork wants archiverd to end, with the reason, if River can't be started.
func TestWorkerCanNotWork(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 1, 1)
	m.execute(`create function refuse() returns trigger language plpgsql as $$ begin raise 'no queues today'; end $$;
		create trigger refuse before insert or update on river_queue for each row execute function refuse()`)
	for _, args := range [][]string{{"run"}, {"run", "--once"}} {
		if r := m.start(args...).wait(); r.code == 0 || !strings.Contains(r.stderr, "start to share the jobs") {
			t.Errorf("%q ended with %s", args, r)
		}
	}
}
