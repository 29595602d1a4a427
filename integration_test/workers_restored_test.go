package integration_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/robfig/cron/v3"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
)

// crash stops the database like a crash, calls do, and starts it again.
func (m *team) crash(do func() error) {
	m.Helper()
	err := m.server.Stop(postgrestest.Immediate)
	if err == nil {
		err = do()
	}
	if err == nil {
		err = m.server.Again()
	}
	if err != nil {
		m.Fatal(err)
	}
}

// TestWorkersRestored puts the database back to what it was in the middle of a run. Recordings
// were archived since, and originals deleted. The ledger is then behind the archive and its
// journal, and River's tables have jobs that were done long ago. In one case the workers are
// stopped, as the documentation asks; in the other they go on, as with a standby that takes
// over and lacks the last commits.
func TestWorkersRestored(t *testing.T) {
	for name, stopped := range map[string]bool{"workers stopped": true, "workers at work": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMembers(t, 2)
			m.runs(1)
			m.add(0, 20<<10)
			m.await(opLink, m.cloud.Requests(opLink)+2)
			m.crash(m.server.Keep)
			m.add(1, 20<<10)
			m.settle()
			m.add(2, 20<<10)
			m.await(opLink, m.cloud.Requests(opLink)+2)

			claimed := m.lastClaims()
			if stopped {
				for i, p := range m.all {
					m.leaves(p)
					m.killed, m.all[i] = append(m.killed, p), nil
				}
			}
			m.crash(m.server.Restore)
			if e := m.databaseEntries(); e[m.inboxes[0].ID+"-more-0001"].State != "" {
				t.Fatalf("the database is not that of an earlier moment: %+v", e)
			}
			if stopped {
				for i := range m.all {
					m.all[i] = m.start("run")
				}
			}
			m.add(3, 20<<10)
			m.settle()
			for _, p := range m.all {
				m.leaves(p)
			}
			m.wantKept()
			for id, n := range m.lastClaims() {
				if n <= claimed[id] {
					t.Errorf("%s: claim %d after claim %d", id, n, claimed[id])
				}
			}
			if stopped { // else those who lost their claims could not know it at once
				m.wantAlone(append(slices.Clone(m.all), m.killed...))
				m.rebuildsIt()
			}
		})
	}
}

// lastClaims is the number of each inbox's last claim.
func (m *team) lastClaims() map[string]int64 {
	m.Helper()
	all := map[string]int64{}
	m.eventually(func(l *postgres.Ledger) error {
		for _, in := range m.inboxes {
			var n int64
			if err := l.Pool().QueryRow(m.Context(), "select claim from inboxes where id = $1", []byte(in.ID)).Scan(&n); err != nil {
				return err
			}
			all[in.ID] = n
		}
		return nil
	})
	return all
}

// rebuildsIt does what the documentation asks for after a restore: what the ledger does not
// know of the archive comes back by a rebuild, and nothing is deleted before reconcile has
// compared everything.
func (m *members) rebuildsIt() {
	m.Helper()
	if r := m.expect(6, "reconcile"); !strings.Contains(r.stdout, "unknown") {
		m.Errorf("reconcile does not name what the ledger lacks: %s", r)
	}
	m.inDatabase(m.server)
	m.expect(0, "migrate")
	m.expect(0, "rebuild")
	m.logIn(commandTimeout * 10)
	m.add(4, 1000)
	asked := m.cloud.Requests(opDelete)
	m.once(0)
	if n := m.cloud.Requests(opDelete) - asked; n != 0 {
		m.Errorf("%d originals were deleted before reconcile had compared anything", n)
	}
	m.expect(0, "reconcile")
	m.once(0)
	for _, in := range m.inboxes {
		if e := m.databaseEntries()[in.ID+"-more-0004"]; e.State != state.StateDeleteRequested {
			m.Errorf("after reconcile, %s is %s", in.ID+"-more-0004", e.State)
		}
	}
	m.wantKept()
}

// TestWorkersTwoLeaders has two processes that both are River's elected leader all the time:
// each has a table of its own in which leaders are elected. One time of the schedule opens one
// run nevertheless, and a run has one job for each inbox.
func TestWorkersTwoLeaders(t *testing.T) {
	t.Parallel()
	m := newTeam(t, genesystest.Options{}, 4, 2)
	m.config["schedule"] = map[string]any{"cron": "@every 2s"}
	m.execute(`create schema split;
		create table split.river_leader (like public.river_leader including all);
		create trigger tell after insert on public.river_leader for each row execute function tell_of_runs();
		create trigger tell after insert on split.river_leader for each row execute function tell_of_runs();
		create table passed (run bigint, inbox text);
		create function note() returns trigger language plpgsql as $$ begin
			insert into passed values ((new.args->>'run')::bigint, new.args->>'inbox'); return null; end $$;
		create trigger note after insert on river_job for each row when (new.kind = 'pass') execute function note()`)
	one := m.start("run")
	m.awaitLog(one, "archiverd starts", 1) // it has read its configuration
	section, url := m.config["state"].(map[string]any), m.databaseURL()
	section["url"] = url + "&search_path=split,public"
	two := m.start("run")
	section["url"] = url
	m.awaitTrue("select count(*) = 2 from (table public.river_leader union all table split.river_leader) l")
	m.runs(4)
	m.withDatabase(func(l *postgres.Ledger) {
		var leaders, twice int
		err := l.Pool().QueryRow(t.Context(), `select
			(select count(distinct leader_id) from (table public.river_leader union all table split.river_leader) l where expires_at > now()),
			(select count(*) from (select from passed group by run, inbox having count(*) > 1) t)`).Scan(&leaders, &twice)
		if err != nil || leaders != 2 || twice != 0 {
			t.Errorf("%d leaders, %d inboxes twice in a run, %v", leaders, twice, err)
		}
		runs, err := l.Runs(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		schedule, err := cron.ParseStandard("@every 2s")
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range runs[1:] { // the newest is first
			if due := schedule.Next(r.Start); runs[i].Start.Before(due) {
				t.Errorf("a run began at %v, after one at %v: the next was due at %v", runs[i].Start, r.Start, due)
			}
			if r.Inboxes != 4 {
				t.Errorf("a run passed over %d inboxes", r.Inboxes)
			}
		}
	})
	m.leaves(one)
	m.leaves(two)
	m.wantAllOnce()
}
