package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/state/statetest"
)

// open opens a ledger that is checked and closed when the test ends.
func open(t testing.TB, address string, o Options) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), address, o)
	statetest.Must(t, err)
	finishLater(t, l)
	return l
}

func finishLater(t testing.TB, l *Ledger) {
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		if err := errors.Join(l.Check(ctx), l.Close()); err != nil {
			t.Error(err)
		}
	})
}

// A failover to a replica that lacks the last commits loses a claim whose holder still works.
// The holder finds that out, also after the inbox was claimed anew.
func TestClaimAfterFailover(t *testing.T) {
	address := migrated(t)
	one, other := open(t, address, Options{}), open(t, address, Options{})
	statetest.Bring(t, one, testKey, state.StateArchived)
	lost, err := one.Claim(t.Context(), "acme", "u1")
	statetest.Must(t, err)
	_, err = one.pool.Exec(t.Context(), "update inboxes set claim = 0, holder = '', claimed_until = '-infinity'")
	statetest.Must(t, err)
	next, err := other.Claim(t.Context(), "acme", "u1")
	statetest.Must(t, err)
	if err := lost.Keep(t.Context()); !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("the lost claim was kept: %v", err)
	}
	if _, err := lost.Move(t.Context(), "r", state.StateArchived, state.StateDeleteRequested, nil); !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("a change under the lost claim: %v", err)
	}
	statetest.Must(t, lost.Release(t.Context()))
	statetest.Must(t, next.Keep(t.Context()))
}

var testKey = state.Key{Org: "acme", Inbox: "u1", Recording: "r"}

// cutter is a connection that can be cut at the next write.
type cutter struct {
	net.Conn
	cut *atomic.Pointer[string] // how; nil: not at all
}

func (c cutter) Write(p []byte) (int, error) {
	how := c.cut.Swap(nil)
	if how == nil {
		return c.Conn.Write(p)
	}
	defer c.Conn.Close()
	if *how == "before" {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.Conn.Write(p)
	if err == nil && *how == "after" {
		_, err = c.Conn.Read(make([]byte, 1)) // the reply, which shows that the server is done
	}
	return n, err
}

// A commit whose reply is lost is looked up: the method says what really happened.
func TestLostReply(t *testing.T) {
	for how, made := range map[string]bool{"before": false, "after": true} {
		t.Run(how, func(t *testing.T) {
			l, cut := openCut(t)
			statetest.Bring(t, l, testKey, state.StateArchived) // all statements are prepared by now
			moves := []string{"r0", "r1", "r2"}
			for _, r := range moves {
				k := testKey
				k.Recording = r
				statetest.Bring(t, l, k, state.StateListed)
			}
			loseReply(t, l, cut, how, made, moves, func(r string, edit func(*state.Entry)) error {
				k := testKey
				k.Recording = r
				_, err := l.Move(t.Context(), k, state.StateListed, state.StateArchived, edit)
				return err
			})
		})
		t.Run(how+" under a claim", func(t *testing.T) {
			l, cut := openCut(t)
			moves := []string{"r0", "r1", "r2"}
			c := listed(t, l, append(moves, "first")...)
			_, err := c.Move(t.Context(), "first", state.StateListed, state.StateArchived, statetest.AddVersion(9))
			statetest.Must(t, err)
			loseReply(t, l, cut, how, made, moves, func(r string, edit func(*state.Entry)) error {
				_, err := c.Move(t.Context(), r, state.StateListed, state.StateArchived, edit)
				return err
			})
		})
	}
}

// loseReply archives listed recordings, and cuts the connection when the first is committed.
func loseReply(t *testing.T, l *Ledger, cut *atomic.Pointer[string], how string, made bool, recordings []string, move func(r string, edit func(*state.Entry)) error) {
	t.Helper()
	var g sync.WaitGroup
	var once sync.Once
	for i, r := range recordings {
		g.Go(func() {
			k := testKey
			k.Recording = r
			err := move(r, func(e *state.Entry) {
				statetest.AddVersion(i)(e)
				once.Do(func() { cut.Store(&how) }) // the next that is written is the commit
			})
			if made && err != nil || !made && err != nil && !errors.Is(err, state.ErrUnavailable) {
				t.Errorf("the move said %v", err)
			}
			e, readErr := l.Entry(t.Context(), k)
			statetest.Must(t, readErr)
			if (e.State == state.StateArchived) != (err == nil) {
				t.Errorf("the move said %v, and the entry is %s", err, e.State)
			}
		})
	}
	g.Wait()
	if counts := inboxOf(t, l).Counts; made != (counts[state.StateListed] == 0) {
		t.Errorf("the inbox counts %v", counts)
	}
}

// A server that is still at a transaction when it is asked about it is asked again.
func TestLostReplyInFlight(t *testing.T) {
	l, cut := openCut(t)
	statetest.Bring(t, l, testKey, state.StateListed)
	how := "at once"
	for n := range 20 {
		_, err := l.Move(t.Context(), testKey, state.StateListed, state.StateListed, func(e *state.Entry) {
			e.Attempts = n + 1
			cut.Store(&how)
		})
		e, readErr := l.Entry(t.Context(), testKey)
		statetest.Must(t, readErr)
		if (e.Attempts == n+1) != (err == nil) || err != nil && !errors.Is(err, state.ErrUnavailable) {
			t.Errorf("the move said %v, and the entry has %d attempts of %d", err, e.Attempts, n+1)
		}
	}
}

// openCut opens a ledger whose connections can be cut.
func openCut(t *testing.T) (*Ledger, *atomic.Pointer[string]) {
	t.Helper()
	config, err := parse(migrated(t), Options{})
	statetest.Must(t, err)
	cut := &atomic.Pointer[string]{}
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return cutter{c, cut}, err
	}
	config.MaxConns = 1
	l, err := openWith(t.Context(), config, Options{})
	statetest.Must(t, err)
	finishLater(t, l)
	return l, cut
}

func inboxOf(t testing.TB, l *Ledger) state.Inbox {
	t.Helper()
	in, err := l.Inbox(t.Context(), "acme", "u1")
	statetest.Must(t, err)
	return in
}

// A server that crashes and comes back loses nothing that was acknowledged, and methods
// say that it is away.
func TestServerCrashes(t *testing.T) {
	s := postgrestest.Run(t)
	address := s.Database(t)
	_, err := Migrate(t.Context(), address, Options{})
	statetest.Must(t, err)
	l := open(t, address, Options{})
	var acked [4]atomic.Int64
	for round := range 3 {
		var g sync.WaitGroup
		var back atomic.Bool // the server is
		ready := make(chan struct{}, len(acked)*20)
		for worker := range acked {
			k := state.Key{Org: "acme", Inbox: fmt.Sprint("u", worker%2), Recording: fmt.Sprint("r", worker)}
			if round == 0 {
				statetest.Bring(t, l, k, state.StateListed)
			}
			g.Go(func() {
				for !back.Load() {
					e, err := l.Move(t.Context(), k, state.StateListed, state.StateListed, func(e *state.Entry) { e.Attempts++ })
					if err != nil {
						if !errors.Is(err, state.ErrUnavailable) {
							t.Errorf("while the server was away: %v", err)
						}
						return
					}
					acked[worker].Store(int64(e.Attempts))
					select {
					case ready <- struct{}{}:
					default:
					}
				}
			})
		}
		for range cap(ready) {
			<-ready
		}
		statetest.Must(t, s.Stop(postgrestest.Immediate))
		statetest.Must(t, s.Again())
		back.Store(true)
		g.Wait()
		for worker := range acked {
			k := state.Key{Org: "acme", Inbox: fmt.Sprint("u", worker%2), Recording: fmt.Sprint("r", worker)}
			e, err := l.Entry(t.Context(), k)
			statetest.Must(t, err)
			if n := acked[worker].Load(); int64(e.Attempts) < n {
				t.Errorf("%s: %d changes were acknowledged, %d are there", k, n, e.Attempts)
			}
		}
	}
}

// A process that stands still in the middle of a change does not keep others from the
// inbox, and its change is not made.
func TestFrozen(t *testing.T) {
	address := migrated(t)
	frozen := open(t, address+"&idle_in_transaction_session_timeout=100", Options{})
	other := open(t, address, Options{})
	statetest.Bring(t, other, testKey, state.StateListed)
	_, err := frozen.Move(t.Context(), testKey, state.StateListed, state.StateFailed, func(*state.Entry) {
		_, err := other.Move(t.Context(), testKey, state.StateListed, state.StateArchived, statetest.AddVersion(1))
		statetest.Must(t, err)
	})
	if !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("the change of the frozen process: %v", err)
	}
	e, err := other.Entry(t.Context(), testKey)
	statetest.Must(t, err)
	statetest.Same(t, e.State, state.StateArchived)
}

// Two processes share the claims of a database.
func TestClaimsOfTwo(t *testing.T) {
	address := migrated(t)
	one, two := open(t, address, Options{}), open(t, address, Options{})
	statetest.Bring(t, one, testKey, state.StateListed)
	c, err := one.Claim(t.Context(), "acme", "u1")
	statetest.Must(t, err)
	statetest.Must(t, c.AddUpload(t.Context(), state.UploadRef{Key: "k", ID: "i"}))
	if _, err := two.Claim(t.Context(), "acme", "u1"); !errors.Is(err, state.ErrClaimed) {
		t.Errorf("a second process claims the inbox: %v", err)
	}
	for l, want := range map[*Ledger]int{one: 1, two: 0} {
		uploads, err := l.Uploads(t.Context(), "", "")
		statetest.Must(t, err)
		statetest.Same(t, len(uploads), want)
	}
	statetest.Must(t, underTest{one}.RunOut("acme", "u1"))
	uploads, err := two.Uploads(t.Context(), "", "")
	statetest.Must(t, err)
	statetest.Same(t, len(uploads), 1)
	later, err := two.Claim(t.Context(), "acme", "u1")
	statetest.Must(t, err)
	if _, err := c.Move(t.Context(), "r", state.StateListed, state.StateFailed, nil); !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("a change of the first process: %v", err)
	}
	_, err = later.Move(t.Context(), "r", state.StateListed, state.StateFailed, nil)
	statetest.Must(t, err)
}
