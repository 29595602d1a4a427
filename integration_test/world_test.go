package integration_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// world is an organization, a bucket, a configuration and a ledger, for one test.
type world struct {
	*testing.T
	cloud    *genesystest.Cloud
	s3       *storagetest.Server
	endpoint string // where archiverd finds the store
	bucket   string
	dir      string
	org      map[string]any // the organization's section of the configuration
	config   map[string]any // all other sections
	text     []byte         // the configuration file; nil: it is made of org and config
	env      []string
	binary   string              // the archiverd that is started; "": the one under test
	as       *syscall.Credential // the user that archiverd runs as; nil: the test's
	sealKey  []byte              // the ledger's; nil: tokens are not sealed
}

// newWorld has a store in this process, which is fast and believes anything.
func newWorld(t *testing.T, o genesystest.Options) *world {
	t.Helper()
	return newWorldOn(t, storagetest.Fake(t), o)
}

// newWorldOn ends with the questions that every test asks.
func newWorldOn(t *testing.T, s3 *storagetest.Server, o genesystest.Options) *world {
	t.Helper()
	cloud, err := genesystest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Close)
	w := place(t, cloud, s3)
	t.Cleanup(func() {
		for _, v := range cloud.Violations() {
			t.Errorf("violation: %s", v)
		}
	})
	return w
}

// place makes a bucket, a configuration and a ledger for a cloud, which from now on
// lets nothing be deleted that this bucket does not hold.
func place(t *testing.T, cloud *genesystest.Cloud, s3 *storagetest.Server) *world {
	t.Helper()
	w := &world{T: t, cloud: cloud, s3: s3, endpoint: s3.Endpoint, bucket: s3.NewBucket(t, true), dir: t.TempDir()}
	w.env = []string{"HOME=" + w.dir, "TZ=UTC"}
	w.org = map[string]any{
		"name": "acme", "api_url": cloud.APIURL(), "login_url": cloud.LoginURL(),
		"client_id": "client", "client_secret": "secret", "grant": "client_credentials",
		"format": "WAV", "requests_per_minute": 3000,
	}
	w.config = map[string]any{
		"state":    map[string]any{"path": w.ledgerPath()},
		"transfer": map[string]any{"min_age": "0s"},
		"http":     map[string]any{"listen": ""}, // tests run side by side
	}
	w.guardDeletions()
	t.Cleanup(func() {
		if _, err := os.Stat(w.ledgerPath()); err == nil {
			w.checkLedger()
		}
	})
	return w
}

func (w *world) ledgerPath() string { return filepath.Join(w.dir, "archiverd.db") }
func (w *world) configPath() string { return filepath.Join(w.dir, "archiverd.yaml") }

// format is the configured format.
func (w *world) format() string { return w.org["format"].(string) }

// deleting turns deletions on.
func (w *world) deleting() {
	w.config["delete_originals"] = map[string]any{"enabled": true, "after": "0s"}
}

// storageSection is what archiverd needs to know of the store.
func (w *world) storageSection() map[string]any {
	return map[string]any{
		"endpoint": w.endpoint, "region": w.s3.Region, "bucket": w.bucket, "prefix": "genesys",
		"path_style": w.s3.PathStyle, "access_key_id": w.s3.AccessKey, "secret_access_key": w.s3.SecretKey,
	}
}

// configText returns the current configuration as JSON, which is valid YAML.
func (w *world) configText() []byte {
	w.Helper()
	all := map[string]any{"organizations": []any{w.org}, "storage": w.storageSection()}
	for k, v := range w.config {
		all[k] = v
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(all); err != nil {
		w.Fatal(err)
	}
	return b.Bytes()
}

func (w *world) writeConfig() {
	w.Helper()
	text := w.text
	if text == nil {
		text = w.configText()
	}
	// In one step: another archiverd may be reading it.
	if err := os.WriteFile(w.configPath()+".new", text, 0o600); err != nil {
		w.Fatal(err)
	}
	if before, err := os.Stat(w.configPath()); err == nil { // a test may have given it away
		owner := before.Sys().(*syscall.Stat_t)
		if err := os.Chown(w.configPath()+".new", int(owner.Uid), int(owner.Gid)); err != nil {
			w.Fatal(err)
		}
	}
	if err := os.Rename(w.configPath()+".new", w.configPath()); err != nil {
		w.Fatal(err)
	}
}

// start starts archiverd with the current configuration.
func (w *world) start(args ...string) *process {
	w.Helper()
	w.writeConfig()
	return startBinary(w.T, w.env, func(c *exec.Cmd) {
		if w.binary != "" {
			c.Path = w.binary
		}
		c.Dir = w.dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: w.as}
	}, append([]string{"--config", w.configPath()}, args...)...)
}

// run runs archiverd, and checks that its output shows no secret.
func (w *world) run(args ...string) result {
	w.Helper()
	r := w.start(args...).wait()
	if strings.Contains(r.stdout+r.stderr, w.s3.SecretKey) {
		w.Errorf("archiverd %q shows a secret: %s", args, r)
	}
	return r
}

// expect runs archiverd and checks its exit code.
func (w *world) expect(code int, args ...string) result {
	w.Helper()
	r := w.run(args...)
	if r.code != code {
		w.Fatalf("archiverd %q: want exit code %d, got %s", args, code, r)
	}
	return r
}

// once makes one run.
func (w *world) once(code int) result {
	w.Helper()
	return w.expect(code, "run", "--once")
}

// binding returns the binding of a ledger of this configuration.
func (w *world) binding() state.Binding {
	api, err := url.Parse(w.cloud.APIURL())
	if err != nil {
		w.Fatal(err)
	}
	return state.Binding{
		Endpoint: w.endpoint, Bucket: w.bucket, Prefix: "genesys",
		Organizations: map[string]state.OrgBinding{"acme": {APIHost: api.Host, ClientID: "client"}},
	}
}

// withLedger opens the ledger as archiverd does. archiverd must not be running.
func (w *world) withLedger(f func(*bolt.Ledger) error) {
	w.Helper()
	l, err := bolt.Open(w.ledgerPath(), bolt.Options{Binding: w.binding(), SealKey: w.sealKey, Timeout: 10 * time.Second})
	if err != nil {
		w.Fatal(err)
	}
	if err := errors.Join(f(l), l.Close()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) checkLedger() {
	w.Helper()
	info, err := os.Stat(w.ledgerPath())
	if err == nil && info.Mode() != fs.FileMode(0o600) {
		err = fmt.Errorf("the ledger has mode %v", info.Mode())
	}
	if err != nil {
		w.Error(err)
	}
	w.withLedger((*bolt.Ledger).Check)
}

// entries is what the ledger knows of an inbox.
func (w *world) entries(inbox *genesystest.Inbox) map[string]state.Entry {
	w.Helper()
	all := map[string]state.Entry{}
	w.withLedger(func(l *bolt.Ledger) error {
		return l.Scan(w.Context(), "acme", inbox.ID, func(k state.Key, e *state.Entry) error {
			all[k.Recording] = *e
			return nil
		})
	})
	return all
}

// wantState insists on the state of every named recording, and of all without names.
func (w *world) wantState(want state.State, inbox *genesystest.Inbox, ids ...string) {
	w.Helper()
	all := w.entries(inbox)
	if len(ids) == 0 {
		ids = keysOf(all)
	}
	for _, id := range ids {
		if have := all[id].State; have != want {
			w.Errorf("recording %.60q is %q in the ledger, want %q (%s)", id, have, want, all[id].LastError)
		}
	}
}
