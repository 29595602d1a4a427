package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	day     = 24 * time.Hour
	century = 36500 * day // the longest duration and, in years, the longest period
)

// Period is a span of calendar years and a fixed rest, for retention.
type Period struct {
	Years int
	Rest  time.Duration
}

// After adds the period to t and returns the next midnight UTC: retention is rounded
// up, never down. 29 February plus a year is 1 March.
func (p Period) After(t time.Time) time.Time {
	end := t.UTC().AddDate(p.Years, 0, 0).Add(p.Rest)
	midnight := time.Date(end.Year(), end.Month(), end.Day(), 0, 0, 0, 0, time.UTC)
	if midnight.Before(end) {
		midnight = midnight.AddDate(0, 0, 1)
	}
	return midnight
}

// String returns the period as it is written in the file, such as 7y or 1y36h0m0s.
func (p Period) String() string {
	switch {
	case p.Years == 0:
		return p.Rest.String()
	case p.Rest == 0:
		return strconv.Itoa(p.Years) + "y"
	}
	return fmt.Sprintf("%dy%v", p.Years, p.Rest)
}

var leadingYearsAndDays = regexp.MustCompile(`^(?:(\d{1,3})y)?(?:(\d{1,5})d)?`)

// ParsePeriod reads years, days and a Go duration, in this order, at least one of the
// three. It refuses negative periods and periods longer than a century.
func ParsePeriod(text string) (Period, bool) {
	m := leadingYearsAndDays.FindStringSubmatch(text)
	years, _ := strconv.Atoi(m[1]) // digits or nothing
	days, _ := strconv.Atoi(m[2])
	rest := time.Duration(0)
	if tail := strings.TrimPrefix(text, m[0]); tail != "" || text == "" {
		var err error
		if rest, err = time.ParseDuration(tail); err != nil {
			return Period{}, false
		}
	}
	if years > 100 || days > 36500 || rest < 0 || rest > century-time.Duration(days)*day {
		return Period{}, false
	}
	return Period{Years: years, Rest: time.Duration(days)*day + rest}, true
}

// ParseDuration reads a duration such as 10m or 7d: a Go duration, before it years of 365
// days and days. It refuses negative ones and those longer than a century.
func ParseDuration(text string) (time.Duration, bool) {
	p, ok := ParsePeriod(text)
	years := time.Duration(p.Years) * 365 * day
	if !ok || p.Rest > century-years {
		return 0, false
	}
	return years + p.Rest, true
}
