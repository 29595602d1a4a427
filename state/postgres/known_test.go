package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// listed claims the inbox of testKey, and lists recordings in it under the claim, whose holder
// knows them then.
func listed(t testing.TB, l *Ledger, recordings ...string) *claim {
	t.Helper()
	statetest.Must(t, l.EditInbox(t.Context(), testKey.Org, testKey.Inbox, func(*state.Inbox) {}))
	c, err := l.Claim(t.Context(), testKey.Org, testKey.Inbox)
	statetest.Must(t, err)
	statetest.Must(t, c.List(t.Context(), recordings, func(func(string) (state.Entry, bool)) (changes []state.Change) {
		for _, r := range recordings {
			changes = append(changes, state.Change{Recording: r, To: state.StateListed})
		}
		return changes
	}))
	return c.(*claim)
}

// A holder that knows an inbox finds out what others have changed in it since.
func TestKnown(t *testing.T) {
	bg := context.Background()
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	for name, tc := range map[string]struct {
		between func(other *Ledger) error
		ends    func(error) bool
		state   state.State
		tries   int
		name    string
	}{
		"nothing": {func(*Ledger) error { return nil }, is(nil), state.StateArchived, 0, ""},
		"the entry": {func(other *Ledger) error {
			_, err := other.Move(bg, testKey, state.StateListed, state.StateListed, func(e *state.Entry) { e.Attempts = 5 })
			return err
		}, is(nil), state.StateArchived, 5, ""},
		"the inbox": {func(other *Ledger) error {
			return other.EditInbox(bg, testKey.Org, testKey.Inbox, func(i *state.Inbox) { i.Name = "new" })
		}, is(nil), state.StateArchived, 0, "new"},
		"the state": {func(other *Ledger) error {
			_, err := other.Move(bg, testKey, state.StateListed, state.StateVanished, nil)
			return err
		}, func(err error) bool { _, conflict := errors.AsType[*state.ConflictError](err); return conflict }, state.StateVanished, 0, ""},
		"the claim, which ran out": {func(other *Ledger) error {
			return underTest{other}.RunOut(testKey.Org, testKey.Inbox)
		}, is(state.ErrClaimLost), state.StateListed, 0, ""},
		"the claim, which another has": {func(other *Ledger) error {
			err := underTest{other}.RunOut(testKey.Org, testKey.Inbox)
			if err == nil {
				_, err = other.Claim(bg, testKey.Org, testKey.Inbox)
			}
			return err
		}, is(state.ErrClaimLost), state.StateListed, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			address := migrated(t)
			l, other := open(t, address, Options{}), open(t, address, Options{})
			c := listed(t, l, testKey.Recording, "beside")
			_, err := c.Move(t.Context(), "beside", state.StateListed, state.StateArchived, statetest.AddVersion(1))
			statetest.Must(t, err)
			statetest.Must(t, tc.between(other))
			if _, err = c.Move(t.Context(), testKey.Recording, state.StateListed, state.StateArchived, statetest.AddVersion(2)); !tc.ends(err) {
				t.Errorf("the move said %v", err)
			}
			e, err := other.Entry(t.Context(), testKey)
			statetest.Must(t, err)
			if e.State != tc.state || e.Attempts != tc.tries {
				t.Errorf("the entry is %s after %d attempts, want %s after %d", e.State, e.Attempts, tc.state, tc.tries)
			}
			if in := inboxOf(t, other); in.Name != tc.name || in.Counts[tc.state] == 0 {
				t.Errorf("the inbox is %+v", in)
			}
		})
	}
}

// counter is a connection that counts what is sent to the server.
type counter struct {
	net.Conn
	sent *atomic.Int64
}

func (c counter) Write(p []byte) (int, error) {
	c.sent.Add(1)
	return c.Conn.Write(p)
}

// A move under a claim whose holder knows the entry takes one round trip.
func TestOneRoundTrip(t *testing.T) {
	config, err := parse(migrated(t), Options{})
	statetest.Must(t, err)
	var sent atomic.Int64
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return counter{c, &sent}, err
	}
	config.MaxConns = 1
	l, err := openWith(t.Context(), config, Options{})
	statetest.Must(t, err)
	finishLater(t, l)
	c := listed(t, l, "first", "second")
	for _, r := range []string{"first", "second"} { // the first prepares the statements
		sent.Store(0)
		_, err := c.Move(t.Context(), r, state.StateListed, state.StateArchived, statetest.AddVersion(1))
		statetest.Must(t, err)
	}
	if n := sent.Load(); n != 1 {
		t.Errorf("%d messages were sent", n)
	}
}

// late is a connection on which one message is late: its sender meets an error, and the message
// goes to the server when it is delivered.
type late struct {
	net.Conn
	next    *atomic.Bool // whether the next message is late
	message chan func()  // delivers it
	kept    atomic.Bool
}

func (c *late) Write(p []byte) (int, error) {
	if c.kept.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	if !c.next.Swap(false) {
		return c.Conn.Write(p)
	}
	c.kept.Store(true)
	text := bytes.Clone(p)
	c.message <- func() {
		_ = c.Conn.SetDeadline(time.Time{})
		_, _ = c.Conn.Write(text)
		_ = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = io.Copy(io.Discard, c.Conn) // ends when the server has made all that it was told
		_ = c.Conn.Close()
	}
	return 0, io.ErrUnexpectedEOF
}

func (c *late) Read(p []byte) (int, error) {
	if c.kept.Load() {
		return 0, io.ErrUnexpectedEOF
	}
	return c.Conn.Read(p)
}

func (c *late) Close() error {
	if c.kept.Load() {
		return nil
	}
	return c.Conn.Close()
}

// A change of which a method has said that it was not made is not made later, although the
// server gets the whole transaction then.
func TestLateCommit(t *testing.T) {
	config, err := parse(migrated(t), Options{})
	statetest.Must(t, err)
	var next atomic.Bool
	messages := make(chan func(), 1)
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return &late{Conn: c, next: &next, message: messages}, err
	}
	config.MaxConns = 1
	l, err := openWith(t.Context(), config, Options{})
	statetest.Must(t, err)
	finishLater(t, l)
	c := listed(t, l, "first", testKey.Recording)
	_, err = c.Move(t.Context(), "first", state.StateListed, state.StateArchived, statetest.AddVersion(1))
	statetest.Must(t, err)
	next.Store(true)
	_, err = c.Move(t.Context(), testKey.Recording, state.StateListed, state.StateArchived, statetest.AddVersion(2))
	if !errors.Is(err, state.ErrUnavailable) {
		t.Errorf("the move said %v", err)
	}
	(<-messages)()
	e, err := l.Entry(t.Context(), testKey)
	statetest.Must(t, err)
	statetest.Same(t, e.State, state.StateListed)
	_, err = c.Move(t.Context(), testKey.Recording, state.StateListed, state.StateArchived, statetest.AddVersion(2))
	statetest.Must(t, err)
}

// A claim that runs out while its holder waits for the inbox is lost.
func TestRunsOutWaiting(t *testing.T) {
	l := open(t, migrated(t), Options{})
	c := listed(t, l, "first", testKey.Recording)
	_, err := c.Move(t.Context(), "first", state.StateListed, state.StateArchived, statetest.AddVersion(1))
	statetest.Must(t, err)
	statetest.Must(t, l.exec(t.Context(), "update inboxes set claimed_until = clock_timestamp() + interval '300 milliseconds'"))
	tx, err := l.pool.Begin(t.Context())
	statetest.Must(t, err)
	_, err = tx.Exec(t.Context(), "select from inboxes for update")
	statetest.Must(t, err)
	moved := make(chan error, 1)
	go func() {
		_, err := c.Move(t.Context(), testKey.Recording, state.StateListed, state.StateArchived, statetest.AddVersion(2))
		moved <- err
	}()
	_, err = tx.Exec(t.Context(), "select pg_sleep(0.4) from inboxes where claimed_until > clock_timestamp()")
	statetest.Must(t, err)
	statetest.Must(t, tx.Rollback(t.Context()))
	if err := <-moved; !errors.Is(err, state.ErrClaimLost) {
		t.Errorf("the move said %v", err)
	}
}

// Recordings that are archived at nearly the same time share a transaction, and whatever else
// changes the inbox does not wait.
func TestGather(t *testing.T) {
	l := open(t, migrated(t), Options{Gather: time.Hour})
	moved := []string{"r0", "r1", "r2"}
	c := listed(t, l, moved...)
	var moves sync.WaitGroup
	var done atomic.Int64
	for i, r := range moved {
		moves.Go(func() {
			_, err := c.Move(t.Context(), r, state.StateListed, state.StateArchived, statetest.AddVersion(i))
			statetest.Must(t, err)
			done.Add(1)
		})
	}
	for waiting := 0; waiting < len(moved) && done.Load() == 0; runtime.Gosched() {
		l.mu.Lock()
		if q := l.lines[c.at]; q != nil {
			waiting = len(q.waiting)
		}
		l.mu.Unlock()
	}
	statetest.Must(t, c.EditInbox(t.Context(), func(i *state.Inbox) { i.Name = "n" }))
	moves.Wait()
	var transactions int
	statetest.Must(t, l.row(t.Context(), &transactions, "select count(distinct xmin::text) from entries where stage = 1"))
	statetest.Same(t, transactions, 1)
}
