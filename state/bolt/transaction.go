package bolt

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// damaged returns the error of a file that does not hold what was written to it.
func damaged(err error) error {
	if errors.Is(err, state.ErrDamaged) {
		return err
	}
	return fmt.Errorf("%w: %w: restore a copy, or move it away and rebuild it from the archive", state.ErrDamaged, err)
}

// read runs f in a transaction that reads.
func (l *Ledger) read(f func(*bbolt.Tx) error) error {
	return l.guard(func() error { return l.db.View(f) })
}

// write runs f in a transaction that writes, one at a time. It does not rely on bbolt's
// own lock: if a damaged page ends a transaction with a panic, that lock stays held and
// others would wait for ever.
func (l *Ledger) write(f func(*bbolt.Tx) error) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	return l.guard(func() error { return l.db.Update(f) })
}

// call is a function that shares a transaction with others.
type call struct {
	f    func(*bbolt.Tx) error
	done chan error
}

// errAlone tells a caller to repeat its call in a transaction of its own.
var errAlone = errors.New("to be made alone")

// writeTogether is write for concurrent callers, which share a transaction and its fsync.
// f may run more than once. It replaces bbolt's Batch, which runs in a goroutine of its
// own, where a damaged page would end the process; here the first caller does the work.
func (l *Ledger) writeTogether(f func(*bbolt.Tx) error) error {
	c := call{f, make(chan error, 1)}
	l.waiting.Lock()
	first := len(l.calls) == 0
	l.calls = append(l.calls, c)
	l.waiting.Unlock()
	if first {
		time.Sleep(l.db.MaxBatchDelay)
		l.sharing.Lock() // while the transaction before this one lasts, more calls join
		defer l.sharing.Unlock()
		l.waiting.Lock()
		calls := l.calls
		l.calls = nil
		l.waiting.Unlock()
		l.together(calls)
	}
	err := <-c.done
	if err == errAlone {
		err = l.write(f)
	}
	return err
}

// together makes all calls in one transaction. If a call fails, together starts again
// without it.
func (l *Ledger) together(calls []call) {
	for len(calls) > 0 {
		failed := -1
		err := l.write(func(tx *bbolt.Tx) error {
			for i, c := range calls {
				if try(c.f, tx) != nil {
					failed = i
					return errAlone
				}
			}
			return nil
		})
		if failed < 0 {
			for _, c := range calls {
				c.done <- err
			}
			return
		}
		calls[failed].done <- errAlone
		calls = append(calls[:failed:failed], calls[failed+1:]...)
	}
}

// try treats a panic as a failure: the panic happens again when f runs alone, and guard
// handles it there.
func try(f func(*bbolt.Tx) error, tx *bbolt.Tx) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = errAlone
		}
	}()
	return f(tx)
}

// guard runs f on a file that may be damaged: bbolt then panics, or reads memory that is
// not mapped. After that nothing more is read or written, because bbolt's data in memory
// may be wrong too.
func (l *Ledger) guard(f func() error) (err error) {
	if broken := l.broken.Load(); broken != nil {
		return *broken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if !byDamage(r) {
			panic(r)
		}
		err = damaged(fmt.Errorf("%v", r))
		l.broken.Store(&err)
	}()
	return f()
}

// byDamage reports whether a panic comes from bbolt or from unreadable memory, and not from
// our own code. It must be called from a deferred function, while the panic's frames are
// still on the stack.
func byDamage(r any) bool {
	if _, ok := r.(interface{ Addr() uintptr }); ok {
		return true
	}
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers[:])])
	for panicked, more := false, true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicked = true
		case panicked && strings.HasPrefix(f.Function, "go.etcd.io/bbolt"):
			return true
		case panicked && strings.HasPrefix(f.Function, "github.com/archiverd/"):
			return false
		}
	}
	return false
}

// Close waits for transactions under way and releases the file. Methods called later
// fail. A damaged file is only released, without waiting: bbolt may hold locks for ever.
func (l *Ledger) Close() error {
	var err error
	if l.broken.Load() == nil {
		err = l.db.Close()
	} else {
		// Closing isn't enough: bbolt's memory map keeps the lock.
		err = errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
	}
	if err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}
