package archiver

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

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
	case errors.Is(err, storage.ErrAccess), errors.Is(err, storage.ErrNoBucket), errors.Is(err, storage.ErrChecksumHeader), errors.Is(err, errNotLocked):
		return KindConfiguration
	case errors.Is(err, genesys.ErrNeedsLogin):
		return KindNeedsLogin
	case errors.Is(err, genesys.ErrWrongUser):
		return KindRefused
	case clientRefused(err):
		return KindClientRefused
	case unauthorized(err), forbidden(err):
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
	return failsRun(err) || clientRefused(err) || unauthorized(err) ||
		errors.Is(err, ErrStopped) || errors.Is(err, genesys.ErrNeedsLogin) || errors.Is(err, genesys.ErrWrongUser) ||
		errors.Is(err, genesys.ErrTokenCommand) ||
		errors.As(err, &limited) || errors.As(err, &api)
}

// failsRun tells whether err would meet every inbox.
func failsRun(err error) bool {
	var l *ledgerError
	var down *downError
	return errors.As(err, &l) || errors.Is(err, storage.ErrAccess) || errors.Is(err, storage.ErrNoBucket) ||
		errors.Is(err, storage.ErrChecksumHeader) || errors.Is(err, errNotLocked) || errors.As(err, &down) && isStorage(down.err)
}

// silent tells that Genesys gave no reply at all, for as long as it was tried.
func silent(err error) bool {
	var e *genesys.Error
	return errors.As(err, &e) && e.Op != mediaLink && e.Status == 0 && temporary(err)
}

// clientRefused tells that Genesys refuses the client itself: wrong credentials, a
// scope that it lacks, or a network that it may not come from.
func clientRefused(err error) bool {
	var e *genesys.Error
	if !errors.As(err, &e) || errors.Is(err, genesys.ErrNeedsLogin) {
		return false
	}
	return e.Op == "oauth_token" && e.Status >= 400 && e.Status < 500 && !e.Temporary() ||
		e.Code == "app.not.authorized.for.scope" || e.Code == "ip.not.authorized"
}

// unauthorized tells that the token is not accepted, not even a renewed one.
func unauthorized(err error) bool { return apiStatus(err) == http.StatusUnauthorized }

// forbidden tells that the token is not good for what was asked. Of one recording it
// says nothing of the others.
func forbidden(err error) bool { return apiStatus(err) == http.StatusForbidden }

// apiStatus is the status of an error that Genesys' API gave, or 0.
func apiStatus(err error) int {
	var e *genesys.Error
	if errors.As(err, &e) && e.Op != mediaLink {
		return e.Status
	}
	return 0
}

func isStorage(err error) bool {
	var s *storage.Error
	return errors.As(err, &s)
}
