package bolt

import (
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
)

// TestCallsJoin wants all calls that come during a transaction to share the next one. If
// they do not wait for that, the test does not end.
func TestCallsJoin(t *testing.T) {
	const callers = 10
	l := open(t, filepath.Join(t.TempDir(), "ledger.db"), Options{})
	l.db.MaxBatchDelay = 0 // callers wait for the transaction alone
	var all sync.WaitGroup
	share := func(f func(*bbolt.Tx) error) {
		all.Go(func() {
			if err := l.writeTogether(f); err != nil {
				t.Error(err)
			}
		})
	}
	begun, end := make(chan bool), make(chan bool)
	share(func(*bbolt.Tx) error { close(begun); <-end; return nil })
	<-begun
	var ids sync.Map
	for range callers {
		share(func(tx *bbolt.Tx) error { ids.Store(tx.ID(), true); return nil })
	}
	for waiting := 0; waiting < callers; runtime.Gosched() {
		l.waiting.Lock()
		waiting = len(l.calls)
		l.waiting.Unlock()
	}
	close(end)
	all.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	if n != 1 {
		t.Errorf("%d calls took %d transactions", callers, n)
	}
}
