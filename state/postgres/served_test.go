package postgres

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// Of the recordings of an organization that are served the same media, in any process, all
// but the first learn it.
func TestServed(t *testing.T) {
	address := migrated(t)
	one, other := open(t, address, Options{}), open(t, address, Options{})
	key := func(org, inbox, recording string) state.Key {
		return state.Key{Org: org, Inbox: inbox, Recording: recording}
	}
	first, sum := key("acme", "u\xff", "r"), strings.Repeat("0a", 32)
	served := func(l *Ledger, k state.Key, sum string, want bool) {
		t.Helper()
		got, err := l.Served(t.Context(), k, sum)
		statetest.Must(t, err)
		if got != want {
			t.Errorf("another recording was served the media of %s: %t", k, got)
		}
		is, err := other.FirstServed(t.Context(), k.Org, sum)
		statetest.Must(t, err)
		if is.Org != k.Org || !want && is != k {
			t.Errorf("%s was served its media, and the first was %s", k, is)
		}
	}
	served(one, first, sum, false)
	served(other, first, sum, false)
	served(other, key("acme", "u1", "r"), sum, true)
	served(one, key("acme", "u\xff", "r2"), sum, true)
	served(one, first, sum, false)
	served(one, key("globex", "u1", "r"), sum, false)
	served(one, key("acme", "u1", "r"), strings.Repeat("0b", 32), false)

	statetest.Must(t, other.ServedOther(t.Context(), key("acme", "u1", "r"), sum)) // it is not the first
	served(other, key("acme", "u1", "r"), sum, true)
	statetest.Must(t, other.ServedOther(t.Context(), first, sum))
	served(other, key("acme", "u1", "r"), sum, false)
	if is, err := one.FirstServed(t.Context(), "acme", strings.Repeat("0c", 32)); is != (state.Key{}) || err != nil {
		t.Errorf("media that nobody was served: %s, %v", is, err)
	}
}

// Of recordings that are served the same media at the same moment, one is the first.
func TestServedAtOnce(t *testing.T) {
	l := open(t, migrated(t), Options{})
	const recordings = 8
	for round := range 20 {
		var firsts atomic.Int64
		var g sync.WaitGroup
		for i := range recordings {
			g.Go(func() {
				another, err := l.Served(t.Context(), state.Key{Org: "acme", Inbox: fmt.Sprint("u", i), Recording: "r"}, fmt.Sprintf("%064d", round))
				if err != nil {
					t.Error(err)
				}
				if !another {
					firsts.Add(1)
				}
			})
		}
		g.Wait()
		if n := firsts.Load(); n != 1 {
			t.Errorf("%d recordings were the first", n)
		}
	}
}
