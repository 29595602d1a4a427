// Package keeping carries out what persons order about recordings, beside archiving them.
// Every order is a [state.Act] with who, when and why. The ledger has the act in the
// transaction that changes the entry, and the inbox's journal tells of it afterwards, so that
// the archive alone shows what was done.
//
// The same order given again finishes what a crash left.
package keeping

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// Options configure a Keeper. All fields are required.
type Options struct {
	Ledger ledger
	// Journal brings an inbox's journal up to date with the ledger.
	Journal func(ctx context.Context, org, inbox string) error
	Workers int // recordings at a time
}

// Keeper carries out orders. Its methods may be called concurrently.
type Keeper struct{ Options }

// New returns a Keeper.
func New(o Options) *Keeper { return &Keeper{o} }

type ledger interface {
	Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error)
}

// Recordings calls f with each recording that an order is about. It ends with f's first
// error and returns it unchanged.
type Recordings func(ctx context.Context, f func(state.Key, *state.Entry) error) error

// Result is what became of one recording.
type Result string

// The results.
const (
	Done    Result = "done"    // the order was carried out, or with a dry run would be
	Already Result = "already" // nothing was left to do
	Left    Result = "left"    // the order does not apply, or is refused: Why says for what reason
	Failed  Result = "failed"  // the order could not be carried out: give it again
)

// Outcome is what became of one recording, and why.
type Outcome struct {
	Org       string `json:"org"`
	Inbox     string `json:"inbox"`
	Recording string `json:"recording"`
	Result    Result `json:"result"`
	Why       string `json:"why,omitempty"`
}

// Order is an act and how it is carried out.
type Order struct {
	state.Act
	Recordings Recordings
	DryRun     bool                // look at everything, and change nothing
	Emit       func(Outcome) error // called for one recording at a time
}

// Totals counts the recordings of an order by their results.
type Totals map[Result]int64

// refusal is why an order does not apply to a recording.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func refusef(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// errAlready says that nothing was left to do for a recording.
var errAlready = errors.New("nothing is left to do")

// maxRow is how many recordings in a row may fail for a temporary reason.
const maxRow = 5

// carryOut calls do for each recording of the order, several at a time, and writes the
// journals of the inboxes afterwards. Its error says why not all recordings were reached.
func (k *Keeper) carryOut(ctx context.Context, o Order, do func(context.Context, state.Key, *state.Entry) error) (Totals, error) {
	run := &run{Keeper: k, order: o, totals: Totals{}, inboxes: map[[2]string]bool{}}
	g, working := errgroup.WithContext(ctx)
	g.SetLimit(k.Workers)
	err := o.Recordings(working, func(key state.Key, e *state.Entry) error {
		if working.Err() != nil {
			return failure.ErrStopped
		}
		g.Go(func() error {
			return run.note(key, failure.Retry(working, func(error) {}, func() error { return do(working, key, e) }))
		})
		return nil
	})
	if failed := g.Wait(); failed != nil {
		err = failed
	}
	if o.DryRun {
		return run.totals, err
	}
	return run.totals, errors.Join(err, run.journals(context.WithoutCancel(ctx)))
}

// run is one order under way.
type run struct {
	*Keeper
	order Order

	mu      sync.Mutex
	totals  Totals
	inboxes map[[2]string]bool // whose journals are to tell of the order, by organization and id
	row     int                // recordings that failed for a temporary reason, one after the other
}

// note emits what became of a recording. It returns the error that ends the order: one that
// every other recording would meet too.
func (r *run) note(key state.Key, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := Outcome{key.Org, key.Inbox, key.Recording, Done, ""}
	refused, left := errors.AsType[*refusal](err)
	switch {
	case err == nil:
	case errors.Is(err, errAlready):
		out.Result = Already
	case left:
		out.Result, out.Why = Left, refused.why
	case failure.EndsRun(err) || errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", key, err)
	default:
		out.Result, out.Why = Failed, err.Error()
	}
	if r.row++; !failure.Temporary(err) {
		r.row = 0
	}
	if r.row >= maxRow {
		return &failure.DownError{Err: err}
	}
	if !left {
		r.inboxes[[2]string{key.Org, key.Inbox}] = true
	}
	r.totals[out.Result]++
	return r.order.Emit(out)
}

// journals writes the journals of the inboxes that the order is about. What can't be written
// now, the next pass writes.
func (r *run) journals(ctx context.Context) error {
	var all error
	for in := range r.inboxes {
		if err := r.Journal(ctx, in[0], in[1]); err != nil {
			all = errors.Join(all, fmt.Errorf("the order is carried out, but the journal of inbox %s/%s does not tell of it yet; the next run writes it: %w", in[0], in[1], err))
		}
	}
	return all
}
