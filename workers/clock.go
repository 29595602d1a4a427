package workers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river/rivertype"
	"github.com/robfig/cron/v3"

	"github.com/archiverd/archiverd/state/postgres"
)

// clock is the database's clock, as it was read last and has gone on since. River dates and
// hands out jobs by the clock of each process; a wrong one would put jobs off for everyone.
type clock struct{ read atomic.Pointer[reading] }

// reading says what time it was in the database at a time of this process. What has passed
// since is measured by a clock that nobody sets.
type reading struct{ theirs, ours time.Time }

// Now implements rivertype.TimeGenerator.
func (c *clock) Now() time.Time {
	r := c.read.Load()
	return r.theirs.Add(time.Since(r.ours))
}

// NowOrNil implements rivertype.TimeGenerator. With nil, River would date new jobs by the
// clock of this process.
func (c *clock) NowOrNil() *time.Time {
	now := c.Now()
	return &now
}

// set reads the database's clock.
func (c *clock) set(ctx context.Context, pool *pgxpool.Pool) error {
	before := time.Now()
	var now time.Time
	if err := pool.QueryRow(ctx, "select clock_timestamp()").Scan(&now); err != nil {
		return fmt.Errorf("read the database's clock: %w", postgres.Classify(err))
	}
	c.read.Store(&reading{now, before.Add(time.Since(before) / 2)})
	return nil
}

// retry tries a failed job again after a second, then after one more each time, up to a
// minute: the database or the store is away only for a while. Chance decides which process
// gets the job next.
type retry struct{ clock *clock }

// NextRetry implements river.ClientRetryPolicy.
func (r retry) NextRetry(job *rivertype.JobRow) time.Time {
	return r.clock.Now().Add(min(time.Duration(max(1, len(job.Errors)))*time.Second, lastPause) + rand.N(time.Second))
}

const lastPause = time.Minute

// atLeastEachMinute is a schedule whose job looks every minute whether a run is due, beside
// the schedule's own times. So a time is not missed for long when the leader changes or the
// database is away, and a reloaded schedule takes effect.
type atLeastEachMinute struct{ schedule func() cron.Schedule }

// Next implements river.PeriodicSchedule.
func (s atLeastEachMinute) Next(now time.Time) time.Time {
	look := now.Add(time.Minute)
	if next := s.schedule().Next(now).Add(late); next.Before(look) {
		return next
	}
	return look
}

// late is how long after a time of the schedule the leader makes a run for it. A job that is
// made before that time is not due; River makes jobs up to 100 ms early, and the clock of a
// process goes by the database's only nearly.
const late = 250 * time.Millisecond
