// Package failure says what an error of Genesys, the store or the ledger means: who has to
// act, what it ends, and whether trying again soon can help. Retry tries one action again
// within a pass. When a later pass tries a recording again is for package archiver to say.
package failure

import (
	"context"
	"errors"
	"log/slog"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Kind says who has to do something about an error.
type Kind int

// The kinds of errors that end a pass.
const (
	KindNone          Kind = iota // no error
	KindFailed                    // this inbox, in a way that no other kind names
	KindNeedsLogin                // its user has to log in
	KindRefused                   // Genesys refuses this inbox's token, or it is another user's
	KindClientRefused             // Genesys refuses the organization's client or its scope
	KindTemporary                 // a service: the next run may succeed
	KindStopped                   // nobody: it was told to stop
	KindConfiguration             // the store is not set up as configured
	KindIntegrity                 // the archive does not hold what it should
	KindLedger                    // the ledger can't be read or written
)

var (
	// ErrStopped ends a pass that was told to stop.
	ErrStopped = errors.New("stopped before the pass was done; the next one goes on")
	// ErrCorrupt means that an object in the archive does not have the bytes it should have.
	ErrCorrupt = errors.New("the stored bytes are not the ones written")
	// ErrNotLocked means that an object lacks the retention asked for.
	ErrNotLocked = errors.New("the store does not hold the retention asked for: create the bucket with Object Lock and allow s3:PutObjectRetention and s3:GetObjectRetention, or set storage.object_lock.mode to none")

	// ErrPartial marks the error of a listing that showed only a part of the inbox.
	ErrPartial = errors.New("a part of the listing was shown")
	// ErrWholeInbox marks an error that every other recording of the inbox would meet too,
	// if no error of another package says so.
	ErrWholeInbox = errors.New("every recording of the inbox meets this")
)

// KindOf classifies the error of a pass.
func KindOf(err error) Kind {
	if t, ok := errors.AsType[*Told](err); ok {
		return t.Kind
	}
	switch {
	case err == nil:
		return KindNone
	case errors.Is(err, state.ErrUnavailable), errors.Is(err, state.ErrClaimLost), errors.Is(err, state.ErrClaimed):
		return KindTemporary
	case is[*ledgerError](err):
		return KindLedger
	case errors.Is(err, ErrCorrupt):
		return KindIntegrity
	case storage.SetUp(err), errors.Is(err, ErrNotLocked):
		return KindConfiguration
	case errors.Is(err, genesys.ErrNeedsLogin):
		return KindNeedsLogin
	case errors.Is(err, genesys.ErrWrongUser):
		return KindRefused
	case genesys.AsError(err).OfClient():
		return KindClientRefused
	case genesys.AsError(err).Unauthorized(), genesys.AsError(err).Forbidden() && !errors.Is(err, ErrPartial): // a token that lists one page is good for the others
		return KindRefused
	case errors.Is(err, ErrStopped), errors.Is(err, context.Canceled): // Canceled: stopped in the middle of a request
		return KindStopped
	case Temporary(err), is[*genesys.LimitedError](err):
		return KindTemporary
	}
	return KindFailed
}

// Attr returns an error for a log, with the correlation id of Genesys' reply if there is
// one.
func Attr(err error) slog.Attr {
	attrs := []any{slog.Any("error", err)}
	if g := genesys.AsError(err); g != nil && g.CorrelationID != "" {
		attrs = append(attrs, slog.String("correlation_id", g.CorrelationID))
	}
	return slog.Group("", attrs...)
}

// Temporary reports whether the same request may succeed if it is sent again soon.
func Temporary(err error) bool {
	if is[*genesys.LimitedError](err) || errors.Is(err, context.Canceled) {
		return false // neither must be followed by another request at once
	}
	if g := genesys.AsError(err); g != nil {
		return g.Temporary()
	}
	s, ok := errors.AsType[*storage.Error](err)
	return ok && s.Temporary()
}

// A ledgerError says that the ledger could not be read or written.
type ledgerError struct{ err error }

// OfLedger marks an error of the ledger, so that its kind is KindLedger. It returns nil as it
// is, and an error that a cancelled context, or a claim that was refused or lost, caused: these
// are no failures of the ledger.
func OfLedger(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, state.ErrClaimLost) || errors.Is(err, state.ErrClaimed) {
		return err
	}
	return &ledgerError{err}
}

func (e *ledgerError) Error() string { return "ledger: " + e.err.Error() }
func (e *ledgerError) Unwrap() error { return e.err }

// DownError ends a pass because a service failed for several recordings in a row.
type DownError struct{ Err error }

func (e *DownError) Error() string {
	return "stopped, since one recording after the other failed: " + e.Err.Error()
}

// Unwrap returns the last failure.
func (e *DownError) Unwrap() error { return e.Err }

// EndsPass reports whether every other recording of the inbox would meet the error too.
func EndsPass(err error) bool {
	return EndsRun(err) || genesys.AsError(err).OfClient() || genesys.AsError(err).Unauthorized() ||
		errors.Is(err, ErrStopped) || errors.Is(err, state.ErrClaimLost) || errors.Is(err, genesys.ErrNeedsLogin) || errors.Is(err, genesys.ErrWrongUser) ||
		errors.Is(err, genesys.ErrTokenCommand) || errors.Is(err, ErrWholeInbox) || is[*genesys.LimitedError](err)
}

// EndsRun reports whether every inbox would meet the error too.
func EndsRun(err error) bool {
	down, ok := errors.AsType[*DownError](err)
	return ok && OfStore(down.Err) || is[*ledgerError](err) || storage.SetUp(err) || errors.Is(err, ErrNotLocked)
}

// OfStore reports whether the error is the store's.
func OfStore(err error) bool { return is[*storage.Error](err) }

// is reports whether there is an E in the tree of err.
func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Stopped returns why nothing new may begin once stop has ended, or nil.
func Stopped(stop context.Context) error {
	cause := context.Cause(stop)
	if errors.Is(cause, context.Canceled) {
		return ErrStopped
	}
	return cause
}
