package workers

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

const (
	opList = "get_userrecordings"
	opLink = "media_link"
)

// TestOneRun wants processes that begin a run at the same time to get the same one, and a run
// over other inboxes to wait.
func TestOneRun(t *testing.T) {
	r := newRig(t, 1)
	var all sync.WaitGroup
	ids := make([]int64, 6)
	workers := []*Worker{r.worker(), r.worker()}
	for i := range ids {
		all.Go(func() {
			var err error
			if ids[i], err = workers[i%2].Join(t.Context(), fleet.Selection{}, false, false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("these runs were begun: %v", ids)
		}
	}
	for _, other := range []struct {
		only      fleet.Selection
		askAnyway bool
	}{{fleet.Selection{Org: "acme"}, false}, {fleet.Selection{}, true}} {
		if id, err := workers[1].Join(t.Context(), other.only, other.askAnyway, false); !errors.Is(err, ErrOther) || id != ids[0] {
			t.Errorf("%+v joins run %d, %v", other, id, err)
		}
	}
	r.work(workers[0])
	if report := r.ends(workers[1], ids[0]); len(report.Inboxes) != 1 || report.Inboxes[0].Err != nil || report.Inboxes[0].Pass.Archived != 2 {
		t.Errorf("the run did %+v", report)
	}
	if next := r.join(workers[1]); next == ids[0] {
		t.Error("a run that has ended is joined")
	}
}

// TestRunBegins wants a run to begin once, although a process that stood still begins it anew:
// an inbox that came meanwhile waits for the next run.
func TestRunBegins(t *testing.T) {
	r := newRig(t, 2)
	w := r.worker()
	run := r.runJob(w, r.join(w))
	begin := func() {
		if err := (&runWorker{w: w}).begin(t.Context(), run); !isSnooze(err) {
			t.Fatal(err)
		}
	}
	begin()
	must(t, r.ledger.Login(t.Context(), "acme", "late", state.Token{}, func(*state.Inbox) {}))
	begin()
	if n := r.number("select count(*) from river_job where kind = 'pass'"); n != 2 {
		t.Errorf("the run has %d passes", n)
	}
}

// TestOneConnection wants a run to begin and end where state.url allows a process one connection.
func TestOneConnection(t *testing.T) {
	r := newRig(t, 2)
	r.address += "&pool_max_conns=1"
	w := r.worker()
	r.work(w)
	if report := r.ends(w, r.join(w)); len(report.Inboxes) != 2 {
		t.Errorf("the run had %d inboxes", len(report.Inboxes))
	}
}

// TestWake wants the last pass of a run, and no pass before it, to make the run's job due and to
// tell River so, which would look a second later otherwise.
func TestWake(t *testing.T) {
	r := newRig(t, 2)
	w := r.worker()
	w.stop, w.abort = t.Context(), t.Context()
	run := r.begins(w)
	r.execute("update river_job set scheduled_at = now() + interval '1 hour' where kind = 'run'")
	await := r.listen(`"public.river_insert"`)
	pass := r.number("select min(id) from river_job where kind = 'pass'")
	for _, last := range []bool{false, true} {
		must(t, (&passWorker{w: w}).Work(t.Context(), readJob[passArgs](r, w, pass)))
		due := r.number("select count(*) from river_job where id = $1 and scheduled_at <= now()", run) == 1
		if due != last {
			t.Errorf("last pass: %v, and the run is due: %v", last, due)
		}
		pass++
	}
	await(1)
}

// runJob reads a run's job as a process gets it.
func (r *rig) runJob(w *Worker, id int64) *river.Job[runArgs] {
	r.Helper()
	row, err := w.client.JobGet(r.Context(), id)
	must(r, err)
	return &river.Job[runArgs]{JobRow: row}
}

// TestLongPass wants a pass that takes longer than a claim lives, which is also the time after
// which jobs are taken from dead processes, to be made once, although another process waits
// for work.
func TestLongPass(t *testing.T) {
	r := newRig(t, 1)
	r.execute(`create function beat() returns trigger language plpgsql as $$ begin notify beats; return null; end $$;
		create trigger beat after update of attempted_at on river_job for each row
			when (old.state = 'running' and new.state = 'running' and new.kind = 'pass') execute function beat()`)
	r.cloud.Inject(genesystest.Fault{Op: opLink, Effect: r.cloud.Stall()})
	beats := r.listen("beats")
	w := r.worker()
	r.work(w)
	r.work(r.worker())
	run := r.join(w)
	r.await(opLink, 1)
	beats(6) // four of them are in a claim's life
	if n := r.number("select attempt from river_job where kind = 'pass'"); n != 1 {
		t.Errorf("the pass was begun %d times", n)
	}
	r.cloud.Release()
	if report := r.ends(w, run); report.Inboxes[0].Err != nil || report.Inboxes[0].Pass.Archived != 2 {
		t.Errorf("the run did %+v", report)
	}
	if n := r.number("select count(*) from passes"); n != 1 {
		t.Errorf("%d passes were made", n)
	}
}

// TestDeadProcess wants the jobs of a process that died to be done by another one.
func TestDeadProcess(t *testing.T) {
	r := newRig(t, 2)
	w := r.worker()
	id := r.join(w)
	if err := (&runWorker{w: w}).begin(t.Context(), r.runJob(w, id)); !isSnooze(err) {
		t.Fatal(err)
	}
	r.execute("update river_job set state = 'running', attempt = 1, attempted_by = '{dead}', attempted_at = now() - interval '1 minute'")
	r.work(w)
	report := r.ends(w, id)
	for _, in := range report.Inboxes {
		if in.Err != nil || in.Pass.Archived != 2 {
			t.Errorf("the pass over %s: %+v", in.Inbox, in)
		}
	}
	if len(report.Inboxes) != 2 {
		t.Errorf("the run has %d inboxes", len(report.Inboxes))
	}
}

// TestPassAndJob wants a pass to be written into the ledger, and its job to be completed, in
// one transaction.
func TestPassAndJob(t *testing.T) {
	r := newRig(t, 3)
	r.execute(`create table completed (inbox bytea, in_one boolean);
		create function note() returns trigger language plpgsql as $$ begin
			insert into completed select i.id, exists (select from passes p where p.inbox = i.inbox and p.xmin = pg_current_xact_id()::xid)
				from inboxes i where i.id = decode(new.args->>'inbox', 'base64');
			return null; end $$;
		create trigger note after update of state on river_job for each row
			when (new.kind = 'pass' and new.state = 'completed' and old.state <> 'completed') execute function note()`)
	w := r.worker()
	r.work(w)
	r.ends(w, r.join(w))
	if all, one := r.number("select count(*) from completed"), r.number("select count(*) from completed where in_one"); all != 3 || one != 3 {
		t.Errorf("%d jobs were completed, %d of them together with the pass", all, one)
	}
}

// TestLostClaim wants a process that lost its claim to leave the job to whoever has the claim
// now.
func TestLostClaim(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	if err := (&runWorker{w: w}).begin(t.Context(), r.runJob(w, r.join(w))); !isSnooze(err) {
		t.Fatal(err)
	}
	row, err := w.client.JobGet(t.Context(), r.number("select id from river_job where kind = 'pass'"))
	must(t, err)
	job := &river.Job[passArgs]{JobRow: row}
	claim, err := w.Ledger.Claim(t.Context(), "acme", r.inboxes[0].ID)
	must(t, err)
	r.execute("update inboxes set claimed_until = clock_timestamp()")
	if _, err := r.ledger.Claim(t.Context(), "acme", r.inboxes[0].ID); err != nil {
		t.Fatal(err)
	}
	got := archiver.InboxReport{Org: "acme", Inbox: r.inboxes[0].ID, Pass: state.Pass{Start: time.Now()}}
	if err := w.settle(t.Context(), job, claim, got); !isSnooze(err) {
		t.Errorf("settled with %v", err)
	}
	if err := completing(job.JobRow, claim)(t.Context(), got, func(*state.Inbox) {}); !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("the pass was written with %v", err)
	}
	if n := r.number("select count(*) from river_job where kind = 'pass' and finalized_at is null"); n != 1 || w.ClaimsLost() != 1 {
		t.Errorf("%d jobs are left, %d claims are lost", n, w.ClaimsLost())
	}
}

// TestDue wants a scheduled run once its time has come since the last run began.
func TestDue(t *testing.T) {
	r := newRig(t, 0)
	w := r.worker(func(o *Options) { o.Schedule = every("0 */2 * * *") })
	noon := time.Now().UTC().Truncate(24 * time.Hour).Add(12 * time.Hour)
	run := func(at time.Duration) state.Run { return state.Run{ID: "job " + at.String(), Start: noon.Add(at)} }
	failed, own := run(0), run(time.Second)
	failed.Error = "no store"
	for name, tc := range map[string]struct {
		at   time.Duration // when the job was made
		runs []state.Run
		want bool
	}{
		"none yet":                          {time.Second, nil, true},
		"its time has come":                 {0, []state.Run{run(-2 * time.Hour)}, true},
		"many were missed":                  {time.Second, []state.Run{run(-300 * time.Hour)}, true},
		"its time has not come":             {-time.Millisecond, []state.Run{run(-2 * time.Hour)}, false},
		"its time has passed, and was used": {time.Second, []state.Run{run(-2 * time.Hour), run(0)}, false},
		"the last one could not begin":      {time.Second, []state.Run{failed}, true},
		"its begin was interrupted":         {time.Second, []state.Run{run(-2 * time.Hour), own}, true},
		"a wrong clock dated one":           {time.Second, []state.Run{run(time.Hour), run(-2 * time.Hour)}, true},
		"a wrong clock, and one is new":     {time.Second, []state.Run{run(time.Hour), run(0)}, false},
	} {
		r.execute("truncate runs")
		for _, run := range tc.runs {
			must(t, r.ledger.AddRun(t.Context(), run))
		}
		if due, err := w.due(t.Context(), noon.Add(tc.at)); due != tc.want || err != nil {
			t.Errorf("%s: due is %v, %v", name, due, err)
		}
	}
}

// TestSchedule wants a missed time of the schedule made up for once.
func TestSchedule(t *testing.T) {
	r := newRig(t, 1)
	must(t, r.ledger.AddRun(t.Context(), state.Run{ID: "job 0", Start: time.Now().Add(-30 * time.Hour), End: time.Now().Add(-29 * time.Hour)}))
	r.execute(`create function tell() returns trigger language plpgsql as $$ begin notify ended; return null; end $$;
		create trigger tell after update on river_job for each row when (new.kind in ('run', 'look') and new.finalized_at is not null and old.finalized_at is null) execute function tell()`)
	ended := r.listen("ended")
	w := r.worker(func(o *Options) { o.Schedule = every("@every 2h") })
	r.work(w)
	ended(2) // a look, and the run that it began
	// As the leader does each minute.
	added, err := w.client.Insert(t.Context(), lookArgs{}, nil)
	if err != nil || added.UniqueSkippedAsDuplicate {
		t.Fatalf("%+v, %v", added, err)
	}
	ended(1)
	if n := r.number("select count(*) from runs"); n != 2 {
		t.Errorf("%d runs, one of them before", n)
	}
	if n := len(r.cloud.Events()); r.cloud.Requests(opList) != 1 {
		t.Errorf("%d listings in %d requests", r.cloud.Requests(opList), n)
	}
}

// TestLooks wants the leader to look at the schedule's times and each minute.
func TestLooks(t *testing.T) {
	now := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC)
	for spec, want := range map[string]time.Duration{"@every 20s": 20*time.Second + late, "@every 2h": time.Minute, "1 10 * * *": time.Minute} {
		if got := (atLeastEachMinute{every(spec)}).Next(now).Sub(now); got != want {
			t.Errorf("%s: looks after %v, want %v", spec, got, want)
		}
	}
}

// TestSchema wants River's tables of another version refused with the remedy.
func TestSchema(t *testing.T) {
	r := newRig(t, 0)
	r.execute("insert into river_migration (line, version) values ('main', 999)")
	_, err := New(t.Context(), Options{Ledger: r.ledger})
	if !errors.Is(err, ErrSchema) || !errors.Is(err, state.ErrNewer) {
		t.Errorf("newer tables: %v", err)
	}
	if done, err := Migrate(t.Context(), r.ledger.Pool()); !errors.Is(err, state.ErrNewer) || done != nil {
		t.Errorf("migrating newer tables: %v, %v", done, err)
	}
	r.execute("delete from river_migration where version > 5")
	if _, err := New(t.Context(), Options{Ledger: r.ledger}); !errors.Is(err, ErrSchema) || errors.Is(err, state.ErrNewer) {
		t.Errorf("older tables: %v", err)
	}
	r.execute("drop table river_migration")
	if _, err := New(t.Context(), Options{Ledger: r.ledger}); !errors.Is(err, ErrSchema) || errors.Is(err, state.ErrNewer) {
		t.Errorf("no tables: %v", err)
	}
	must(t, server.Exec(t.Context(), "postgres", "create database empty"))
	pool, err := postgres.Connect(t.Context(), server.URL("empty"), postgres.Options{})
	must(t, err)
	defer pool.Close()
	for _, want := range []bool{true, false} {
		if done, err := Migrate(t.Context(), pool); err != nil || len(done) > 0 != want {
			t.Errorf("migrated %v, %v", done, err)
		}
	}
}
