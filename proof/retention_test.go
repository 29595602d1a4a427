package proof

import (
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
)

func TestRetention(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := Retention{Mode: "COMPLIANCE", Until: func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }}
	for _, c := range []struct {
		name, created string
		want          time.Time // zero: no lock
	}{
		{"counts from dateCreated", "2026-10-01T00:00:00Z", time.Date(2027, 10, 1, 0, 0, 0, 0, time.UTC)},
		{"no date", "", now.AddDate(1, 0, 0)},
		{"a date before 2000", "1999-12-31T23:59:59Z", now.AddDate(1, 0, 0)},
		{"a date to come", "2027-01-01T00:00:00Z", now.AddDate(1, 0, 0)},
		{"ended already", "2020-01-01T00:00:00Z", time.Time{}},
		{"ends within the hour", "2025-11-23T12:59:00Z", time.Time{}},
		{"ends in an hour", "2025-11-23T13:00:00Z", now.Add(time.Hour)},
	} {
		want := storage.Retention{}
		if !c.want.IsZero() {
			want = storage.Retention{Mode: "COMPLIANCE", Until: c.want}
		}
		if got := a.Lock(c.created, now); got != want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		if note := a.Describe(c.created, now, storage.Retention{}); note == nil || note.Note == "" {
			t.Errorf("%s: an unlocked object's manifest says %+v", c.name, note)
		}
	}
}
