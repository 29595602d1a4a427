package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

var testToken = state.Token{Access: "access-qzxvkw", Refresh: "refresh-qzxvkw", Confirmed: true}

func sealKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// refuses insists on an error of Open that says what to do.
func refuses(t *testing.T, address string, o Options, want error, says string) {
	t.Helper()
	l, err := Open(t.Context(), address, o)
	if err == nil {
		statetest.Must(t, l.Close())
	}
	if !errors.Is(err, want) || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("Open: %v, want %v with %q", err, want, says)
	}
}

func TestSchema(t *testing.T) {
	empty := server.Database(t)
	refuses(t, empty, Options{}, ErrNoSchema, "archiverd migrate")
	var g sync.WaitGroup // of several that migrate at the same time, each succeeds
	for range 3 {
		g.Go(func() {
			if _, err := Migrate(t.Context(), empty, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	refuses(t, empty, Options{ReadOnly: true}, state.ErrNoLedger, "first run")
	l := open(t, empty, Options{})
	statetest.Must(t, l.exec(t.Context(), "insert into "+versions+" (version_id, is_applied) values ($1, true)", schema+1))
	refuses(t, empty, Options{}, state.ErrNewer, "run the newer archiverd")
	if _, err := Migrate(t.Context(), empty, Options{}); !errors.Is(err, state.ErrNewer) {
		t.Errorf("Migrate: %v", err)
	}
	statetest.Must(t, server.Exec(t.Context(), "postgres", "create database latin encoding 'LATIN1' locale 'C' template template0"))
	if _, err := Migrate(t.Context(), server.URL("latin"), Options{}); err == nil || !strings.Contains(err.Error(), "encoding 'UTF8'") {
		t.Errorf("another encoding: %v", err)
	}
	if err := fits(schema - 1); !errors.Is(err, ErrOlder) && !errors.Is(err, ErrNoSchema) {
		t.Errorf("an older schema: %v", err)
	}
}

func TestBinding(t *testing.T) {
	address := migrated(t)
	mine := state.Binding{Endpoint: "e", Bucket: "b", Prefix: "p", Organizations: map[string]state.OrgBinding{"acme": {APIHost: "h", ClientID: "c"}}}
	id := open(t, address, Options{Binding: mine}).ID()
	more := mine
	more.Organizations = map[string]state.OrgBinding{"beta": {APIHost: "h"}}
	if l := open(t, address, Options{Binding: more}); l.ID() != id {
		t.Errorf("the ledger is %s, was %s", l.ID(), id)
	}
	for _, readOnly := range []bool{false, true} {
		other := more
		other.Organizations = map[string]state.OrgBinding{"acme": {APIHost: "h", ClientID: "other"}, "beta": {APIHost: "x"}}
		var binding *state.BindingError
		if _, err := Open(t.Context(), address, Options{Binding: other, ReadOnly: readOnly}); !errors.As(err, &binding) || len(binding.Differences) != 2 {
			t.Errorf("another binding: %v", err)
		}
	}
	open(t, address, Options{Binding: mine, ReadOnly: true})
}

func TestFilling(t *testing.T) {
	address := migrated(t)
	l := open(t, address, Options{ID: "taken over", Filling: "archiverd rebuild"})
	refuses(t, address, Options{}, ErrFilling, "archiverd rebuild is filling it")
	refuses(t, address, Options{ReadOnly: true}, ErrFilling, "drop the database")
	refuses(t, address, Options{Filling: "archiverd rebuild"}, ErrNotEmpty, "empty database")
	statetest.Must(t, l.Filled(t.Context()))
	if l := open(t, address, Options{}); l.ID() != "taken over" {
		t.Errorf("the ledger is %s", l.ID())
	}
	refuses(t, address, Options{Filling: "archiverd rebuild"}, ErrNotEmpty, "empty database")
}

// stored returns the bytes of all tokens in the database.
func stored(t *testing.T, l *Ledger) (all []byte) {
	t.Helper()
	statetest.Must(t, l.row(t.Context(), &all, "select coalesce(string_agg(token, ''), '') from tokens"))
	return all
}

func TestSeal(t *testing.T) {
	address := migrated(t)
	plain, err := Open(t.Context(), address, Options{})
	statetest.Must(t, err)
	defer plain.Close()
	statetest.Must(t, plain.Login(t.Context(), "acme", "u1", testToken, nil))
	if !bytes.Contains(stored(t, plain), []byte("qzxvkw")) {
		t.Fatal("the test does not find a token in the clear")
	}
	reader, err := Open(t.Context(), address, Options{SealKey: sealKey(1), ReadOnly: true}) // which can't seal
	statetest.Must(t, err)
	defer reader.Close()
	if got, err := reader.Token(t.Context(), "acme", "u1"); err != nil || got != testToken {
		t.Errorf("the token is not the one that was stored: %v", err)
	}
	l := open(t, address, Options{SealKey: sealKey(1)})
	for range 2 {
		if got, err := l.Token(t.Context(), "acme", "u1"); err != nil || got != testToken {
			t.Errorf("the token is not the one that was stored: %v", err)
		}
		if bytes.Contains(stored(t, l), []byte("qzxvkw")) {
			t.Error("a token is stored in the clear")
		}
		statetest.Must(t, l.Login(t.Context(), "acme", "u1", testToken, nil))
	}
	// A process that was started without a key stores no token in the clear beside it.
	if err := plain.Login(t.Context(), "acme", "u2", testToken, nil); !errors.Is(err, state.ErrSealKey) {
		t.Errorf("a login in the clear: %v", err)
	}
	if _, err := plain.Inbox(t.Context(), "acme", "u2"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("a part of the refused login is there: %v", err)
	}
	refuses(t, address, Options{}, state.ErrSealKey, "there is no state.key_file")
	refuses(t, address, Options{SealKey: sealKey(2), ReadOnly: true}, state.ErrSealKey, "state.key_file holds another")
	statetest.Must(t, l.Login(t.Context(), "acme", "u2", state.Token{Refresh: "other"}, nil))
	const swap = "update tokens set token = (select token from tokens where inbox = (select inbox from inboxes where id = 'u1')) where inbox = (select inbox from inboxes where id = 'u2')"
	statetest.Must(t, l.exec(t.Context(), swap))
	if _, err := l.Token(t.Context(), "acme", "u2"); !errors.Is(err, state.ErrSealKey) {
		t.Errorf("a moved token: %v", err)
	}
	if err := l.Check(t.Context()); err == nil {
		t.Error("Check does not see it")
	}
	statetest.Must(t, l.Logout(t.Context(), "acme", "u2"))
}

// Sealing leaves no token in the clear in the table's file, or fails and seals nothing: for a
// user who may not truncate the table.
func TestSealedFile(t *testing.T) {
	address := migrated(t)
	plain, err := Open(t.Context(), address, Options{})
	statetest.Must(t, err)
	defer plain.Close()
	statetest.Must(t, plain.Login(t.Context(), "acme", "u1", testToken, nil))
	inFile := func() bool {
		t.Helper()
		statetest.Must(t, plain.exec(t.Context(), "checkpoint"))
		var path string
		statetest.Must(t, plain.row(t.Context(), &path, "select current_setting('data_directory') || '/' || pg_relation_filepath('tokens')"))
		file, err := os.ReadFile(path)
		statetest.Must(t, err)
		return bytes.Contains(file, []byte("qzxvkw"))
	}
	if !inFile() {
		t.Fatal("the test does not find a token in the clear")
	}
	role := fmt.Sprint("sealer_", rand.Uint64())
	for _, do := range []string{"create role " + role + " login", "grant select, insert, update, delete on all tables in schema public to " + role} {
		statetest.Must(t, plain.exec(t.Context(), do))
	}
	lesser := strings.Replace(address, "postgres@", role+"@", 1)
	if _, err := Open(t.Context(), lesser, Options{SealKey: sealKey(1)}); err == nil || !strings.Contains(err.Error(), "the right to truncate it") {
		t.Errorf("a user who may not truncate: %v", err)
	}
	if _, err := plain.Token(t.Context(), "acme", "u1"); err != nil {
		t.Errorf("after a sealing that failed: %v", err)
	}
	sealed := open(t, address, Options{SealKey: sealKey(1)})
	if got, err := sealed.Token(t.Context(), "acme", "u1"); err != nil || got != testToken {
		t.Errorf("the token is not the one that was stored: %v", err)
	}
	if inFile() {
		t.Error("the file has a token in the clear")
	}
}

// An inbox that can't be stored fails its own call.
func TestUnstorable(t *testing.T) {
	l := open(t, migrated(t), Options{})
	err := l.EditInbox(t.Context(), "acme", "u1", func(i *state.Inbox) { i.LastSuccess = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) })
	if err == nil || errors.Is(err, state.ErrUnavailable) {
		t.Errorf("a year beyond JSON: %v", err)
	}
	if _, err := l.Inbox(t.Context(), "acme", "u1"); !errors.Is(err, state.ErrNotFound) {
		t.Errorf("the inbox: %v", err)
	}
}

// What the server refuses of one call does not fail the others in its transaction: here an
// id that does not compress, and is too long for an index.
func TestRefusedByServer(t *testing.T) {
	l := open(t, migrated(t), Options{})
	long := make([]byte, 8000)
	random := rand.NewChaCha8([32]byte{})
	random.Read(long)
	var calls []*change
	for _, id := range []string{"r1", string(long), "r2"} {
		calls = append(calls, &change{
			place: place{"acme", "u1"}, reads: []string{id}, done: make(chan error, 1), ended: t.Context().Err,
			f: func(p *page) error {
				_, err := p.apply(state.Change{Recording: id, To: state.StateListed})
				return err
			},
		})
	}
	l.together(t.Context(), calls)
	for i, c := range calls {
		if err := <-c.done; (err == nil) != (i != 1) || errors.Is(err, state.ErrUnavailable) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	statetest.Same(t, inboxOf(t, l).Counts, map[state.State]int64{state.StateListed: 2})
}

// TestCheckFinds breaks a good ledger in every way that Check detects.
func TestCheckFinds(t *testing.T) {
	for name, damage := range map[string]string{
		"counts":             `update inboxes set info = replace(info::text, '"archived":1', '"archived":2')::json`,
		"inbox":              `update inboxes set info = '{"unknown": 1}'`,
		"entry lost":         "delete from entries",
		"entry cut short":    "update entries set entry = substring(entry from 1 for 20)",
		"stage":              "update entries set stage = 2",
		"raw":                "update entries set raw = 'x'",
		"search lost":        "delete from search",
		"search state":       "update search set state = 'listed'",
		"event lost":         "delete from events where number = 2",
		"event":              "update events set event = '[]' where number = 1",
		"pass":               "update passes set pass = '[]'",
		"run":                "update runs set run = '[]'",
		"upload":             "update uploads set upload = '[]'",
		"token":              "update tokens set token = 'x'",
		"entry without":      "update entries set inbox = 99",
		"a search row alone": "insert into search select 99, recording, created, duration, size, state, conversation, name, participants, cases from search",
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(t.Context(), migrated(t), Options{})
			statetest.Must(t, err)
			defer l.Close()
			ctx := context.Background()
			statetest.Bring(t, l, testKey, state.StateArchived)
			for range 2 {
				_, err := l.Move(ctx, testKey, state.StateArchived, state.StateArchived, func(e *state.Entry) { e.BadKeys = append(e.BadKeys, "b") })
				statetest.Must(t, err)
			}
			statetest.Must(t, errors.Join(
				l.AddPass(ctx, "acme", "u1", state.Pass{Start: statetest.Now}, func(*state.Inbox) {}), l.AddRun(ctx, state.Run{ID: "r", Start: statetest.Now}),
				l.AddUpload(ctx, state.UploadRef{Key: "k", ID: "i"}), l.Login(ctx, "acme", "u1", testToken, nil), l.Check(ctx), l.Recount(ctx)))
			statetest.Must(t, l.exec(ctx, damage))
			if err := l.Check(ctx); !errors.Is(err, state.ErrDamaged) {
				t.Errorf("Check: %v", err)
			}
			if err := l.Recount(ctx); strings.Contains(name, "entry lost") && !errors.Is(err, state.ErrDamaged) {
				t.Errorf("Recount: %v", err)
			}
		})
	}
}
