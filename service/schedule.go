package service

import (
	"time"

	"github.com/robfig/cron/v3"
)

// anyHour is the bit by which cron marks a field that was written with a star.
const anyHour = 1 << 63

// Local returns a schedule each of whose times comes once, also when its zone changes
// the clock. A schedule for certain hours follows the local clock: a time that the clock
// skips comes right after the change; a time that the clock shows twice comes the first
// time only. (cron alone would leave out the first and repeat the second.) A schedule
// for every hour follows the time that passes, as cron does.
func Local(s cron.Schedule) cron.Schedule {
	spec, ok := s.(*cron.SpecSchedule)
	if !ok || spec.Hour&anyHour != 0 {
		return s
	}
	wall := *spec
	wall.Location = time.UTC // a clock that never changes shows every time once
	return local{&wall, spec.Location}
}

type local struct {
	wall *cron.SpecSchedule
	zone *time.Location
}

// Next is the first time of the schedule after t.
func (l local) Next(t time.Time) time.Time {
	for shown := asUTC(t.In(l.zone)); ; {
		if shown = l.wall.Next(shown); shown.IsZero() {
			return shown
		}
		if next := l.first(shown); next.After(t) {
			return next
		}
	}
}

// asUTC returns the time at which a clock in UTC shows what t shows.
func asUTC(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// first returns when the zone's clock first shows the given time, or skips it.
func (l local) first(shown time.Time) time.Time {
	t := time.Date(shown.Year(), shown.Month(), shown.Day(), shown.Hour(), shown.Minute(), shown.Second(), 0, l.zone)
	begin, end := t.ZoneBounds()
	switch is := asUTC(t); {
	case is.After(shown):
		return begin
	case is.Before(shown):
		return end
	}
	if begin.IsZero() {
		return t
	}
	_, offset := begin.Add(-time.Second).Zone()
	if before := shown.Add(-time.Duration(offset) * time.Second).In(l.zone); before.Before(begin) {
		return before
	}
	return t
}
