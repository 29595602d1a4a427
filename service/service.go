// Package service is the long-running side of archiverd: it starts runs on the
// schedule, never two at once.
package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/robfig/cron/v3"
)

// Run calls run whenever the schedule fires, until ctx ends and the run under way
// has returned. A time that comes while a run is under way is skipped.
func Run(ctx context.Context, schedule cron.Schedule, zone *time.Location, log *slog.Logger, run func()) {
	c := cron.New(
		cron.WithLocation(zone),
		cron.WithChain(cron.SkipIfStillRunning(skipLog{log})),
	)
	id := c.Schedule(schedule, cron.FuncJob(run))
	c.Start()
	log.Info("waiting for the schedule", "next", c.Entry(id).Next)
	<-ctx.Done()
	<-c.Stop().Done()
}

// skipLog passes on cron's one word that matters: that a time was skipped.
type skipLog struct{ log *slog.Logger }

func (l skipLog) Info(msg string, _ ...any) {
	if msg == "skip" {
		l.log.Warn("a scheduled run was skipped: the one before is still under way")
	}
}

func (l skipLog) Error(err error, msg string, _ ...any) { l.log.Error(msg, "error", err) }
