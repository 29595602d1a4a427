package archiver

import (
	"context"
	"errors"
	"log/slog"

	"github.com/archiverd/archiverd/genesys"
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
	KindConfiguration             // the store's side is not set up as configured
	KindIntegrity                 // the archive does not hold what it should
	KindLedger                    // the ledger can't be read or written
)

// KindOf classifies the error of a pass.
func KindOf(err error) Kind {
	var l *ledgerError
	var limited *genesys.LimitedError
	switch {
	case err == nil:
		return KindNone
	case errors.As(err, &l):
		return KindLedger
	case errors.Is(err, errCorrupt):
		return KindIntegrity
	case storage.SetUp(err), errors.Is(err, errNotLocked):
		return KindConfiguration
	case errors.Is(err, genesys.ErrNeedsLogin):
		return KindNeedsLogin
	case errors.Is(err, genesys.ErrWrongUser):
		return KindRefused
	case genesys.AsError(err).OfClient():
		return KindClientRefused
	case genesys.AsError(err).Unauthorized(), genesys.AsError(err).Forbidden() && !halfway(err): // a token that lists one page is good for the others
		return KindRefused
	case errors.Is(err, ErrStopped), errors.Is(err, context.Canceled): // the latter in the middle of a request
		return KindStopped
	case temporary(err), errors.As(err, &limited):
		return KindTemporary
	}
	return KindFailed
}

// ErrorAttr is an error for a log, with the correlation id of Genesys' reply where
// there is one.
func ErrorAttr(err error) slog.Attr {
	attrs := []any{slog.Any("error", err)}
	var g *genesys.Error
	if errors.As(err, &g) && g.CorrelationID != "" {
		attrs = append(attrs, slog.String("correlation_id", g.CorrelationID))
	}
	return slog.Group("", attrs...)
}

// temporary tells whether trying the same again soon can succeed.
func temporary(err error) bool {
	var limited *genesys.LimitedError
	var g *genesys.Error
	if errors.As(err, &limited) || errors.Is(err, context.Canceled) {
		return false // trying again at once is what must not happen
	}
	if errors.As(err, &g) {
		return g.Temporary()
	}
	var s *storage.Error
	return errors.As(err, &s) && s.Temporary()
}

// A ledgerError says that the ledger could not be read or written.
type ledgerError struct{ err error }

// ledgerFailed marks an error of the ledger. A context that ended before the ledger did
// anything is no failure of the ledger.
func ledgerFailed(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &ledgerError{err}
}

func (e *ledgerError) Error() string { return "ledger: " + e.err.Error() }
func (e *ledgerError) Unwrap() error { return e.err }

// A downError says that a service failed one recording after the other.
type downError struct{ err error }

func (e *downError) Error() string {
	return "stopped, since one recording after the other failed: " + e.err.Error()
}
func (e *downError) Unwrap() error { return e.err }

// failsPass tells whether err would meet every other recording of the inbox too.
func failsPass(err error) bool {
	var api *wrongDownloadAPIError
	var limited *genesys.LimitedError
	return failsRun(err) || genesys.AsError(err).OfClient() || genesys.AsError(err).Unauthorized() ||
		errors.Is(err, ErrStopped) || errors.Is(err, genesys.ErrNeedsLogin) || errors.Is(err, genesys.ErrWrongUser) ||
		errors.Is(err, genesys.ErrTokenCommand) ||
		errors.As(err, &limited) || errors.As(err, &api)
}

// failsRun tells whether err would meet every inbox.
func failsRun(err error) bool {
	var l *ledgerError
	var down *downError
	return errors.As(err, &l) || storage.SetUp(err) || errors.Is(err, errNotLocked) || errors.As(err, &down) && isStorage(down.err)
}

func isStorage(err error) bool {
	_, ok := errors.AsType[*storage.Error](err)
	return ok
}
