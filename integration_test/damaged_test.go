package integration_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// manyEntries fills the ledger of an organization with client credentials.
func (w *world) manyEntries(n int) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		return l.List(w.Context(), "acme", "client", nil, func(func(string) (state.Entry, bool)) (all []state.Change) {
			for i := range n {
				all = append(all, state.Change{Recording: fmt.Sprintf("recording-%04d", i), To: state.StateListed})
			}
			return all
		})
	})
	w.withLedger(func(l *bolt.Ledger) error {
		return l.AddRun(w.Context(), state.Run{Start: time.Now(), End: time.Now()})
	}) // none is missed
}

// damage changes, in place, every page of entries that names the recording. It gives the
// file as it was.
func (w *world) damage(recording string, with func(page []byte)) (before []byte) {
	w.Helper()
	before, err := os.ReadFile(w.ledgerPath())
	if err != nil {
		w.Fatal(err)
	}
	f, err := os.OpenFile(w.ledgerPath(), os.O_RDWR, 0)
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	size, hit := os.Getpagesize(), 0
	for at := 2 * size; at < len(before); at += size {
		page := bytes.Clone(before[at : at+size])
		if leaf := page[8] == 2; !leaf || !bytes.Contains(page, []byte(recording)) {
			continue
		}
		with(page)
		if _, err := f.WriteAt(page, int64(at)); err != nil {
			w.Fatal(err)
		}
		hit++
	}
	if hit == 0 {
		w.Fatalf("no page names %s", recording)
	}
	return before
}

func zeroTail(page []byte) { clear(page[len(page)/2:]) }

func noPage(page []byte) {
	for i := range page {
		page[i] = byte(i*7 + 1)
	}
}

// wantDamage wants a command to say that the ledger is damaged and what to do.
func (w *world) wantDamage(args ...string) {
	w.Helper()
	r := w.run(args...)
	if said := r.stdout + r.stderr; r.code != 6 || !strings.Contains(said, "the ledger is damaged") || !strings.Contains(said, "restore a copy") {
		w.Errorf("archiverd %q on a damaged ledger: want exit code 6 and what to do, got %s", args, r)
	}
}

// TestDamagedLedger damages the ledger's file as a bad disk does, and wants every command
// that meets it, and the service at its start, to say so with exit code 6.
func TestDamagedLedger(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func([]byte){"zeroed tail": zeroTail, "garbage": noPage} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			w.daily()
			w.cloud.ClientInbox()
			w.manyEntries(401)
			good := w.damage("recording-0262", with)
			for _, args := range [][]string{
				{"ls"}, {"ls", "--json"}, {"verify"}, {"backup", filepath.Join(w.dir, "copy.db")}, {"doctor"}, {"reconcile"}, {"run", "--once"}, {"run"},
			} {
				w.wantDamage(args...)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "copy.db")); err == nil {
				t.Error("a copy of the damaged ledger was made")
			}
			w.restore(good)
			w.expect(0, "ls")
		})
	}
}

// restore puts the good ledger in its place.
func (w *world) restore(good []byte) {
	w.Helper()
	if err := os.WriteFile(w.ledgerPath(), good, 0o600); err != nil {
		w.Fatal(err)
	}
}

// TestDamagedInService damages the ledger below a running service: what is asked of its
// page, its metrics and its socket is an error, and never its end.
func TestDamagedInService(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	w.listening()
	w.cloud.ClientInbox()
	w.manyEntries(401)
	p := w.start("run")
	site := w.site(p)
	w.awaitLog(p, "archiverd starts", 1)
	if code, _, _ := w.fetch(site + "/metrics"); code != 200 {
		t.Errorf("metrics of a good ledger: %d", code)
	}
	good := w.damage("recording-0262", noPage)
	w.wantDamage("ls")
	w.wantDamage("retry")
	w.wantDamage("ls", "--state", "listed")
	for _, path := range []string{"/", "/metrics", "/readyz"} {
		code, _, body := w.fetch(site + path)
		if code < 500 || !strings.Contains(body, "the ledger is damaged") {
			t.Errorf("%s of a damaged ledger: %d %.200q", path, code, body)
		}
	}
	if code, _, _ := w.fetch(site + "/healthz"); code != 200 {
		t.Error("the service has ended")
	}
	w.ends(p)
	w.restore(good)
}
