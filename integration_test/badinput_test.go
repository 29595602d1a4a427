package integration_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// badInput is what a person, or the world, gets wrong.
type badInput struct {
	name string
	edit func(*world)
	args []string // default: run --once
	code int
	says []string // on stderr or stdout
}

// refused are those that are found before anything is created.
var refused = []badInput{
	{"unknown key", func(w *world) { w.config["storrage"] = 1 }, nil, 2, []string{"storrage", "archiverd.yaml:"}},
	{"unknown key within", func(w *world) { w.org["formaat"] = "WAV" }, nil, 2, []string{"organizations[0].formaat"}},
	{"duplicate key", func(w *world) {
		w.text = bytes.Replace(w.configText(), []byte(`"transfer":`), []byte(`"transfer": {"workers": 1}, "transfer":`), 1)
	}, nil, 2, []string{"archiverd.yaml:", ": transfer: ", "second time"}},
	{"mistyped value", func(w *world) { w.config["transfer"] = map[string]any{"workers": "many"} }, nil, 2, []string{"transfer.workers", "many"}},
	{"a list for a section", func(w *world) { w.config["transfer"] = []any{1} }, nil, 2, []string{"transfer"}},
	{"unset variable", func(w *world) { w.org["client_secret"] = "${NOT_SET}" }, nil, 2, []string{"client_secret", "NOT_SET"}},
	{"bad cron", func(w *world) { w.config["schedule"] = map[string]any{"cron": "61 * * * *"} }, nil, 2, []string{"schedule.cron"}},
	{"bad time zone", func(w *world) { w.config["schedule"] = map[string]any{"timezone": "Europe/Dubln"} }, nil, 2, []string{"schedule.timezone", "Dubln"}},
	{"two organizations of one name", func(w *world) { w.config["organizations"] = []any{w.org, w.org} }, nil, 2, []string{"organizations[1].name"}},
	{"no organization", func(w *world) { w.config["organizations"] = []any{} }, nil, 2, []string{"organizations"}},
	{"not YAML", func(w *world) { w.text = []byte("organizations: [") }, nil, 2, []string{"archiverd.yaml:1"}},
	{"empty file", func(w *world) { w.text = []byte{} }, nil, 2, []string{"archiverd.yaml"}},
	{"missing file", func(*world) {}, []string{"run", "--once", "--config", "nowhere.yaml"}, 2, []string{"nowhere.yaml"}},
	{"missing secret file", func(w *world) {
		delete(w.org, "client_secret")
		w.org["client_secret_file"] = "acme.secret"
	}, nil, 2, []string{"client_secret_file", "no such file"}},
	{"no such bucket", func(w *world) { w.bucket = "there-is-none" }, nil, 2, []string{"there-is-none"}},
	{"wrong secret key", func(w *world) { w.editStorage("secret_access_key", "wrong") }, nil, 2, []string{"bucket"}},
	{"wrong access key", func(w *world) { w.editStorage("access_key_id", "wrong") }, nil, 2, []string{"bucket"}},
	{"store unreachable", func(w *world) { w.editStorage("endpoint", unreachable(w.T)) }, nil, 5, []string{"refused"}},
	{"a file that is no ledger", func(w *world) { w.writeLedger("text of mine\n") }, nil, 2, []string{"archiverd.db", "state.path"}},
	{"no place for the ledger", func(w *world) { w.config["state"] = map[string]any{"path": w.dir + "/a/b/archiverd.db"} }, nil, 2, []string{"state.path"}},
	{"--dry-run alone", func(*world) {}, []string{"run", "--dry-run"}, 2, []string{"--once"}},
	{"unknown flag", func(*world) {}, []string{"run", "--onse"}, 2, []string{"--onse"}},
	{"unknown command", func(*world) {}, []string{"rum"}, 2, []string{"rum"}},
	{"unknown command of a command", func(*world) {}, []string{"hold", "sett", "case"}, 2, []string{"sett", "archiverd hold --help"}},
	{"unknown state", func(*world) {}, []string{"ls", "--state", "done"}, 2, []string{"done", "archived"}},
	{"an argument too many", func(*world) {}, []string{"run", "--once", "now"}, 2, []string{"now"}},
	{"no ledger to read", func(*world) {}, []string{"ls"}, 2, []string{"archiverd.db"}},
	{"bad date", func(*world) {}, []string{"ls", "--from", "last week"}, 2, []string{"--from"}},
}

// begun are those that only Genesys' answers show, when ledger and claim are there.
var begun = []badInput{
	{"wrong client secret", func(w *world) { w.org["client_secret"] = "wrong" }, nil, 4, []string{"invalid_client"}},
	{"scope missing", func(w *world) {
		w.cloud.Configure(func(o *genesystest.Options) { o.Scopes = []string{"users:readonly"} })
	}, nil, 4, []string{"scope"}},
	{"Genesys unreachable", func(w *world) { w.cloud.Close() }, nil, 5, []string{"refused"}},
	{"unknown organization", func(*world) {}, []string{"run", "--once", "--org", "other"}, 2, []string{"other"}},
	{"unknown inbox", func(*world) {}, []string{"run", "--once", "--inbox", "other"}, 2, []string{"other"}},
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	s3 := storagetest.Versitygw(t) // which knows whom it gave no access
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, s3, genesystest.Options{})
			bucket := w.bucket
			c.edit(w)
			ledger, before := os.ReadFile(w.ledgerPath())
			w.refuses(c)
			w.bucket = bucket
			if objects := w.listing(); len(objects) > 0 {
				t.Errorf("written: %v", objects)
			}
			have, after := os.ReadFile(w.ledgerPath())
			if (before == nil) != (after == nil) || !bytes.Equal(have, ledger) {
				t.Errorf("there is a file at state.path: %v, then %v", before == nil, after == nil)
			}
			if before == nil { // no ledger, for the test's end to check
				w.removeLedger()
			}
			if n := len(w.cloud.Events()); n > 0 {
				t.Errorf("Genesys was asked %d times", n)
			}
		})
	}
	for _, c := range begun {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, s3, genesystest.Options{})
			fill(w.cloud.ClientInbox(), 2)
			c.edit(w)
			w.refuses(c)
			w.wantArchived()
			if e := w.entries(w.cloud.ClientInbox()); len(e) > 0 {
				t.Errorf("the ledger has %v", e)
			}
		})
	}
}

// refuses wants a bad input's exit code and words.
func (w *world) refuses(c badInput) {
	w.Helper()
	args := c.args
	if args == nil {
		args = []string{"run", "--once"}
	}
	r := w.expect(c.code, args...)
	for _, want := range c.says {
		if !strings.Contains(r.stderr+r.stdout, want) {
			w.Errorf("%q is not said: %s", want, r)
		}
	}
}

func (w *world) editStorage(key, value string) {
	section := maps.Clone(w.storageSection())
	section[key] = value
	w.config["storage"] = section
}

func (w *world) writeLedger(text string) {
	w.Helper()
	if err := os.WriteFile(w.ledgerPath(), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

func (w *world) removeLedger() {
	w.Helper()
	if err := os.Remove(w.ledgerPath()); err != nil {
		w.Fatal(err)
	}
}

// unreachable is the URL of a port on which nobody listens.
func unreachable(t *testing.T) string {
	t.Helper()
	return "http://" + freeAddress(t)
}

// TestConfigCheck wants every fault at once, each with its place.
func TestConfigCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	r := w.expect(0, "config", "check")
	if !strings.Contains(r.stdout, "ok") {
		t.Errorf("a good configuration: %s", r)
	}
	w.text = []byte("organizations:\n  - name: Acme\n    format: FLAC\nstorage: {bucket: b}\nnonsense: 1\n")
	r = w.expect(2, "config", "check")
	for _, want := range []string{":2:11: organizations[0].name", ":3:13: organizations[0].format", "client_id", ":4:19: storage.bucket", ":5:1: nonsense"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is not said: %s", want, r)
		}
	}
	w.validJSON(w.expect(2, "config", "check", "--json").stdout)
	if _, err := os.Stat(w.ledgerPath()); err == nil {
		t.Error("there is a ledger")
	}
}

// TestHeldLedger runs beside another process that has the ledger.
func TestHeldLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 2)
	w.withLedger(func(*bolt.Ledger) error {
		for _, args := range [][]string{{"run", "--once"}, {"run"}, {"retry"}, {"ls"}, {"status"}} {
			if r := w.expect(7, args...); !strings.Contains(r.stderr, w.ledgerPath()) {
				w.Errorf("the ledger is not named: %s", r)
			}
		}
		return nil
	})
	w.once(0)
}

// TestForeignLedger brings a ledger to another bucket, where its entries would count
// as archived.
func TestForeignLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.once(0)
	ledger, err := os.ReadFile(w.ledgerPath())
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(){
		"storage.bucket": func() { w.bucket = w.s3.NewBucket(t, true) },
		"storage.prefix": func() { w.editStorage("prefix", "other") },
		"client_id":      func() { w.org["client_id"] = "another" },
	} {
		bucket := w.bucket
		edit()
		r := w.expect(2, "run", "--once")
		if !strings.Contains(r.stderr, name) || !strings.Contains(r.stderr, "state.path") {
			t.Errorf("%s: neither difference nor remedy: %s", name, r)
		}
		if have, err := os.ReadFile(w.ledgerPath()); err != nil || !bytes.Equal(have, ledger) {
			t.Errorf("%s: the ledger was changed, %v", name, err)
		}
		if name == "storage.bucket" && len(w.listing()) > 0 {
			t.Error("the other bucket was written to")
		}
		w.bucket, w.org["client_id"] = bucket, "client"
		delete(w.config, "storage")
	}
	before := w.listing()
	w.once(0)
	if d := cmp.Diff(before, w.listing()); d != "" {
		t.Errorf("the bucket changed: %s", d)
	}
}

// TestReadOnlyDirectory runs as somebody who may not write where the ledger goes.
func TestReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 2)
	ledgers := filepath.Join(w.dir, "state")
	w.config["state"] = map[string]any{"path": filepath.Join(ledgers, "archiverd.db")}
	w.writeConfig()
	if err := os.Mkdir(ledgers, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // to whom no mode is an obstacle
		const nobody = 65534
		w.as = &syscall.Credential{Uid: nobody, Gid: nobody}
		err := errors.Join(os.Chown(w.configPath(), nobody, nobody), os.Chmod(filepath.Dir(w.dir), 0o755))
		if err != nil {
			t.Fatal(err)
		}
	}
	r := w.expect(2, "run", "--once")
	for _, want := range []string{filepath.Join(ledgers, "archiverd.db"), "state.path", "permission denied"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("%q is not said: %s", want, r)
		}
	}
	if n := len(w.cloud.Events()) + len(w.listing()); n > 0 {
		t.Errorf("%d requests and objects", n)
	}
}
