package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/archiverd/archiverd/state/postgres"
)

// lookArgs are those of a job that looks whether a run is due, and begins it.
type lookArgs struct{}

func (lookArgs) Kind() string { return "look" }

func (lookArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: runQueue, UniqueOpts: river.UniqueOpts{ByState: unfinished()}}
}

type lookWorker struct {
	river.WorkerDefaults[lookArgs]
	w *Worker
}

func (l *lookWorker) Work(ctx context.Context, _ *river.Job[lookArgs]) error {
	due, err := l.w.due(ctx, l.w.clock.Now())
	if err == nil && due {
		_, err = l.w.client.Insert(ctx, runArgs{}, nil)
	}
	if err != nil {
		err = fmt.Errorf("look whether a run is due: %w", postgres.Classify(err))
	}
	return errors.Join(err, l.w.forget(ctx))
}

// due tells whether the schedule's time has come since the last run began. A run that is made
// now begins at that time, or later: so a time of the schedule can't come once more after it.
func (w *Worker) due(ctx context.Context, now time.Time) (bool, error) {
	runs, err := w.Ledger.Runs(ctx, 1000)
	if err != nil || w.Schedule == nil {
		return false, err
	}
	for _, r := range runs {
		if r.Start.Before(now) && r.Error == "" { // a wrong clock may have dated one in the future
			return !w.Schedule().Next(r.Start).After(now), nil
		}
	}
	return true, nil // there never was one
}

// forget deletes jobs of runs that ended long ago, and of looks.
func (w *Worker) forget(ctx context.Context) error {
	_, err := w.Ledger.Pool().Exec(ctx, "delete from river_job where kind in ('run', 'look') and finalized_at < now() - interval '1 hour'")
	if err != nil {
		return fmt.Errorf("delete jobs of earlier runs: %w", postgres.Classify(err))
	}
	return nil
}
