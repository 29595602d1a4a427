package bolt

import (
	"context"
	"fmt"

	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// runsKept is the number of runs that are kept.
const runsKept = 100

// AddRun implements state.Runs.
func (l *Ledger) AddRun(ctx context.Context, r state.Run) error {
	err := l.update(ctx, func(tx *bbolt.Tx) error {
		return addStarted(tx.Bucket([]byte("runs")), r.Start, r.ID, &r, runsKept)
	})
	if err != nil {
		return fmt.Errorf("add run: %w", err)
	}
	return nil
}

// Runs implements state.Runs.
func (l *Ledger) Runs(ctx context.Context, limit int) (out []state.Run, err error) {
	err = l.view(ctx, func(tx *bbolt.Tx) error {
		out, err = newest[state.Run](tx.Bucket([]byte("runs")), limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read runs: %w", err)
	}
	return out, nil
}
