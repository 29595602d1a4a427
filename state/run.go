package state

import (
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Run is what one run over inboxes came to. Inboxes counts its passes, the rest
// recordings, but for Bytes, of media archived.
type Run struct {
	Start           time.Time `json:"start"`
	End             time.Time `json:"end,omitzero"` // zero: it is under way, or its process was killed
	Inboxes         int64     `json:"inboxes,omitempty"`
	Archived        int64     `json:"archived,omitempty"`
	Failed          int64     `json:"failed,omitempty"`
	DeleteRequested int64     `json:"delete_requested,omitempty"`
	Bytes           int64     `json:"bytes,omitempty"`
	ExitCode        int       `json:"exit_code"`
	Error           string    `json:"error,omitempty"` // why it could not be made
}

// runsKept is how many runs are kept.
const runsKept = 100

// AddRun records a run under its Start, in place of what was recorded of it
// before, and forgets the oldest beyond 100.
func (l *Ledger) AddRun(r Run) error {
	err := l.update(func(tx *bbolt.Tx) error {
		return addStarted(tx.Bucket([]byte("runs")), r.Start, &r, runsKept)
	})
	if err != nil {
		return fmt.Errorf("add run: %w", err)
	}
	return nil
}

// Runs reads the runs, newest first, limit at most.
func (l *Ledger) Runs(limit int) (out []Run, err error) {
	err = l.view(func(tx *bbolt.Tx) error {
		out, err = newest[Run](tx.Bucket([]byte("runs")), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return out, nil
}
