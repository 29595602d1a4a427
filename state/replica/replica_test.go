package replica

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/state/statetest"
)

// lived makes a ledger with something of everything.
func lived(t *testing.T) *bolt.Ledger {
	t.Helper()
	l, err := bolt.Open(filepath.Join(t.TempDir(), "ledger.db"), bolt.Options{})
	statetest.Must(t, err)
	t.Cleanup(func() { l.Close() })
	ctx := t.Context()
	for _, inbox := range []string{"u1", "u/\xff", "u2"} {
		statetest.Must(t, l.List(ctx, "acme", inbox, nil, func(func(string) (state.Entry, bool)) (cs []state.Change) {
			for n := range 1100 { // more than a chunk
				id := fmt.Sprint("r\x00", n)
				cs = append(cs, state.Change{Recording: id, To: state.StateListed, Edit: func(e *state.Entry) { e.Raw, e.Name = []byte("{ }"), "n\x00" }})
				if n%3 == 0 {
					cs = append(cs, state.Change{Recording: id, From: state.StateListed, To: state.StateArchived, Edit: statetest.AddVersion(n)})
				}
			}
			return cs
		}))
		events, err := l.Events(ctx, "acme", inbox, 7)
		statetest.Must(t, err)
		statetest.Must(t, errors.Join(
			l.MoveJournal(ctx, "acme", inbox, state.JournalHead{}, state.JournalHead{Key: "j", RetainUntil: statetest.Now}, events),
			l.AcceptFaults(ctx, "acme", inbox, []state.AcceptedFault{{Key: "k"}}),
			l.AddPass(ctx, "acme", inbox, state.Pass{Start: statetest.Now, Findings: 2}, func(i *state.Inbox) { i.Reason = "r" }),
			l.AddPass(ctx, "acme", inbox, state.Pass{Start: statetest.Now.Add(time.Hour)}, func(*state.Inbox) {}),
			l.Login(ctx, "acme", inbox, state.Token{Access: "a", Refresh: inbox, Expiry: statetest.Now}, nil),
			l.AddUpload(ctx, state.UploadRef{Org: "acme", Inbox: inbox, Key: "k", ID: inbox})))
	}
	statetest.Must(t, errors.Join(
		l.EditInbox(ctx, "beta", "empty", func(i *state.Inbox) { i.LoggedOut = true }),
		l.AddRun(ctx, state.Run{ID: "1", Start: statetest.Now}), l.AddRun(ctx, state.Run{ID: "2", Start: statetest.Now})))
	return l
}

func nothing() {}

// TestCopy copies a file into a database and that into another file.
func TestCopy(t *testing.T) {
	ctx := t.Context()
	from := lived(t)
	s := postgrestest.Run(t)
	address := s.Database(t)
	_, err := postgres.Migrate(ctx, address, postgres.Options{})
	statetest.Must(t, err)
	database, err := postgres.Open(ctx, address, postgres.Options{ID: from.ID()})
	statetest.Must(t, err)
	defer database.Close()
	copied, compared := 0, 0
	statetest.Must(t, Copy(ctx, from, database, func() { copied++ }))
	statetest.Must(t, Compare(ctx, from, database, func() { compared++ }))
	if copied != 3300 || compared != 3300 {
		t.Errorf("%d copied, %d compared", copied, compared)
	}
	statetest.Must(t, database.Check(ctx))
	back, err := bolt.Open(filepath.Join(t.TempDir(), "back.db"), bolt.Options{ID: from.ID()})
	statetest.Must(t, err)
	defer back.Close()
	statetest.Must(t, Copy(ctx, database, back, nothing))
	statetest.Must(t, Compare(ctx, from, back, nothing))
	statetest.Must(t, back.Check())

	// Numbers of events go on where they were.
	k := state.Key{Org: "acme", Inbox: "u1", Recording: "r\x000"}
	for _, l := range []state.Ledger{from, database, back} {
		_, err := l.Move(ctx, k, state.StateArchived, state.StateGone, nil)
		statetest.Must(t, err)
	}
	var last []uint64
	for _, l := range []Source{from, database, back} {
		c, err := l.CopyInbox(ctx, "acme", "u1")
		statetest.Must(t, err)
		last = append(last, c.LastEvent)
	}
	statetest.Same(t, last, []uint64{last[0], last[0], last[0]})
}

// TestCompare changes one thing of a copy at a time.
func TestCompare(t *testing.T) {
	ctx := t.Context()
	from := lived(t)
	for name, change := range map[string]func(l *bolt.Ledger) error{
		"entry": func(l *bolt.Ledger) error {
			_, err := l.Move(ctx, state.Key{Org: "acme", Inbox: "u2", Recording: "r\x001099"}, state.StateArchived, state.StateArchived, func(e *state.Entry) { e.Name = "other" })
			if _, conflict := errors.AsType[*state.ConflictError](err); conflict {
				_, err = l.Move(ctx, state.Key{Org: "acme", Inbox: "u2", Recording: "r\x001099"}, state.StateListed, state.StateListed, func(e *state.Entry) { e.Name = "other" })
			}
			return err
		},
		"entry more": func(l *bolt.Ledger) error {
			_, err := l.Move(ctx, state.Key{Org: "beta", Inbox: "empty", Recording: "r"}, "", state.StateListed, nil)
			return err
		},
		"inbox": func(l *bolt.Ledger) error {
			return l.EditInbox(ctx, "beta", "empty", func(i *state.Inbox) { i.Name = "x" })
		},
		"token":  func(l *bolt.Ledger) error { return l.Login(ctx, "acme", "u1", state.Token{Access: "b"}, nil) },
		"upload": func(l *bolt.Ledger) error { return l.RemoveUpload(ctx, "k", "u1") },
		"run": func(l *bolt.Ledger) error {
			return l.AddRun(ctx, state.Run{ID: "1", Start: statetest.Now, ExitCode: 3})
		},
		"pass": func(l *bolt.Ledger) error {
			return l.AddPass(ctx, "acme", "u1", state.Pass{Start: statetest.Now, Error: "e"}, func(*state.Inbox) {})
		},
	} {
		t.Run(name, func(t *testing.T) {
			to, err := bolt.Open(filepath.Join(t.TempDir(), "copy.db"), bolt.Options{ID: from.ID()})
			statetest.Must(t, err)
			defer to.Close()
			statetest.Must(t, Copy(ctx, from, to, nothing))
			statetest.Must(t, Compare(ctx, from, to, nothing))
			statetest.Must(t, change(to))
			for _, pair := range [][2]Source{{from, to}, {to, from}} {
				if err := Compare(ctx, pair[0], pair[1], nothing); !errors.Is(err, ErrDiffers) {
					t.Errorf("Compare: %v", err)
				}
			}
		})
	}
}
