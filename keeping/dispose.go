package keeping

import (
	"context"
	"errors"

	"github.com/archiverd/archiverd/state"
)

// ErrOtherArchive says that a list is of another archive.
var ErrOtherArchive = errors.New("the list was made of another archive, or with another ledger")

// Dispose removes exactly the recordings of an approved list, and writes a certificate into
// the archive: what was removed, and what was left and why. A recording that is not as the
// list has it is left. The order's ID must be the list's: see List.ID. The same list given
// again finishes what was interrupted, and certifies it once more.
func (k *Keeper) Dispose(ctx context.Context, o Order, l *List, r Removal) (Totals, *Certified, error) {
	if l.Ledger != k.Ledger.ID() || l.Prefix != k.Prefix {
		return nil, nil, ErrOtherArchive
	}
	if err := k.tryRemoval(ctx, o, r); err != nil {
		return nil, nil, err
	}
	outcomes := map[state.Key]Outcome{}
	emit := o.Emit
	o.Emit = func(out Outcome) error {
		outcomes[state.Key{Org: out.Org, Inbox: out.Inbox, Recording: out.Recording}] = out
		return emit(out)
	}
	listed := map[state.Key]Item{}
	var keys []state.Key
	for _, i := range l.Items {
		listed[i.key()] = i
		keys = append(keys, i.key())
	}
	o.Recordings = k.each(keys)
	totals, err := k.removeAll(ctx, o, func(ctx context.Context, key state.Key, e *state.Entry) error {
		mine := e.Disposal() != nil && e.Disposal().ID == o.ID
		switch {
		case e.State == "":
			return refusef("the ledger does not know it")
		case !mine && !listed[key].equal(k.item(key, e)):
			return refusef("it has changed since the list was made")
		}
		return k.begin(ctx, key, e, o, r)
	}, r)
	if err != nil || o.DryRun || totals[Done]+totals[Already] == 0 {
		return totals, nil, err
	}
	certified, err := k.certify(ctx, o, newCertificate(o, l, outcomes))
	return totals, certified, err
}

// ID returns the id of the act that disposes of what the list names. The same list has the
// same id, so that what an interrupted command began is known as its own.
func (l *List) ID() string { return "list-" + l.SHA256[:32] }
