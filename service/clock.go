package service

import (
	"time"

	"github.com/robfig/cron/v3"
)

// setBackBy is how far the wall clock must go back to count as set back: time
// synchronization makes smaller corrections.
const setBackBy = time.Minute

// clock says when a run is due by a schedule.
type clock struct {
	schedule cron.Schedule
	next     time.Time
	latest   time.Time // the latest time seen
}

// newClock continues from the last run: a run is due at once if the schedule had a time
// since then, or if there was no run yet.
func newClock(schedule cron.Schedule, last, now time.Time) clock {
	c := clock{schedule: schedule, next: now, latest: now}
	if !last.IsZero() {
		c.next = schedule.Next(last)
	}
	return c
}

// due reports whether a run is due, and then moves on to the next time. However many times
// were missed, one run is due.
func (c *clock) due(now time.Time) (due, setBack bool) {
	setBack = now.Before(c.latest.Add(-setBackBy))
	if setBack {
		c.next = c.schedule.Next(now)
	}
	if setBack || now.After(c.latest) {
		c.latest = now
	}
	if due = !now.Before(c.next); due {
		c.next = c.schedule.Next(now)
	}
	return due, setBack
}

// change continues with another schedule.
func (c *clock) change(schedule cron.Schedule, now time.Time) {
	c.schedule = schedule
	c.next = schedule.Next(now)
}
