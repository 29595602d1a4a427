package config

import (
	"testing"
	"time"
)

func TestParsePeriod(t *testing.T) {
	const hour = time.Hour
	for text, want := range map[string]Period{
		"7y": {7, 0}, "90d": {0, 90 * day}, "1y2d3h4m": {1, 51*hour + 4*time.Minute}, "36h": {0, 36 * hour}, "1.5h": {0, 90 * time.Minute},
		"100y": {100, 0}, "36500d": {0, century}, "0": {}, "0d": {}, "1y0s": {1, 0}, "2562047h": {}, // the last is too long
	} {
		got, ok := ParsePeriod(text)
		if got != want || ok != (text != "2562047h") {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "y", "d", "7", "-7d", "7d-1h", "-1h", "1d1y", "1h1d", "7 d", "1.5d", "101y", "36501d", "36500d1ns", "99999999999999999999d", "7Y", "1y1y", "NaNh"} {
		if got, ok := ParsePeriod(text); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"10m": 10 * time.Minute, "7d": 7 * day, "1y": 365 * day, "1y1d1s": 366*day + time.Second, "100y": century, "0s": 0} {
		if got, ok := ParseDuration(text); got != want || !ok {
			t.Errorf("%q is %v, %v", text, got, ok)
		}
	}
	if got, ok := ParseDuration("100y1s"); ok {
		t.Errorf("100y1s is %v", got)
	}
}

func TestPeriodAfter(t *testing.T) {
	for _, tt := range []struct {
		from   string
		period Period
		want   string
	}{
		{"2026-11-23T09:15:00Z", Period{Years: 7}, "2033-11-24"},
		{"2026-11-23T00:00:00Z", Period{Years: 7}, "2033-11-23"},
		{"2026-11-23T00:00:00.000000001Z", Period{Years: 7}, "2033-11-24"},
		{"2024-02-29T12:00:00Z", Period{Years: 1}, "2025-03-02"},
		{"2024-02-29T12:00:00Z", Period{Years: 4}, "2028-03-01"},
		{"2026-12-31T23:00:00-05:00", Period{Rest: day}, "2027-01-03"},
		{"2026-11-23T23:59:59Z", Period{Rest: time.Nanosecond}, "2026-11-24"},
		{"2026-10-25T00:30:00+01:00", Period{Rest: 24 * time.Hour}, "2026-10-26"},
	} {
		from, err := time.Parse(time.RFC3339Nano, tt.from)
		if err != nil {
			t.Fatal(err)
		}
		got := tt.period.After(from)
		if got.Format(time.RFC3339) != tt.want+"T00:00:00Z" || got.Before(from) {
			t.Errorf("%v after %s is %v, want %s", tt.period, tt.from, got, tt.want)
		}
	}
}

func TestPeriodString(t *testing.T) {
	for want, p := range map[string]Period{"7y": {7, 0}, "1y36h0m0s": {1, 36 * time.Hour}, "24h0m0s": {0, day}, "0s": {}} {
		if got := p.String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if again, ok := ParsePeriod(want); again != p || !ok {
			t.Errorf("%s is read as %v", want, again)
		}
	}
}
