package state

import (
	"testing"
	"time"
)

func noEdit(*Inbox) {}

func TestRuns(t *testing.T) {
	l := fresh(t)
	runs, err := l.Runs(1)
	must(t, err)
	same(t, len(runs), 0)
	at := func(n int) time.Time { return testTime.Add(time.Duration(n) * time.Minute) }
	for i := range 130 {
		must(t, l.AddRun(Run{Start: at(i * 37 % 130), Archived: int64(i)}))
	}
	ended := Run{Start: at(129), End: at(130), Inboxes: 2, Archived: 7, Failed: 1, DeleteRequested: 3, Bytes: 9, ExitCode: 3, Error: "e"}
	must(t, l.AddRun(ended))
	runs, err = l.Runs(200)
	must(t, err)
	same(t, len(runs), runsKept)
	same(t, runs[0], ended)
	same(t, runs[99].Start, at(30))
	if err := l.AddRun(Run{}); err == nil {
		t.Error("a run without a start was taken")
	}
	must(t, l.Check())
}
