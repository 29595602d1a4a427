package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// bolt changes a bbolt file, which it creates if there is none.
func bolt(t *testing.T, path string, f func(*bbolt.Tx) error) {
	t.Helper()
	// Without a freelist in the file, bbolt would add one when it opens it.
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true})
	statetest.Must(t, err)
	statetest.Must(t, db.Update(f))
	statetest.Must(t, db.Close())
}

func inMeta(key, value string) func(*bbolt.Tx) error {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("meta"))
		if err != nil {
			return err
		}
		return b.Put([]byte(key), []byte(value))
	}
}

func TestBadFiles(t *testing.T) {
	noise := make([]byte, 64<<10)
	for i, r := 0, rand.New(rand.NewPCG(1, 1)); i < len(noise); i++ {
		noise[i] = byte(r.Uint32())
	}
	write := func(data []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { statetest.Must(t, os.WriteFile(path, data, 0o644)) }
	}
	ledgerBut := func(f func(*bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) { finish(t, open(t, path, Options{})); bolt(t, path, f) }
	}
	overwritten := func(at int, with []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			finish(t, open(t, path, Options{}))
			data, err := os.ReadFile(path)
			statetest.Must(t, err)
			for i := at; i < len(data); i++ {
				data[i] = with[i%len(with)]
			}
			statetest.Must(t, os.WriteFile(path, data, 0o600))
		}
	}
	page := os.Getpagesize()
	for name, c := range map[string]struct {
		make func(*testing.T, string)
		want error
	}{
		"one byte":         {write([]byte("x")), ErrNotLedger},
		"text":             {write([]byte(strings.Repeat("hello, world\n", 1000))), ErrNotLedger},
		"noise":            {write(noise), ErrNotLedger},
		"zeros":            {write(make([]byte, 64<<10)), ErrNotLedger},
		"foreign":          {func(t *testing.T, p string) { bolt(t, p, func(*bbolt.Tx) error { return nil }) }, ErrNotLedger},
		"foreign meta":     {func(t *testing.T, p string) { bolt(t, p, inMeta("schema", "1")) }, ErrNotLedger},
		"newer":            {ledgerBut(inMeta("schema", "4")), state.ErrNewer},
		"schema 0":         {ledgerBut(inMeta("schema", "0")), ErrNotLedger},
		"schema x":         {ledgerBut(inMeta("schema", "x")), ErrNotLedger},
		"binding x":        {ledgerBut(inMeta("binding", "x")), state.ErrDamaged},
		"seal x":           {ledgerBut(inMeta("seal", "x")), state.ErrDamaged},
		"bucket missing":   {ledgerBut(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte("past")) }), state.ErrDamaged},
		"pages of zeros":   {overwritten(2*page, make([]byte, 1)), state.ErrDamaged},
		"pages of ones":    {overwritten(2*page, []byte{0xff}), state.ErrDamaged},
		"pages of noise":   {overwritten(2*page, noise), state.ErrDamaged},
		"headers of zeros": {overwritten(0, make([]byte, 1)), ErrNotLedger},
		"cut off": {func(t *testing.T, p string) {
			finish(t, open(t, p, Options{}))
			statetest.Must(t, os.Truncate(p, int64(3*page)))
		}, state.ErrDamaged},
		"last page cut off": {func(t *testing.T, p string) { // Open does not need to read this page
			l := open(t, p, Options{})
			for i := range 300 {
				statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: fmt.Sprint("r", i)}, state.StateListed)
			}
			var used int64
			statetest.Must(t, l.db.View(func(tx *bbolt.Tx) error {
				for id := 0; ; id++ {
					if info, err := tx.Page(id); info == nil || err != nil {
						used = int64(id) * int64(page)
						return err
					}
				}
			}))
			finish(t, l)
			statetest.Must(t, os.Truncate(p, used-1))
		}, state.ErrDamaged},
	} {
		for _, readOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, read-only %v", name, readOnly), func(t *testing.T) {
				path := newPath(t)
				c.make(t, path)
				unchanged(t, path, func() {
					_, err := Open(path, Options{ReadOnly: readOnly, Binding: state.Binding{Organizations: map[string]state.OrgBinding{"new": {}}}})
					if !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), ": ") {
						t.Errorf("Open: %v", err)
					}
				})
				// The lock is free again.
				_, err := Open(path, Options{Timeout: 1})
				if errors.Is(err, ErrHeld) {
					t.Error(err)
				}
			})
		}
	}
}

// unchanged fails the test if f changes the file or its directory.
func unchanged(t *testing.T, path string, f func()) {
	t.Helper()
	look := func() ([]byte, fs.FileMode, int) {
		data, err := os.ReadFile(path)
		statetest.Must(t, err)
		info, err := os.Stat(path)
		statetest.Must(t, err)
		files, err := os.ReadDir(filepath.Dir(path))
		statetest.Must(t, err)
		return data, info.Mode(), len(files)
	}
	data, mode, files := look()
	f()
	data2, mode2, files2 := look()
	if !bytes.Equal(data, data2) || mode != mode2 || files != files2 {
		t.Errorf("the file changed: %d bytes, then %d; mode %v, %v; %d files, %d", len(data), len(data2), mode, mode2, files, files2)
	}
}

// TestDamagedPages: with a good header, no damage of the other pages ends the process.
func TestDamagedPages(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateArchived)
	finish(t, l)
	good, err := os.ReadFile(path)
	statetest.Must(t, err)
	r := rand.New(rand.NewPCG(5, 6))
	page, refused := os.Getpagesize(), 0
	for range 150 {
		data := bytes.Clone(good)
		for range 1 + r.IntN(4) { // in the headers of pages, where damage has the most effect
			p := 2 + r.IntN(len(data)/page-2)
			data[p*page+8+r.IntN(40)] = byte(r.Uint32())
		}
		statetest.Must(t, os.WriteFile(path, data, 0o600))
		l, err := Open(path, Options{ReadOnly: r.IntN(2) == 0, Timeout: 1})
		if err == nil {
			statetest.Must(t, l.Close())
			continue
		}
		if refused++; !errors.Is(err, state.ErrDamaged) && !errors.Is(err, ErrNotLedger) { // the latter where meta's own values are gone
			t.Errorf("Open: %v", err)
		}
	}
	if refused < 10 {
		t.Errorf("only %d of 150 damaged files were refused", refused)
	}
	statetest.Must(t, os.WriteFile(path, good, 0o600))
	open(t, path, Options{Timeout: 1})
}

// TestTornHeader: a transaction that was cut off while it wrote one of the two headers
// is undone, and the earlier state is kept.
func TestTornHeader(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{})
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateArchived)
	finish(t, l)
	good, err := os.ReadFile(path)
	statetest.Must(t, err)
	for half := range 2 {
		data := bytes.Clone(good)
		clear(data[half*os.Getpagesize()+40:][:20])
		statetest.Must(t, os.WriteFile(path, data, 0o600))
		l := open(t, path, Options{})
		e, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"})
		if err != nil || e.State != state.StateListed && e.State != state.StateArchived {
			t.Errorf("header %d torn: %q, %v", half, e.State, err)
		}
		finish(t, l)
	}
}

func TestNewFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "var")
	path := filepath.Join(dir, "ledger.db")
	l := open(t, path, Options{})
	id := l.ID()
	if len(id) < 20 {
		t.Errorf("id %q", id)
	}
	finish(t, l)
	for p, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, path: 0o600} {
		info, err := os.Stat(p)
		statetest.Must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
	}
	statetest.Must(t, os.Chmod(path, 0o644))
	l = open(t, path, Options{})
	if l.ID() != id {
		t.Errorf("id %q, was %q", l.ID(), id)
	}
	info, err := os.Stat(path)
	statetest.Must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v stays", info.Mode())
	}
	if other := fresh(t); other.ID() == id {
		t.Error("two ledgers have one id")
	}
}

func TestHalfMadeFile(t *testing.T) {
	real := newPath(t)
	statetest.Must(t, os.WriteFile(real, nil, 0o600))
	statetest.Must(t, os.WriteFile(real+".new", []byte("half a ledger"), 0o600))
	link := newPath(t)
	statetest.Must(t, os.Symlink(real, link))
	if _, err := Open(link, Options{ReadOnly: true}); !errors.Is(err, state.ErrNoLedger) {
		t.Errorf("Open to read: %v", err)
	}
	l := open(t, link, Options{})
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateListed)
	finish(t, l)
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the link: %v, %v", info, err)
	}
	l = open(t, real, Options{})
	_, err := l.Entry(t.Context(), state.Key{Org: "acme", Inbox: "u1", Recording: "r1"})
	statetest.Must(t, err)
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "ledger.db")
	if _, err := Open(missing, Options{ReadOnly: true}); !errors.Is(err, state.ErrNoLedger) || !strings.Contains(err.Error(), missing) {
		t.Errorf("no ledger: %v", err)
	}
	deep := filepath.Join(dir, "a", "b", "ledger.db")
	if _, err := Open(deep, Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make the directory") {
		t.Errorf("no directory: %v", err)
	}
	for _, readOnly := range []bool{true, false} {
		if _, err := Open(dir, Options{ReadOnly: readOnly}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("a directory: %v", err)
		}
	}
	if _, err := Open(missing, Options{SealKey: []byte("short")}); err == nil || !strings.Contains(err.Error(), "want 32") {
		t.Errorf("short key: %v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("left behind: %v, %v", files, err)
	}
	for err, want := range map[error]string{
		syscall.EACCES: "let the user that archiverd runs as", syscall.EPERM: "let the user", syscall.EROFS: "can be written",
	} {
		if got := remedy(&fs.PathError{Op: "open", Path: "p", Err: err}); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

func TestBinding(t *testing.T) {
	bound := func(change func(*state.Binding)) state.Binding {
		b := state.Binding{Endpoint: "https://s3", Bucket: "b", Prefix: "p/", Organizations: map[string]state.OrgBinding{
			"acme": {APIHost: "api.acme", ClientID: "client1"}, "beta": {APIHost: "api.beta", ClientID: "client2"},
		}}
		change(&b)
		return b
	}
	same := func(*state.Binding) {}
	path := newPath(t)
	finish(t, open(t, path, Options{Binding: bound(same)}))
	all := func(b *state.Binding) {
		b.Endpoint, b.Bucket, b.Prefix = "e2", "b2", "p2"
		b.Organizations["acme"] = state.OrgBinding{APIHost: "h2", ClientID: "c2"}
		b.Organizations["new"] = state.OrgBinding{APIHost: "h3", ClientID: "c3"}
	}
	for name, c := range map[string]struct {
		change func(*state.Binding)
		want   []string // what differs; with both values
	}{
		"same":     {same, nil},
		"endpoint": {func(b *state.Binding) { b.Endpoint = "e2" }, []string{`storage.endpoint is "https://s3" in the ledger and "e2"`}},
		"bucket":   {func(b *state.Binding) { b.Bucket = "b2" }, []string{`storage.bucket is "b" in the ledger and "b2"`, "needs a new ledger"}},
		"prefix":   {func(b *state.Binding) { b.Prefix = "" }, []string{`storage.prefix is "p/" in the ledger and ""`}},
		"api host": {func(b *state.Binding) { b.Organizations["acme"] = state.OrgBinding{APIHost: "h2", ClientID: "client1"} }, []string{`acme is "api.acme" in the ledger and "h2"`}},
		"client id": {func(b *state.Binding) {
			b.Organizations["beta"] = state.OrgBinding{APIHost: "api.beta", ClientID: "c2"}
		}, []string{`beta is "client2" in the ledger and "c2"`}},
		"all": {all, []string{`"e2"`, `"b2"`, `"p2"`, `"h2"`, `"c2"`}},
	} {
		for _, readOnly := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, read-only %v", name, readOnly), func(t *testing.T) {
				unchanged(t, path, func() {
					l, err := Open(path, Options{Binding: bound(c.change), ReadOnly: readOnly})
					if len(c.want) == 0 {
						statetest.Must(t, err)
						statetest.Must(t, l.Close())
						return
					}
					binding, ok := errors.AsType[*state.BindingError](err)
					if !ok || len(binding.Differences) == 0 {
						t.Fatalf("Open: %v", err)
					}
					for _, want := range append(c.want, path, "state.path") {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("%q is not in: %v", want, err)
						}
					}
				})
			})
		}
	}

	// An organization that only one side has is not a difference, and is kept.
	only := func(b *state.Binding) {
		delete(b.Organizations, "acme")
		b.Organizations["new"] = state.OrgBinding{APIHost: "h3", ClientID: "c3"}
	}
	unchanged(t, path, func() {
		finish(t, open(t, path, Options{Binding: bound(only), ReadOnly: true}))
	})
	finish(t, open(t, path, Options{Binding: bound(only)}))
	for _, org := range []string{"acme", "beta", "new"} {
		_, err := Open(path, Options{Binding: bound(func(b *state.Binding) { b.Organizations[org] = state.OrgBinding{APIHost: "x", ClientID: "y"} })})
		binding, ok := errors.AsType[*state.BindingError](err)
		if !ok || len(binding.Differences) != 2 {
			t.Errorf("%s: %v", org, err)
		}
	}
	open(t, path, Options{Binding: bound(same)})
}

// TestFirstOpenRace: of many processes that find no ledger, one makes it and the others
// use it.
func TestFirstOpenRace(t *testing.T) {
	for range 10 {
		path := newPath(t)
		found := make(chan string, 8)
		for range cap(found) {
			go func() {
				l, err := Open(path, Options{Timeout: time.Minute})
				if err != nil {
					found <- err.Error()
					return
				}
				id := l.ID()
				if err := l.Close(); err != nil {
					id = err.Error()
				}
				found <- id
			}()
		}
		ids := make(map[string]int)
		for range cap(found) {
			ids[<-found]++
		}
		if len(ids) != 1 {
			t.Fatalf("found %v", ids)
		}
		finish(t, open(t, path, Options{}))
	}
}

// A command that root runs must not lock the service out of its ledger.
func TestLedgerBelongsToItsDirectory(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		statetest.Must(t, os.Chown(dir, 65534, 65534))
	}
	owner := func(path string) [2]uint32 {
		info, err := os.Stat(path)
		statetest.Must(t, err)
		s := info.Sys().(*syscall.Stat_t)
		return [2]uint32{s.Uid, s.Gid}
	}
	path := filepath.Join(dir, "ledger.db")
	for _, key := range [][]byte{nil, make([]byte, 32)} { // first created, then rewritten to seal the tokens
		l, err := Open(path, Options{SealKey: key})
		statetest.Must(t, err)
		statetest.Must(t, l.Login(t.Context(), "acme", "u1", state.Token{Access: "a"}, nil))
		statetest.Must(t, l.Close())
		if have, want := owner(path), owner(dir); have != want {
			t.Errorf("the ledger belongs to %d, its directory to %d", have, want)
		}
	}
}
