package archiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/listing"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/twins"
	"github.com/archiverd/archiverd/uploads"
)

// Report is what a run did.
type Report struct {
	Start, End time.Time // UTC
	Inboxes    []InboxReport
}

// InboxReport is what one pass did.
type InboxReport struct {
	Org, Inbox string
	Pass       state.Pass
	Err        error    // why the pass ended early; nil: it did not
	Short      string   // why the inbox is short: see state.ConditionShort; "": it is not
	Foreign    []string // keys that hold an object which archiverd did not write
	Corrupt    []string // keys at which the archive does not hold what the ledger says
}

// visit is one inbox as it is listed, by the rules of an Archiver. A pass acts on what the
// listing shows, and Plan only says what a pass would do.
type visit struct {
	*Archiver
	in   Inbox
	keys record.Keys
	log  *slog.Logger
	walk *listing.Walk
}

func (a *Archiver) visit(stop context.Context, in Inbox) visit {
	log := a.Log.With("org", in.Org, "inbox", in.ID)
	return visit{
		a, in, record.Keys{Prefix: a.Prefix, Org: in.Org, Inbox: in.ID}, log,
		listing.New(stop, in.Listed(), a.Ledger, log, a.again),
	}
}

// pass lists one inbox, transfers, settles and deletes.
type pass struct {
	visit
	limits
	stop    context.Context         // once it ends, nothing new begins
	halt    context.CancelCauseFunc // ends stop, with the error that ends the pass
	claim   state.Claim             // the pass changes its inbox only through it
	lose    context.CancelCauseFunc // ends the pass, and abandons its transfers: the claim is lost
	atStart state.Inbox             // the inbox when the pass began
	places  survey

	sharing twins.Found // recordings that share their media with one of this inbox

	slice  time.Duration // after so long the transfers stop for now; 0: they don't
	goesOn bool          // an earlier part of the pass yielded
	// addPass is Part.AddPass.
	addPass func(ctx context.Context, r InboxReport, edit func(*state.Inbox)) error

	turns      chan struct{} // held by the recording that waits for a turn
	ownerKnown bool          // the inbox could be listed, and its owner is known
	deletions  atomic.Int64  // deletions counted against Deletion.MaxPerPass

	mu      sync.Mutex
	record  state.Pass
	foreign []string
	corrupt []string
	streak  int  // recordings that failed temporarily, one after the other
	served  bool // the download operation has answered for a recording
	absent  int  // recordings for which it answered 404 though they exist
}

// limits are what a pass shares with the other passes of its run.
type limits struct {
	maxBegun int // recordings begun and not finished, at most
	register *twins.Register
}

func (a *Archiver) newPass(stop context.Context, in Inbox) *pass {
	stop, halt := context.WithCancelCause(stop)
	return &pass{
		visit: a.visit(stop, in), stop: stop, halt: halt,
		turns:  make(chan struct{}, 1),
		record: state.Pass{Start: time.Now().UTC()},
	}
}

// make runs the pass and writes into the ledger how it went. It calls failed at once with
// a failure, so that other passes which would meet it too do not begin.
func (p *pass) make(ctx context.Context, failed func(error)) InboxReport {
	transferred := sync.OnceFunc(p.register.Transferring.Done)
	defer transferred()
	defer p.halt(nil)
	err := p.stopped()
	if err == nil {
		err = p.underClaim(ctx, func(ctx context.Context) error { return p.whole(ctx, transferred, failed) })
		failed(err)
	}
	r := p.report(p.orYielded(err))
	if p.Observer != nil && !errors.Is(r.Err, ErrYielded) {
		p.Observer.PassEnded(r)
	}
	return r
}

func (p *pass) report(err error) InboxReport {
	return InboxReport{Org: p.in.Org, Inbox: p.in.ID, Pass: p.record, Err: err, Short: p.short(), Foreign: p.foreign, Corrupt: p.corrupt}
}

// whole does the work of a pass and writes journal and ledger. A pass that goes on later
// only writes the journal: its record is not complete yet.
func (p *pass) whole(ctx context.Context, transferred func(), failed func(error)) error {
	err := p.orYielded(p.run(ctx, transferred))
	if errors.Is(err, ErrYielded) {
		if ctx.Err() == nil {
			err = errors.Join(err, p.keepUp(ctx, 0))
		}
		return err
	}
	if errors.Is(err, genesys.ErrNeedsLogin) {
		err = fmt.Errorf("%w: archiverd login --org %s --inbox %s", err, p.in.Org, p.in.ID)
	}
	failed(err)
	p.end(err)
	// If the store or the ledger has just failed, it would only fail again.
	if ctx.Err() == nil && !failure.OfStore(err) && failure.KindOf(err) != failure.KindLedger {
		err = errors.Join(err, p.keepJournal(ctx))
	}
	return errors.Join(err, p.finish(ctx, err))
}

// orYielded returns err, as ErrYielded too if a pass in parts was told to stop or could not
// reach the ledger.
func (p *pass) orYielded(err error) error {
	goesOn := failure.KindOf(err) == failure.KindStopped || errors.Is(err, state.ErrUnavailable)
	if p.slice == 0 || !goesOn || errors.Is(err, ErrYielded) {
		return err
	}
	return errors.Join(ErrYielded, err)
}

// run does the work of a pass. It calls transferred once its first transfers are over.
func (p *pass) run(ctx context.Context, transferred func()) error {
	inbox, err := p.Ledger.Inbox(ctx, p.in.Org, p.in.ID)
	if err != nil {
		return failure.OfLedger(err)
	}
	p.atStart = inbox
	if err := p.Uploads.AbortLeft(ctx, p.claim, uploads.Inbox{Org: p.in.Org, ID: p.in.ID}); err != nil {
		return err
	}
	if p.goesOn { // first what the earlier walk found
		if err := p.transferAll(ctx); err != nil {
			return err
		}
	}
	owned, walkErr, err := p.listAndClaim(ctx)
	if err != nil {
		return err
	}
	// A listing that broke off still showed recordings, and these can be archived now.
	if err := p.transferAll(ctx); err != nil {
		return err
	}
	transferred()
	if err := p.askTwins(ctx); err != nil {
		return err
	}
	switch {
	case errors.Is(walkErr, failure.ErrPartial):
		return fmt.Errorf("archived only what the listing showed, deleted nothing: %w", walkErr)
	case walkErr != nil:
		return walkErr
	case p.walk.Unreadable > 0:
		return fmt.Errorf("%d recordings are listed without an id and can't be archived: ask Genesys support about this inbox; nothing was deleted from it", p.walk.Unreadable)
	case !p.walk.Believed:
		p.log.Warn("the listing kept changing: archived what was seen, deleted nothing", "walks", p.record.Walks)
		return nil
	}
	settle := p.settle
	if !p.record.Complete {
		p.log.Warn("the listing shows fewer recordings than Genesys counts", "listed", p.record.Listed, "missing", p.record.Missing)
		settle = p.settleShort
	}
	if err := settle(ctx); err != nil {
		return err
	}
	return p.deleteAll(ctx, owned) // in a short inbox, deletions let Genesys list the other recordings
}

// listAndClaim lists the inbox and makes this ledger its owner. At most maxWalks passes do so at a time. It
// returns in broken why the walk broke off, if the recordings seen until then can still be
// archived; and in err what ends the pass.
func (p *pass) listAndClaim(ctx context.Context) (owned bool, broken, err error) {
	if err := p.walks.Acquire(ctx, 1); err != nil {
		return false, nil, failure.ErrStopped
	}
	defer p.walks.Release(1)
	if err := p.stopped(); err != nil {
		return false, nil, err
	}
	broken = p.list(ctx)
	if broken != nil && (failure.EndsPass(broken) || p.record.Listed == 0 && !failure.Temporary(broken)) {
		return false, nil, broken
	}
	owned, err = p.own(ctx) // only now, so that an inbox that can't be listed gets no owner
	p.ownerKnown = err == nil
	return owned, broken, err
}

// list lists the inbox into the ledger, and into the pass's record.
func (p *pass) list(ctx context.Context) error {
	err := p.walk.List(ctx, p.absorb)
	p.count(func(r *state.Pass) {
		r.Listed, r.Walks, r.Complete, r.Missing = p.walk.Listed, p.walk.Walks, p.walk.Complete, p.walk.Missing
	})
	return err
}

// stopped returns why nothing new may begin, or nil.
func (p *pass) stopped() error { return failure.Stopped(p.stop) }

// end completes the pass's record.
func (p *pass) end(cause error) {
	p.record.End = time.Now().UTC()
	p.record.Findings = int64(len(p.foreign) + len(p.corrupt))
	p.record.Error = "" // of an earlier part
	if cause != nil {
		p.record.Error = cause.Error()
	}
}

// finish writes the pass into the ledger, although ctx has ended.
func (p *pass) finish(ctx context.Context, cause error) error {
	ctx = context.WithoutCancel(ctx)
	p.end(cause)
	oldest, err := p.oldestWaiting(ctx)
	if err != nil {
		return err
	}
	condition, reason := condition(cause)
	if short := p.short(); short != "" && cause == nil {
		condition, reason = state.ConditionShort, short
	}
	add := p.addPass
	if add == nil {
		add = func(ctx context.Context, r InboxReport, edit func(*state.Inbox)) error {
			return p.claim.AddPass(ctx, r.Pass, edit)
		}
	}
	err = add(ctx, p.report(cause), func(i *state.Inbox) {
		i.Condition, i.Reason, i.OldestWaiting = condition, reason, oldest
		if cause == nil {
			i.LastSuccess = p.record.End
		}
	})
	if err != nil {
		return p.written(err)
	}
	r := p.record
	p.log.Info("pass done", "listed", r.Listed, "archived", r.Archived, "adopted", r.Adopted, "failed", r.Failed,
		"bytes", r.Bytes, "deletions", r.DeleteRequested, "complete", r.Complete, "error", r.Error,
		"took", r.End.Sub(r.Start).Round(time.Millisecond).String())
	return nil
}

// oldestWaiting returns the date of the oldest recording that this pass leaves to the
// next; zero: it leaves none. A recording without a date counts from when it was first
// listed.
func (p *pass) oldestWaiting(ctx context.Context) (oldest time.Time, err error) {
	err = p.eachWaiting(ctx, func(e state.KeyedEntry) error {
		made, ok := genesys.ParseTime(e.Entry.DateCreated)
		if !ok {
			made = e.Entry.ListedAt
		}
		if oldest.IsZero() || made.Before(oldest) {
			oldest = made
		}
		return nil
	})
	return oldest.UTC(), err
}

// condition returns the condition of an inbox after a pass that ended with cause.
func condition(cause error) (condition, reason string) {
	switch failure.KindOf(cause) {
	case failure.KindNone:
		return state.ConditionOK, ""
	case failure.KindNeedsLogin:
		return state.ConditionNeedsLogin, cause.Error()
	}
	return state.ConditionFailing, cause.Error()
}

// short returns why the inbox is short, or "". Recordings that were missing in one pass
// only may have come or gone during the listing.
func (p *pass) short() string {
	last, r := p.atStart.LastPass, p.record
	if r.Missing == 0 || last == nil || last.Missing == 0 {
		return ""
	}
	return fmt.Sprintf("Genesys counts %d recordings and lists %d of them, in two passes now: the %d others can't be archived, and nothing is called missing meanwhile. Set a smaller page_size, ask Genesys support about this inbox, or have delete_originals delete what is archived, which brings the others up",
		r.Listed+r.Missing, r.Listed, r.Missing)
}

// count changes the pass's record.
func (p *pass) count(f func(*state.Pass)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.record)
}

// confirmed reports whether the token is known to be that of the inbox's user.
func (p *pass) confirmed() bool {
	return p.in.Identity == nil || p.in.Identity.Confirmed()
}

// sameInbox asks Genesys now whose token the pass uses. It returns an error if that is not
// the inbox's user.
func (p *pass) sameInbox(ctx context.Context) error {
	if p.in.Identity == nil {
		return nil
	}
	var u *genesys.User
	err := p.retry(ctx, func() (err error) { u, err = p.in.Identity.Me(ctx); return err })
	if err != nil {
		return fmt.Errorf("ask whose inbox this is: %w", err)
	}
	if u.ID != p.in.ID {
		return fmt.Errorf("users/me names user %s: %w", u.ID, genesys.ErrWrongUser)
	}
	return nil
}

// move changes one entry, and marks an error as the ledger's. It writes although ctx has
// ended, because it writes what has happened.
func (p *pass) move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (state.Entry, error) {
	e, err := p.claim.Move(context.WithoutCancel(ctx), k.Recording, from, to, edit)
	return e, p.written(err)
}

// changedSince reports whether the dateModified shown now belongs to another version than
// the one before. An absent date proves no change.
func changedSince(before, now string) bool {
	if now == "" || now == before {
		return false
	}
	tb, okb := genesys.ParseTime(before)
	tn, okn := genesys.ParseTime(now)
	return !okb || !okn || !tb.Equal(tn)
}
