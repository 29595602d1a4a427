package statetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
)

func (s suite) runs(t *testing.T) {
	l := s.fresh(t)
	runs, err := l.Runs(t.Context(), 1)
	Must(t, err)
	Same(t, len(runs), 0)
	at := func(n int) time.Time { return testTime.Add(time.Duration(n) * time.Minute) }
	for i := range 130 {
		Must(t, l.AddRun(t.Context(), state.Run{ID: fmt.Sprint(i), Start: at(i * 37 % 130), Archived: int64(i)}))
	}
	Must(t, l.AddRun(t.Context(), state.Run{ID: "last", Start: at(129)})) // another, at the same moment
	ended := state.Run{ID: "last", Start: at(129), End: at(130), Inboxes: 2, Archived: 7, Failed: 1, DeleteRequested: 3, Bytes: 9, ExitCode: 3, Error: "e"}
	Must(t, l.AddRun(t.Context(), ended))
	runs, err = l.Runs(t.Context(), 200)
	Must(t, err)
	Same(t, len(runs), 100)
	Same(t, runs[0], ended)
	Same(t, runs[1].Start, at(129))
	Same(t, runs[99].Start, at(31))
	if err := l.AddRun(t.Context(), state.Run{}); err == nil {
		t.Error("a run without a start was taken")
	}
	Must(t, l.Check())
}
