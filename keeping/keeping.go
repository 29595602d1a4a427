// Package keeping carries out what persons order about recordings, beside archiving them.
// Every order is a [state.Act] with who, when and why. The ledger has the act in the
// transaction that changes the entry, and the inbox's journal tells of it afterwards, so that
// the archive alone shows what was done.
//
// An order has one sequence for each recording. The same order given again finishes what a
// crash left.
//
//	hold      ledger: the act; store: hold, read back; ledger: held
//	release   store: no hold, read back; ledger: the act
//	retain    store: lock, read back; ledger: the act
//	erase     checks; ledger: the act; journal; store: media removed, then manifests, nothing
//	          is listed any more; ledger: erased
//	dispose   as erase, and expired; then a certificate in the archive, its hash in the ledger
//
// While a pass has the claim on an inbox, the journal is left to that pass, which may write it
// after the objects are gone.
//
// After a crash behind the act to hold, the original stays, and verify reports the missing
// hold. After a crash behind the act to erase, the recording is never archived again, and
// verify reports it as unfinished. After a crash before the act, retain leaves a longer lock
// than the ledger says, and release leaves no hold where the ledger has one.
//
// Versions of a held recording that are archived later are held by package archiver.
//
// Erasing and disposing delete with a [storage.Remover], which has credentials of its own.
// Nothing else here can delete.
package keeping

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Options configure a Keeper. All fields are required.
type Options struct {
	Bucket    bucket // with archiverd's own credentials
	Ledger    ledger
	Prefix    string // of every key
	Retention proof.Retention
	// Journal brings an inbox's journal up to date with the ledger.
	Journal func(ctx context.Context, org, inbox string) error
	Workers int // recordings at a time
}

// Keeper carries out orders. Its methods may be called concurrently.
type Keeper struct {
	Options
	claiming sync.Mutex // held by idle: two recordings may be of the same inbox
}

// New returns a Keeper.
func New(o Options) *Keeper { return &Keeper{Options: o} }

type bucket interface {
	record.Bucket
	Put(ctx context.Context, n storage.New, body []byte, sha256 [32]byte) (storage.Object, error)
	Hold(ctx context.Context, key, versionID string) (bool, error)
	SetHold(ctx context.Context, key, versionID string, on bool) error
	Retention(ctx context.Context, key, versionID string) (storage.Retention, error)
	Extend(ctx context.Context, key, versionID string, r storage.Retention) (storage.Retention, error)
}

type ledger interface {
	ID() string
	Entry(ctx context.Context, k state.Key) (state.Entry, error)
	Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error)
	Claim(ctx context.Context, org, inbox string) (state.Claim, error)
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

func (t Totals) add(more Totals) {
	for result, n := range more {
		t[result] += n
	}
}

// refusal is why an order does not apply to a recording.
type refusal struct{ why string }

func (r *refusal) Error() string { return r.why }

func refusef(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// remark says what else there is to know of a recording for which the order was carried out.
type remark struct{ what string }

func (r *remark) Error() string { return r.what }

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
	said, remarked := errors.AsType[*remark](err)
	switch {
	case err == nil:
	case remarked:
		out.Why = said.what
	case errors.Is(err, errAlready):
		out.Result = Already
	case left:
		out.Result, out.Why = Left, refused.why
	case endsOrder(err):
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

// endsOrder reports whether every other recording would meet the error too.
func endsOrder(err error) bool {
	return failure.EndsRun(err) || errors.Is(err, storage.ErrNoLocks) || errors.Is(err, storage.ErrIgnored) || errors.Is(err, context.Canceled)
}

// journals writes the journals of the inboxes that the order is about. What can't be written
// now, the next pass writes.
func (r *run) journals(ctx context.Context) error {
	var all error
	for in := range r.inboxes {
		if err := r.Journal(ctx, in[0], in[1]); err != nil {
			all = errors.Join(all, fmt.Errorf("the ledger has the order, but the journal of inbox %s/%s does not tell of it yet; the next run writes it: %w", in[0], in[1], err))
		}
	}
	return all
}

// edit changes an entry within its state, whatever its state is by now.
func (k *Keeper) edit(ctx context.Context, key state.Key, f func(*state.Entry)) (state.Entry, error) {
	return k.move(ctx, key, "", f)
}

// move changes an entry's state, whatever it is by now; to "" edits the entry within its state.
func (k *Keeper) move(ctx context.Context, key state.Key, to state.State, f func(*state.Entry)) (state.Entry, error) {
	ctx = context.WithoutCancel(ctx) // what happened is written down
	for n := 1; ; n++ {
		e, err := k.Ledger.Entry(ctx, key)
		if err != nil {
			return e, failure.OfLedger(err)
		}
		next := to
		if next == "" {
			next = e.State
		}
		e, err = k.Ledger.Move(ctx, key, e.State, next, f)
		_, moved := errors.AsType[*state.ConflictError](err)
		switch {
		case moved && n < failure.Tries:
			continue
		case moved, errors.Is(err, state.ErrInvalid), errors.Is(err, state.ErrEdge):
			return e, refusef("it changed meanwhile: %v", err)
		}
		return e, failure.OfLedger(err)
	}
}
