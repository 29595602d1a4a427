package proof

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/storage"
)

// MaxUnreadable is how many objects in a row a store may fail to give and still count as
// working.
const MaxUnreadable = 10

// Reading reads many objects, and distinguishes an object that can't be read from a store that
// does not work. It may be used concurrently.
type Reading struct {
	Bucket interface {
		Check(ctx context.Context) error
	}
	Log    *slog.Logger
	streak atomic.Int64 // objects in a row that the store could not give
}

// UnreadableError says that the store works, but can't give one object.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return e.Err.Error() }

// Unwrap returns the store's error.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Try calls f, which reads one object, with retries. Its error is an *UnreadableError
// unless the store would fail for other objects too.
func (r *Reading) Try(ctx context.Context, f func() error) error {
	err := failure.Retry(ctx, func(err error) { r.Log.Debug("trying again", "error", err) }, f)
	if err == nil {
		r.streak.Store(0)
		return nil
	}
	if down := r.Bucket.Check(ctx); down != nil {
		return down
	}
	e, ok := errors.AsType[*storage.Error](err)
	switch {
	case errors.Is(err, storage.ErrAccess), errors.Is(err, storage.ErrHeader):
		return err
	case errors.Is(err, storage.ErrNotFound), ok && e.Code == "InvalidObjectState":
		// A store that works answers these; InvalidObjectState is about an object in cold storage.
	case r.streak.Add(1) >= MaxUnreadable:
		return &failure.DownError{Err: err}
	}
	return &UnreadableError{err}
}
