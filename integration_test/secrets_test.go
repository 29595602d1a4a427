package integration_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// secrets are what nobody may see, by what they are. Those of Genesys are the ones
// that it really gave out.
type secrets map[string][]string

// leaks gives what of the secrets is in a text, plain or in a form that they travel in.
func (s secrets) leaks(text string) (found []string) {
	for kind, values := range s {
		for _, v := range values {
			for form, encoded := range map[string]string{
				"plain": v, "in a URL": url.QueryEscape(v), "in base64": base64.StdEncoding.EncodeToString([]byte(v)), "in hex": hex.EncodeToString([]byte(v)),
			} {
				if strings.Contains(text, encoded) {
					found = append(found, kind+" "+form)
				}
			}
		}
	}
	return found
}

// vault is a world with every secret there can be, each unlike any other text.
type vault struct {
	*world
	own secrets
}

func newVault(t *testing.T, sealed bool) *vault {
	t.Helper()
	secret := func(name string) string { return name + "-" + rand.Text() }
	client, push, beat := secret("client"), secret("push"), secret("beat")
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{ClientSecret: client, AccessTokenLife: time.Hour})
	sink := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadRequest) }))
	t.Cleanup(sink.Close)
	v := &vault{w, secrets{
		"client secret": {client, "client:" + client}, "S3 secret": {w.s3.SecretKey}, "push password": {push}, "heartbeat": {beat},
	}}
	w.org["grant"], w.org["client_secret"] = "authorization_code", client
	w.config["log"] = map[string]any{"level": "debug"}
	w.config["metrics"] = map[string]any{"push_url": strings.Replace(sink.URL, "http://", "http://user:"+push+"@", 1)}
	w.config["heartbeat_url"] = sink.URL + "/" + beat
	w.daily()
	w.listening()
	if sealed {
		w.sealKey = make([]byte, 32)
		rand.Read(w.sealKey)
		file := filepath.Join(w.dir, "seal.key")
		if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(w.sealKey)), 0o600); err != nil {
			t.Fatal(err)
		}
		w.config["state"] = map[string]any{"path": w.ledgerPath(), "key_file": file}
		v.own["seal key"] = []string{string(w.sealKey)}
	}
	return v
}

// all are the secrets there are by now.
func (v *vault) all() secrets {
	s := secrets{"token, code or link": v.cloud.Secrets()}
	for kind, values := range v.own {
		s[kind] = values
	}
	return s
}

// hides fails the test if a text shows a secret.
func (v *vault) hides(where, text string) {
	v.Helper()
	if found := v.all().leaks(text); found != nil {
		v.Errorf("%s shows: %v", where, found)
	}
}

// troubled makes everything go wrong once that puts something secret near a message.
func (v *vault) troubled() {
	quote := func(status int) genesystest.Effect { // as gateways do that mean well
		return genesystest.Effect{Name: "quote", Before: func(rw http.ResponseWriter, r *http.Request) bool {
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(status)
			body, _ := io.ReadAll(r.Body)
			_ = json.NewEncoder(rw).Encode(map[string]any{
				"code": "bad.request", "message": fmt.Sprint(r.Header.Get("Authorization"), " ", string(body)), "error": "invalid", "error_description": r.Header.Get("Authorization"),
			})
			return true
		}}
	}
	for _, f := range []genesystest.Fault{
		{Op: opToken, Inbox: "ben", Effect: quote(http.StatusBadRequest)},
		{Op: opSummary, Inbox: "cleo", Effect: quote(http.StatusInternalServerError)},
		{Op: opList, Inbox: "cleo", Effect: quote(http.StatusBadRequest)},
		{Op: opTranscoding, Inbox: "anna", Effect: quote(http.StatusInternalServerError)},
		{Op: opLink, Inbox: "anna", Effect: genesystest.Expired()},
		{Op: opLink, Inbox: "anna", Skip: 1, Effect: genesystest.HTML(200)},
		{Op: opLink, Inbox: "anna", Skip: 2, Effect: genesystest.Redirect("http://127.0.0.1:1/?Signature=x")},
		{Op: opLink, Inbox: "anna", Skip: 3, Effect: genesystest.LoseReply()},
	} {
		v.cloud.Inject(f)
	}
}

// TestSecretsStayHidden greps all that archiverd ever shows or stores, at debug level,
// for every secret that there was: output of every command, with faults and without;
// pages; the bucket; a crash; and every file beside the configuration.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	v := newVault(t, true)
	var inboxes []*genesystest.Inbox
	for _, id := range []string{"anna", "ben", "cleo"} {
		in := v.cloud.AddUser(id, "User "+id, id+"@example.com")
		fill(in, 4)
		inboxes = append(inboxes, in)
	}
	v.login(state.Token{}, inboxes...)
	v.troubled()
	for _, args := range [][]string{{"run", "--once"}, {"run", "--once", "--json"}, {"run", "--once", "--dry-run"}} {
		r := v.run(args...)
		if !strings.Contains(r.stderr, "DEBUG") {
			t.Errorf("archiverd %q logs nothing at debug level: %s", args, r)
		}
		v.hides(fmt.Sprint(args), r.stdout+r.stderr)
	}
	v.cloud.ClearFaults()
	v.asksEverything(inboxes[0].IDs()[0])
	v.looksAtBucket()
	v.crashes()
	v.wrongSecrets()
	v.looksAtFiles()
	v.provesItself()
}

var commandName = regexp.MustCompile(`(?m)^  ([a-z]+) `)

// asksEverything runs every command that there is, as its own help lists them, once
// for people and once in JSON.
func (v *vault) asksEverything(id string) {
	v.Helper()
	args := map[string][]string{"show": {id}, "get": {id, "-o", filepath.Join(v.dir, "media")}, "backup": {filepath.Join(v.dir, "copy.db")}, "verify": {"--read"}, "config": {"check"}}
	_, list, _ := strings.Cut(v.expect(0, "--help").stdout, "Available Commands:")
	list, _, _ = strings.Cut(list, "Flags:")
	commands := commandName.FindAllStringSubmatch(list, -1)
	if len(commands) < 10 {
		v.Fatalf("the help lists %v", commands)
	}
	for _, c := range commands {
		if c[1] == "run" || c[1] == "login" || c[1] == "logout" { // these have tests of their own, or end what the others need
			continue
		}
		for _, more := range [][]string{nil, {"--json"}} {
			line := append(append([]string{c[1]}, args[c[1]]...), more...)
			r := v.run(line...)
			v.hides(fmt.Sprint(line), r.stdout+r.stderr)
			_ = os.Remove(filepath.Join(v.dir, "media"))
			_ = os.Remove(filepath.Join(v.dir, "copy.db"))
		}
	}
}

// looksAtBucket reads every object and its metadata.
func (v *vault) looksAtBucket() {
	v.Helper()
	n := 0
	for _, o := range v.listing() {
		body, err := v.read(o.Key)
		if err != nil {
			v.Fatal(err)
		}
		h, err := v.s3.Client().HeadObject(v.Context(), &s3.HeadObjectInput{Bucket: &v.bucket, Key: &o.Key})
		if err != nil {
			v.Fatal(err)
		}
		v.hides(o.Key, o.Key+fmt.Sprint(h.Metadata)+string(body))
		n++
	}
	if n < 8 {
		v.Errorf("%d objects prove nothing", n)
	}
}

// crashes has archiverd dump all it does, as a crash would, in the middle of a request.
func (v *vault) crashes() {
	v.Helper()
	p := v.start("run")
	site := v.site(p)
	for _, page := range []string{"/", "/metrics", "/healthz", "/readyz"} {
		_, _, body := v.fetch(site + page)
		v.hides(page, body)
	}
	v.ends(p)
	v.hides("the service", p.stdout.String()+p.stderr.String())

	v.cloud.Inject(genesystest.Fault{Op: opList, Times: genesystest.Always, Effect: v.cloud.Stall()})
	before := v.cloud.Requests(opList)
	p = v.start("run", "--once")
	if err := v.cloud.Await(v.Context(), opList, before+1); err != nil {
		v.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		v.Fatal(err)
	}
	r := p.wait()
	if !strings.Contains(r.stderr, "goroutine 1 ") || !strings.Contains(r.stderr, "roundTrip") {
		v.Errorf("that is no dump of requests under way: %s", r)
	}
	v.hides("a crash", r.stdout+r.stderr)
	v.cloud.Release()
	v.cloud.ClearFaults()
}

// wrongSecrets are refused, and not shown for it.
func (v *vault) wrongSecrets() {
	v.Helper()
	right := v.org["client_secret"]
	wrong := "wrong-" + rand.Text()
	v.own["wrong secret"] = []string{wrong}
	v.org["client_secret"] = wrong
	for _, in := range []string{"anna", "ben", "cleo"} {
		v.login(state.Token{}, v.cloud.AddUser(in, "", ""))
	}
	r := v.run("run", "--once")
	v.hides("a run with a wrong client secret", r.stdout+r.stderr)
	v.org["client_secret"] = right
	v.editStorage("secret_access_key", wrong)
	r = v.expect(2, "run", "--once")
	v.hides("a run with a wrong S3 secret", r.stdout+r.stderr)
	v.editStorage("endpoint", "http://user:"+wrong+"@127.0.0.1")
	r = v.expect(2, "run", "--once")
	v.hides("a URL with a password", r.stdout+r.stderr)
	delete(v.config, "storage")
}

// looksAtFiles reads every file that archiverd left, the sealed ledger above all.
func (v *vault) looksAtFiles() {
	v.Helper()
	given := map[string]bool{v.configPath(): true, filepath.Join(v.dir, "seal.key"): true}
	ledger := false
	err := filepath.WalkDir(v.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || given[path] || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		v.hides(path, string(text))
		ledger = ledger || path == v.ledgerPath()
		return err
	})
	if err != nil || !ledger {
		v.Errorf("files: %v, the ledger among them: %v", err, ledger)
	}
}

// provesItself shows that the search finds what is there: in every form, of every kind,
// and in a ledger that is not sealed.
func (v *vault) provesItself() {
	v.Helper()
	all := v.all()
	for _, kind := range []string{"client secret", "S3 secret", "push password", "heartbeat", "seal key", "wrong secret", "token, code or link"} {
		if len(all[kind]) == 0 {
			v.Errorf("there is no %s to look for", kind)
		}
		for _, secret := range all[kind] {
			for _, text := range []string{secret, "x" + secret + "y", url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))} {
				if all.leaks(text) == nil {
					v.Errorf("a %s is not found", kind)
				}
			}
		}
	}
	if n := len(all["token, code or link"]); n < 15 {
		v.Errorf("%d tokens and links prove nothing", n)
	}
	open := newVault(v.T, false)
	anna := open.cloud.AddUser("anna", "", "")
	open.login(state.Token{}, anna)
	open.once(0)
	text, err := os.ReadFile(open.ledgerPath())
	if err != nil {
		v.Fatal(err)
	}
	if open.all().leaks(string(text)) == nil {
		v.Error("the tokens in an open ledger are not found")
	}
}

// TestFilesArePrivate wants every file that archiverd makes readable by its owner
// alone, whatever the umask allows.
func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	fill(w.cloud.ClientInbox(), 1)
	w.writeConfig()
	dir := filepath.Join(w.dir, "state")
	w.config["state"] = map[string]any{"path": filepath.Join(dir, "archiverd.db")}
	w.writeConfig()
	open := func(args ...string) *process {
		return startBinary(t, w.env, func(c *exec.Cmd) {
			c.Dir = w.dir
			c.Args = append([]string{"sh", "-c", `umask 0; exec "$0" "$@"`}, c.Args...)
			c.Path = "/bin/sh"
		}, append([]string{"--config", w.configPath()}, args...)...)
	}
	p := open("run")
	w.awaitLog(p, "run done", 1)
	if r := open("get", "r000", "-o", filepath.Join(dir, "media.wav")).wait(); r.code != 0 {
		t.Fatal(r)
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		n++
		return err
	})
	if err != nil || n < 4 { // the directory, the ledger, the socket and the media
		t.Errorf("%d files: %v", n, err)
	}
	p.terminate(t)
	if r := p.wait(); r.code != 0 {
		t.Error(r)
	}
}
