package bolt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

var testToken = state.Token{Access: "access-qzxvkw", Refresh: "refresh-qzxvkw", Expiry: time.Date(2031, 7, 8, 9, 10, 11, 0, time.UTC), Confirmed: true}

func sealKey(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func TestTokenRedacts(t *testing.T) {
	var out bytes.Buffer
	in := struct {
		T  state.Token
		P  *state.Token
		In map[string]state.Token
	}{testToken, &testToken, map[string]state.Token{"k": testToken}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&out, verb+" "+verb+"\n", in, testToken)
	}
	fmt.Fprintln(&out, in, testToken, testToken.String(), testToken.GoString())
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("m", "token", testToken, "pointer", &testToken, "in", in)
	}
	statetest.Must(t, json.NewEncoder(&out).Encode(in))
	for _, secret := range []string{"qzxvkw", fmt.Sprintf("%x", "qzxvkw"), fmt.Sprintf("%X", "qzxvkw"), "2031"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("shows %s:\n%s", secret, out.String())
		}
	}
}

// inFile reports whether the file holds the token's bytes anywhere.
func inFile(t *testing.T, path string) bool {
	t.Helper()
	data, err := os.ReadFile(path)
	statetest.Must(t, err)
	return bytes.Contains(data, []byte("qzxvkw"))
}

func TestTokens(t *testing.T) {
	for _, key := range [][]byte{nil, sealKey(1)} {
		t.Run(fmt.Sprintf("sealed %v", key != nil), func(t *testing.T) {
			path := newPath(t)
			l := open(t, path, Options{SealKey: key})
			token := func(want state.Token) {
				t.Helper()
				got, err := l.Token(t.Context(), "acme", "u1")
				statetest.Must(t, err)
				if got != want {
					t.Errorf("token %#v", got.Refresh)
				}
			}
			token(state.Token{})
			statetest.Must(t, l.Login(t.Context(), "acme", "u1", testToken, nil))
			token(testToken)
			finish(t, l)
			if got := inFile(t, path); got != (key == nil) {
				t.Errorf("in the clear: %v", got)
			}
			l = open(t, path, Options{SealKey: key})
			token(testToken)
			statetest.Must(t, l.Login(t.Context(), "acme", "u1", state.Token{Refresh: "next"}, nil))
			token(state.Token{Refresh: "next"})
			statetest.Must(t, l.Login(t.Context(), "acme", "u1", state.Token{}, nil))
			token(state.Token{})
		})
	}
}

func TestSealKeyMustFit(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{SealKey: sealKey(1)})
	finish(t, l) // even before there is a token
	for want, key := range map[string][]byte{"there is no state.key_file": nil, "state.key_file holds another": sealKey(2)} {
		for _, readOnly := range []bool{false, true} {
			unchanged(t, path, func() {
				_, err := Open(path, Options{SealKey: key, ReadOnly: readOnly})
				if !errors.Is(err, state.ErrSealKey) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
					t.Errorf("Open: %v", err)
				}
			})
		}
	}
	open(t, path, Options{SealKey: sealKey(1)})
}

func TestSealedTokenStaysInItsPlace(t *testing.T) {
	l, err := Open(newPath(t), Options{SealKey: sealKey(1)})
	statetest.Must(t, err)
	defer l.Close()
	statetest.Must(t, l.Login(t.Context(), "acme", "u1", testToken, nil))
	statetest.Must(t, l.Login(t.Context(), "acme", "u2", state.Token{Refresh: "other"}, nil))
	statetest.Must(t, l.Check())
	statetest.Must(t, l.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("tokens"))
		return b.Put([]byte("acme/u2"), bytes.Clone(b.Get([]byte("acme/u1"))))
	}))
	if got, err := l.Token(t.Context(), "acme", "u2"); !errors.Is(err, state.ErrSealKey) || got != (state.Token{}) {
		t.Errorf("a moved token: %v, %v", got, err)
	}
	if err := l.Check(); err == nil {
		t.Error("Check doesn't see it")
	}
}

// TestSealLater turns sealing on for a ledger with tokens, also after a crash between
// sealing the tokens and copying the file.
func TestSealLater(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprintf("crash %v", crash), func(t *testing.T) {
			path := newPath(t)
			l := open(t, path, Options{})
			id := l.ID()
			for i := range 50 {
				tok := testToken
				tok.Expiry = testTime.Add(time.Duration(i) * time.Hour)
				statetest.Must(t, l.Login(t.Context(), "acme", fmt.Sprint("u", i), tok, nil))
			}
			statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateListed)
			statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r2"}, state.StateArchived)
			finish(t, l)
			unchanged(t, path, func() { // a reader can't seal
				l := open(t, path, Options{SealKey: sealKey(1), ReadOnly: true})
				if got, err := l.Token(t.Context(), "acme", "u7"); err != nil || got.Access != testToken.Access {
					t.Errorf("token %#v, %v", got.Refresh, err)
				}
				finish(t, l)
			})
			if crash {
				l := open(t, path, Options{})
				var err error
				l.seal, err = codec.NewSealer(sealKey(1))
				statetest.Must(t, err)
				statetest.Must(t, l.db.Update(l.sealTokens))
				finish(t, l)
				if !inFile(t, path) {
					t.Fatal("sealing alone leaves no token in the clear: this test does not show that the copy is needed")
				}
			}
			l = open(t, path, Options{SealKey: sealKey(1)})
			if inFile(t, path) {
				t.Error("tokens are still in the file")
			}
			if l.ID() != id {
				t.Errorf("id %q, was %q", l.ID(), id)
			}
			for i := range 50 {
				got, err := l.Token(t.Context(), "acme", fmt.Sprint("u", i))
				if err != nil || got.Refresh != testToken.Refresh || !got.Expiry.Equal(testTime.Add(time.Duration(i)*time.Hour)) {
					t.Errorf("token %d: %#v, %v", i, got.Refresh, err)
				}
			}
			e, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"})
			if err != nil || len(e.Raw) == 0 {
				t.Errorf("entry %v, %v", e, err)
			}
			finish(t, l)
			unchanged(t, path, func() { finish(t, open(t, path, Options{SealKey: sealKey(1)})) }) // once is enough
		})
	}
}
