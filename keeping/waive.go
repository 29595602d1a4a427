package keeping

import (
	"context"
	"errors"
	"strings"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// Waive accepts of recordings that they are not archived: they count as failures no more,
// and are archived after all if they come back. What is stored can't be waived.
func (k *Keeper) Waive(ctx context.Context, o Order) (Totals, error) {
	return k.carryOut(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		switch {
		case e.State == state.StateWaived:
			return errAlready
		case !state.Allowed(e.State, state.StateWaived):
			return refusef("it is %s: only what is listed, failed or vanished can be waived", e.State)
		case o.DryRun:
			return nil
		}
		now, err := k.Ledger.Move(context.WithoutCancel(ctx), key, e.State, state.StateWaived, o.Do)
		if moved, ok := errors.AsType[*state.ConflictError](err); ok {
			return refusef("it was %s a moment ago, and is %s now: look at it again", moved.Want, moved.Have)
		}
		if cases := now.Cases(); err == nil && len(cases) > 0 {
			return &remark{"it is held by " + strings.Join(cases, ", ") + ", and archiverd does not try to archive it any more"}
		}
		return failure.OfLedger(err)
	})
}
