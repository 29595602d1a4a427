package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

// readJob reads a job as a process gets it.
func readJob[T river.JobArgs](r *rig, w *Worker, id int64) *river.Job[T] {
	r.Helper()
	row, err := w.client.JobGet(r.Context(), id)
	must(r, err)
	args, err := decode[T](row.EncodedArgs)
	must(r, err)
	return &river.Job[T]{JobRow: row, Args: args}
}

// begins begins a run over all inboxes.
func (r *rig) begins(w *Worker) (run int64) {
	r.Helper()
	run = r.join(w)
	if err := (&runWorker{w: w}).begin(r.Context(), readJob[runArgs](r, w, run)); !isSnooze(err) {
		r.Fatal(err)
	}
	return run
}

// fails waits for the end of a run that could not be made.
func (r *rig) fails(w *Worker, run int64) error {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), testTimeout)
	defer cancel()
	report, _, err := w.Wait(ctx, run)
	if err == nil {
		r.Fatalf("the run did %+v", report)
	}
	return err
}

// TestLook wants a look to begin a run if one is due, and a process that joins between two
// runs to get one of its own.
func TestLook(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker(func(o *Options) { o.Schedule = every("@every 2h") })
	look := func() int64 {
		if err := (&lookWorker{w: w}).Work(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		return r.number("select count(*) from river_job where kind = 'run'")
	}
	must(t, r.ledger.AddRun(t.Context(), state.Run{ID: "job 0", Start: time.Now().UTC()}))
	if n := look(); n != 0 {
		t.Errorf("%d runs were begun before their time", n)
	}
	r.execute("truncate runs")
	if n := look() + look(); n != 2 {
		t.Errorf("after one look, and after the next, there were %d runs in all, want one each", n)
	}
	id := r.join(w)
	if row := readJob[runArgs](r, w, id); row.Args != (runArgs{}) {
		t.Errorf("the run is %+v", row.Args)
	}
	r.work(w)
	if report := r.ends(w, id); len(report.Inboxes) != 1 {
		t.Errorf("the run did %+v", report)
	}
}

// TestDeadLook wants a look taken over whose process died: no other one is made beside it.
func TestDeadLook(t *testing.T) {
	r := newRig(t, 0)
	w := r.worker()
	if _, err := w.client.Insert(t.Context(), lookArgs{}, nil); err != nil {
		t.Fatal(err)
	}
	r.execute("update river_job set state = 'running', attempt = 1, attempted_by = '{dead}', attempted_at = now() - interval '1 minute'")
	must(t, w.live(t.Context()))
	must(t, w.rescue(t.Context()))
	if n := r.number("select count(*) from river_job where state = 'available'"); n != 1 {
		t.Error("nobody takes the look over")
	}
}

// TestDifferentClaims wants a worker with a short state.claim to leave the jobs of one with a
// longer one alone, for as long as that one lives.
func TestDifferentClaims(t *testing.T) {
	r := newRig(t, 1)
	short, long := r.worker(), r.worker(func(o *Options) { o.Claim = time.Hour })
	r.begins(long)
	r.execute("update river_job set state = 'running', attempt = 1, attempted_by = '{long}', attempted_at = now() - interval '1 minute' where kind = 'pass'")
	must(t, long.live(t.Context()))
	must(t, short.live(t.Context()))
	for _, dead := range []bool{false, true} {
		if dead {
			r.execute("update workers set seen = now() - claim where claim = interval '1 hour'")
		}
		must(t, short.rescue(t.Context()))
		if n := r.number("select count(*) from river_job where kind = 'pass' and state = 'available'"); n == 1 != dead {
			t.Errorf("while the other worker is dead: %v, %d of its jobs go on elsewhere", dead, n)
		}
	}
}

// TestEndedFromOutside wants no run, and no pass, to count as a good one that River or a person
// ended.
func TestEndedFromOutside(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	run := r.join(w)
	r.execute("update river_job set state = 'cancelled', finalized_at = now()")
	if err := r.fails(w, run); !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("a cancelled run ends with %v", err)
	}
	run = r.begins(w)
	r.execute("update river_job set state = 'discarded', finalized_at = now() where kind = 'pass'")
	r.work(w)
	if report := r.ends(w, run); len(report.Inboxes) != 1 || report.Inboxes[0].Err == nil {
		t.Errorf("a run whose pass was discarded did %+v", report)
	}
}

// TestRefusedRun wants a run over inboxes that a worker does not know to end with an error, and
// to keep no other run from beginning.
func TestRefusedRun(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	run, err := w.Join(t.Context(), fleet.Selection{Org: "unknown"}, false, false)
	must(t, err)
	r.work(w)
	if err := r.fails(w, run); failure.KindOf(err) != failure.KindConfiguration || !strings.Contains(err.Error(), w.Name) {
		t.Errorf("the run ended with %v", err)
	}
	if report := r.ends(w, r.join(w)); len(report.Inboxes) != 1 || report.Inboxes[0].Err != nil {
		t.Errorf("the next run did %+v", report)
	}
}

// TestStaleRun wants a process that stood still while others made a run to change nothing of it,
// whatever it was about to do.
func TestStaleRun(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	run := r.begins(w)
	stale := readJob[runArgs](r, w, run)
	pass := readJob[passArgs](r, w, r.number("select id from river_job where kind = 'pass'"))
	r.work(r.worker())
	r.ends(w, run)
	before, err := r.ledger.Runs(t.Context(), 10)
	must(t, err)
	output := string(readJob[runArgs](r, w, run).Output())
	for name, step := range map[string]func() error{
		"begin":   func() error { return (&runWorker{w: w}).begin(t.Context(), stale) },
		"end":     func() error { return (&runWorker{w: w}).end(t.Context(), stale) },
		"look":    func() error { return (&runWorker{w: w}).Work(t.Context(), stale) },
		"put off": func() error { return w.putOff(t.Context(), stale, errors.New("no database")) },
	} {
		_ = step() // River does nothing with the error of a job that is done
		after, err := r.ledger.Runs(t.Context(), 10)
		must(t, err)
		if len(after) != 1 || after[0] != before[0] {
			t.Errorf("%s: the record was %+v, and is %+v", name, before, after)
		}
		if now := string(readJob[runArgs](r, w, run).Output()); now != output {
			t.Errorf("%s: the report was %s, and is %s", name, output, now)
		}
	}
	r.execute(fmt.Sprintf("insert into river_job (id, kind, args, max_attempts, state, finalized_at) values (%d, 'pass', '{}', 1, 'completed', now())", pass.ID))
	must(t, w.write(t.Context(), keepPart, pass.ID, report{}))
	if n := r.number("select count(*) from river_job where metadata ? 'output' and kind = 'pass'"); n != 0 {
		t.Error("a part of a pass was written over the pass")
	}
}

// TestForgotten wants jobs of earlier runs deleted also if no schedule begins runs.
func TestForgotten(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	r.work(w)
	r.ends(w, r.join(w))
	r.execute("update river_job set finalized_at = now() - interval '2 hours'")
	last := r.join(w)
	r.ends(w, last)
	if n := r.number("select count(*) from river_job where id <> $1", last); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
}

// TestJoinAnew wants who has changed something before a run to get passes that begin after that.
func TestJoinAnew(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	run := r.join(w)
	if id, err := w.Join(t.Context(), fleet.Selection{}, false, true); id != run || err != nil {
		t.Errorf("joins run %d, %v before it has begun", id, err)
	}
	if err := (&runWorker{w: w}).begin(t.Context(), readJob[runArgs](r, w, run)); !isSnooze(err) {
		t.Fatal(err)
	}
	if id, err := w.Join(t.Context(), fleet.Selection{}, false, true); id != run || !errors.Is(err, ErrOther) {
		t.Errorf("joins run %d, %v", id, err)
	}
	if id := r.join(w); id != run {
		t.Errorf("joins run %d", id)
	}
}

// TestUnfitProcess wants a process that does not know an organization to leave its passes to
// others, and only after some tries to say that a pass failed, with what its earlier parts found.
func TestUnfitProcess(t *testing.T) {
	r := newRig(t, 2)
	unfit := r.worker(func(o *Options) {
		l := o.Ledger.(*postgres.Ledger)
		f := fleet.New(fleet.Options{Config: &config.Config{}, Ledger: l, Archiver: r.archiver(l, o.Log), Log: o.Log})
		o.Fleet = func(context.Context) (*fleet.Fleet, error) { return f, nil }
	})
	unfit.stop, unfit.abort = t.Context(), t.Context()
	good := r.worker()
	run := r.begins(good)
	last := r.number("select max(id) from river_job where kind = 'pass'")
	r.execute(fmt.Sprintf(`update river_job set errors = array_fill('{"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "x", "trace": ""}'::jsonb, '{8}') where id = %d`, last))
	must(t, good.write(t.Context(), keepPart, last, report{Pass: state.Pass{Start: time.Now()}, Corrupt: []string{"a key"}}))
	for _, id := range []int64{last - 1, last} {
		err := (&passWorker{w: unfit}).work(t.Context(), readJob[passArgs](r, unfit, id))
		if isSnooze(err) || (err == nil) != (id == last) {
			t.Errorf("job %d ended with %v", id, err)
		}
	}
	r.work(good)
	first := true
	for _, in := range r.ends(good, run).Inboxes {
		if first && (in.Err != nil || in.Pass.Archived != 2) || !first && (in.Err == nil || len(in.Corrupt) != 1) {
			t.Errorf("the pass was %+v", in)
		}
		first = false
	}
}

// onePass returns a worker in a run over one inbox, the job of its pass, and a claim on the inbox.
func onePass(t *testing.T) (*rig, *Worker, *river.Job[passArgs], state.Claim) {
	t.Helper()
	r := newRig(t, 1)
	w := r.worker()
	r.begins(w)
	c, err := w.Ledger.Claim(t.Context(), "acme", r.inboxes[0].ID)
	must(t, err)
	return r, w, readJob[passArgs](r, w, r.number("select id from river_job where kind = 'pass'")), c
}

// TestRefusedClient wants a pass whose client Genesys refused to be written down, and to be tried
// by others, which may have the new secret already.
func TestRefusedClient(t *testing.T) {
	r, w, pass, c := onePass(t)
	got := archiver.InboxReport{Org: "acme", Inbox: r.inboxes[0].ID, Pass: state.Pass{Start: time.Now().UTC()}, Err: &failure.Told{Kind: failure.KindClientRefused, Text: "401"}}
	must(t, completing(pass.JobRow, c)(t.Context(), got, func(*state.Inbox) {}))
	if err := w.settle(t.Context(), pass, c, got); !errors.Is(err, got.Err) {
		t.Errorf("settled with %v", err)
	}
	if n := r.number("select count(*) from river_job where kind = 'pass' and finalized_at is null"); n != 1 || r.number("select count(*) from passes") != 1 {
		t.Errorf("%d jobs are left", n)
	}
}

// told sends the warnings of a log also to a channel.
type told struct {
	slog.Handler
	warnings chan slog.Record
}

func (h told) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.warnings <- r
	}
	return h.Handler.Handle(ctx, r)
}

func (h told) WithAttrs(a []slog.Attr) slog.Handler { return told{h.Handler.WithAttrs(a), h.warnings} }

// awaitWarning waits for a warning.
func (r *rig) awaitWarning(warnings chan slog.Record) string {
	r.Helper()
	select {
	case w := <-warnings:
		return w.Message
	case <-time.After(testTimeout):
		r.Fatal("no warning came")
		return ""
	}
}

// TestFailedJob wants a log to say why a process can't make a pass.
func TestFailedJob(t *testing.T) {
	r := newRig(t, 1)
	r.begins(r.worker())
	failed := make(chan slog.Record, 100)
	w := r.worker(func(o *Options) {
		o.Fleet = func(context.Context) (*fleet.Fleet, error) { return nil, errors.New("no store") }
		o.Log = slog.New(told{o.Log.Handler(), failed})
	})
	r.work(w)
	if text := r.awaitWarning(failed); !strings.Contains(text, "failed") {
		t.Errorf("the log says %q", text)
	}
}

// TestStoppedProcess wants a process that is told to stop to leave its jobs to others at once,
// also if the stop itself keeps it from preparing a pass.
func TestStoppedProcess(t *testing.T) {
	r := newRig(t, 1)
	stop, end := context.WithCancel(t.Context())
	w := r.worker(func(o *Options) {
		o.Fleet = func(context.Context) (*fleet.Fleet, error) { end(); return nil, stop.Err() }
	})
	w.stop, w.abort = stop, t.Context()
	if err := (&passWorker{w: w}).Work(t.Context(), nil); !isSnooze(err) {
		t.Errorf("the job ended with %v", err)
	}
}

// TestDatabaseAway wants a database that can't be reached told from other faults: archiverd's
// exit code and its restart follow from that.
func TestDatabaseAway(t *testing.T) {
	r := newRig(t, 1)
	w := r.worker()
	name := strings.TrimPrefix(r.address[:strings.Index(r.address, "?")], "postgres://postgres@/")
	must(t, server.Exec(t.Context(), "postgres", "alter database "+name+" allow_connections false"))
	must(t, server.Exec(t.Context(), "postgres", "select pg_terminate_backend(pid) from pg_stat_activity where datname = '"+name+"'"))
	for what, f := range map[string]func() error{
		"New":     func() error { _, err := New(t.Context(), w.Options); return err },
		"Join":    func() error { _, err := w.Join(t.Context(), fleet.Selection{}, false, false); return err },
		"Migrate": func() error { _, err := Migrate(t.Context(), r.ledger.Pool()); return err },
		"Work":    func() error { return w.Work(context.WithoutCancel(t.Context()), t.Context()) },
	} {
		if err := f(); !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("%s ends with %v", what, err)
		}
	}
}

// awayClaim can't be kept once.
type awayClaim struct {
	state.Claim
	asked int
}

func (c *awayClaim) Keep(ctx context.Context) error {
	if c.asked++; c.asked == 1 {
		return fmt.Errorf("%w: injected", state.ErrUnavailable)
	}
	return c.Claim.Keep(ctx)
}

// TestSettleWithoutDatabase wants what a part of a pass did to be written down although the
// database was away at its end, and the pass to go on.
func TestSettleWithoutDatabase(t *testing.T) {
	r, w, pass, c := onePass(t)
	got := archiver.InboxReport{Org: "acme", Inbox: r.inboxes[0].ID, Pass: state.Pass{Archived: 7}, Err: state.ErrUnavailable}
	if err := w.settle(t.Context(), pass, &awayClaim{Claim: c}, got); !isSnooze(err) {
		t.Errorf("settled with %v", err)
	}
	kept, err := decode[report](readJob[passArgs](r, w, pass.ID).Output())
	if err != nil || kept.Pass.Archived != 7 || kept.Error != nil {
		t.Errorf("the job holds %+v, %v", kept, err)
	}
}
