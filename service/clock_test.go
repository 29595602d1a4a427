package service

import (
	"slices"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
)

func parse(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	if fields, ok := s.(*cron.SpecSchedule); ok {
		zone, err := time.LoadLocation("Europe/Dublin")
		if err != nil {
			t.Fatal(err)
		}
		fields.Location = zone
	}
	return Local(s)
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	u, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestLocal wants each time of a schedule once where Dublin changes its clock: at
// 01:00 UTC on 29 March 2026 from 01:00 to 02:00, and on 25 October from 02:00 to
// 01:00. All times here are UTC.
func TestLocal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec, from, to string
		want           []string
	}{
		{"30 1 * * *", "2026-03-28 00:00", "2026-03-31 00:00", []string{"28 01:30", "29 01:00", "30 00:30"}}, // skipped: when it has skipped
		{"0,30 1 * * *", "2026-03-29 00:00", "2026-03-29 23:00", []string{"29 01:00"}},
		{"0 2 * * *", "2026-03-28 12:00", "2026-03-31 00:00", []string{"29 01:00", "30 01:00"}},
		{"30 1 * * *", "2026-10-24 00:00", "2026-10-27 00:00", []string{"24 00:30", "25 00:30", "26 01:30"}}, // twice: the first
		{"59 1 * * *", "2026-10-25 00:59", "2026-10-26 12:00", []string{"26 01:59"}},
		{"0 1,2 * * *", "2026-10-24 12:00", "2026-10-26 00:30", []string{"25 00:00", "25 02:00"}},
		{"15 0-3 * * *", "2026-10-24 22:00", "2026-10-25 12:00", []string{"24 23:15", "25 00:15", "25 02:15", "25 03:15"}},
		// Every hour: by the time that passes.
		{"30 * * * *", "2026-03-28 23:00", "2026-03-29 03:00", []string{"28 23:30", "29 00:30", "29 01:30", "29 02:30"}},
		{"30 * * * *", "2026-10-24 23:00", "2026-10-25 03:00", []string{"24 23:30", "25 00:30", "25 01:30", "25 02:30"}},
		{"*/30 */1 * * *", "2026-10-25 00:00", "2026-10-25 02:00", []string{"25 00:30", "25 01:00", "25 01:30", "25 02:00"}},
		{"@every 1h", "2026-10-25 00:00", "2026-10-25 03:00", []string{"25 01:00", "25 02:00", "25 03:00"}},
	} {
		s, to := parse(t, c.spec), at(t, c.to+":00")
		var have []string
		for n := s.Next(at(t, c.from+":00")); !n.After(to); n = s.Next(n) {
			have = append(have, n.UTC().Format("02 15:04"))
		}
		if !slices.Equal(have, c.want) {
			t.Errorf("%s from %s: %q, want %q", c.spec, c.from, have, c.want)
		}
	}
	if n := parse(t, "0 0 30 2 *").Next(at(t, "2026-01-01 00:00:00")); !n.IsZero() {
		t.Errorf("a 30th of February: %v", n)
	}
}

// TestLocalEverywhere wants a time for each day and no two at once, whatever the zone
// does, from whatever time one asks.
func TestLocalEverywhere(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Europe/Dublin", "America/St_Johns", "Australia/Lord_Howe", "America/Santiago", "Africa/Casablanca", "Asia/Kathmandu", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range []string{"0 0 * * *", "30 1 * * *", "15 2 * * *", "59 23 * * *"} {
			s, err := cron.ParseStandard(spec)
			if err != nil {
				t.Fatal(err)
			}
			s.(*cron.SpecSchedule).Location = zone
			s = Local(s)
			days := map[string]bool{}
			n := time.Date(2026, 1, 1, 0, 0, 0, 0, zone)
			for range 365 {
				was := n
				n = s.Next(n)
				if day := n.In(zone).Format(time.DateOnly); days[day] || !n.After(was) {
					t.Errorf("%s in %s: twice on %s", spec, name, day)
				} else {
					days[day] = true
				}
				for back := range 5 { // asked from in between
					if m := s.Next(n.Add(-time.Duration(back*17+1) * time.Minute)); !m.Equal(n) {
						t.Errorf("%s in %s: %v, asked earlier %v", spec, name, n, m)
					}
				}
			}
			if len(days) != 365 {
				t.Errorf("%s in %s: %d days have a time", spec, name, len(days))
			}
		}
	}
}

// TestClock moves the wall clock in every way.
func TestClock(t *testing.T) {
	t.Parallel()
	s := parse(t, "*/15 * * * *")
	now := at(t, "2026-06-02 10:01:00")
	c := newClock(s, time.Time{}, now)
	step := func(what string, by time.Duration, wantDue, wantBack bool, next string) {
		t.Helper()
		now = now.Add(by)
		due, back := c.due(now)
		if due != wantDue || back != wantBack || !c.next.Equal(at(t, "2026-06-"+next+":00")) {
			t.Errorf("%s: due %v, set back %v, next %v; want %v, %v, %s", what, due, back, c.next.UTC(), wantDue, wantBack, next)
		}
	}
	step("the first run ever", 0, true, false, "02 10:15")
	step("nothing yet", 13*time.Minute, false, false, "02 10:15")
	step("its time", time.Minute, true, false, "02 10:30")
	step("corrected by a second", -time.Second, false, false, "02 10:30")
	step("and on", 2*time.Second, false, false, "02 10:30")
	step("a suspended night", 10*time.Hour, true, false, "02 20:30")
	step("once", time.Second, false, false, "02 20:30")
	step("set back a day", -24*time.Hour, false, true, "01 20:30")
	step("and on from there", 15*time.Minute, true, false, "01 20:45")
}
