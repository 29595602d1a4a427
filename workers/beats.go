package workers

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// beats holds the jobs that this process works on. Each quarter of a claim's life, beat sets
// their attempted_at to now. A running job whose attempted_at is older than that belongs to a
// process that died or was suspended: every process makes such jobs available again (rescue),
// after the longest life that claims of a living worker have. River's own rescuer, which is off,
// uses the process's clock: one that is fast would make jobs available that are under way, and
// one that is slow would leave those of the dead.
type beats struct {
	mu     sync.Mutex
	passes map[int64]string // by job
}

// add counts a pass in until the function that it returns is called.
func (b *beats) add(job int64, inbox string) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.passes == nil {
		b.passes = map[int64]string{}
	}
	b.passes[job] = inbox
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.passes, job)
	}
}

func (b *beats) jobs() []int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.passes))
}

func (b *beats) any() bool { return len(b.jobs()) > 0 }

func (b *beats) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.passes) == 0 {
		return "no pass is under way here"
	}
	return "passing over " + strings.Join(slices.Sorted(maps.Values(b.passes)), ", ")
}

// beat beats until ctx ends, and reads the database's clock.
func (w *Worker) beat(ctx context.Context) {
	tick := time.NewTicker(w.Claim / 4)
	defer tick.Stop()
	for {
		err := w.clock.set(ctx, w.Ledger.Pool())
		if err == nil {
			err = w.live(ctx)
		}
		if jobs := w.beats.jobs(); err == nil && len(jobs) > 0 {
			_, err = w.Ledger.Pool().Exec(ctx, "update river_job set attempted_at = now() where id = any($1) and state = 'running'", jobs)
		}
		if err == nil {
			err = w.rescue(ctx)
		}
		if err != nil && ctx.Err() == nil {
			w.Log.Warn("the database did not take a sign of life; tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *Worker) rescue(ctx context.Context) error {
	freed, err := w.Ledger.Pool().Exec(ctx, `update river_job set state = 'available', scheduled_at = now()
		where state = 'running' and attempted_at < now() - (select max(claim) from workers where seen > now() - claim)`)
	if err == nil && freed.RowsAffected() > 0 {
		w.Log.Warn("jobs of a process that gave no sign of life go on elsewhere", "jobs", freed.RowsAffected())
	}
	return err
}
