package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// newOrg is an organization of users who have not logged in, with two recordings each.
func newOrg(t *testing.T, o genesystest.Options, ids ...string) (*world, []*genesystest.Inbox) {
	t.Helper()
	o.RedirectURI = "http://" + freeAddress(t) + "/callback"
	w := newWorld(t, o)
	w.org["grant"] = "authorization_code"
	w.org["redirect_url"] = o.RedirectURI
	var inboxes []*genesystest.Inbox
	for _, id := range ids {
		inbox := w.cloud.AddUser(id, "User "+id, id+"@example.com")
		for k := range 2 {
			inbox.Add(genesystest.Recording{ID: id + "-" + recordingID(k)})
		}
		inboxes = append(inboxes, inbox)
	}
	return w, inboxes
}

// freeAddress is one on loopback that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := storagetest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// loginUnderWay is an archiverd login that waits for its user.
type loginUnderWay struct {
	*process
	*world
	address string // where the user logs in
	stdin   io.WriteCloser
}

// startLogin starts archiverd login and returns once it has printed the address.
func (w *world) startLogin(args ...string) *loginUnderWay {
	w.Helper()
	w.writeConfig()
	prompt, stderr := io.Pipe()
	l := &loginUnderWay{world: w}
	l.process = startBinary(w.T, w.env, func(c *exec.Cmd) {
		c.Dir = w.dir
		stdin, err := c.StdinPipe()
		if err != nil {
			w.Fatal(err)
		}
		l.stdin = stdin
		c.Stderr = io.MultiWriter(c.Stderr, stderr)
	}, append([]string{"--config", w.configPath(), "login"}, args...)...)
	lines := bufio.NewScanner(prompt)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), w.cloud.LoginURL()+"/oauth/authorize?") {
			l.address = lines.Text()
			break
		}
	}
	go io.Copy(io.Discard, prompt) // ends with the process' stderr
	go func() { <-l.ended; stderr.Close() }()
	if l.address == "" {
		w.Fatalf("no address to log in at: %s", l.wait())
	}
	return l
}

// browse goes to an address as the browser of a user, and tells where it ends and what it shows.
func (w *world) browse(address string, user *genesystest.Inbox, follow bool) (end *url.URL, status int, page string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), commandTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		w.Fatal(err)
	}
	r.AddCookie(&http.Cookie{Name: genesystest.UserCookie, Value: user.ID})
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
		if follow {
			return nil
		}
		return http.ErrUseLastResponse
	}}
	resp, err := browser.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	end = resp.Request.URL
	if to, err := resp.Location(); err == nil {
		end = to
	}
	return end, resp.StatusCode, string(text)
}

// wantEnd waits for the command's end and insists on its exit code and on what it says.
func (l *loginUnderWay) wantEnd(code int, says ...string) {
	l.Helper()
	r := l.wait()
	if r.code != code {
		l.Fatalf("archiverd login: want exit code %d, got %s", code, r)
	}
	for _, s := range says {
		if !strings.Contains(r.stdout+r.stderr, s) {
			l.Errorf("archiverd login does not say %q: %s", s, r)
		}
	}
	for _, secret := range l.cloud.Secrets() {
		if strings.Contains(r.stdout+r.stderr, secret) {
			l.Errorf("archiverd login shows a token: %s", r)
		}
	}
}

// wantLedgerInbox insists on the ledger knowing a user as Genesys does.
func (w *world) wantLedgerInbox(user *genesystest.Inbox) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		i, err := l.Inbox(w.Context(), "acme", user.ID)
		if i.Name != user.Name || i.Email != user.Email || i.LoggedOut {
			w.Errorf("the ledger has the inbox %+v", i)
		}
		return err
	})
}

func (w *world) wantNothingStored() {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		inboxes, err := l.Inboxes(w.Context(), "")
		for _, i := range inboxes {
			if t, _ := l.Token(w.Context(), i.Org, i.ID); t != (state.Token{}) {
				w.Errorf("a token of %s is stored", i.ID)
			}
		}
		return err
	})
}

// TestLogin goes the whole way: redirect, token, inbox, archive, a second login, logout.
func TestLogin(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben")
	anna, ben := users[0], users[1]

	l := w.startLogin("--org", "acme")
	redirect := w.org["redirect_url"].(string)
	for _, wrong := range []string{redirect + "?code=x&state=y", redirect + "?code=x", redirect} {
		if _, status, page := w.browse(wrong, anna, true); status != 400 || !strings.Contains(page, "waiting for another login") {
			t.Errorf("%s was answered with %d %s", wrong, status, page)
		}
	}
	if _, status, _ := w.browse(strings.TrimSuffix(redirect, "callback")+"favicon.ico", anna, true); status != 404 {
		t.Errorf("another path was answered with %d", status)
	}
	if n := w.cloud.Requests(opToken); n != 0 {
		t.Errorf("%d codes with a wrong state were sent on", n)
	}
	if _, status, page := w.browse(l.address, anna, true); status != 200 || !strings.Contains(page, "User anna, anna@example.com") {
		t.Errorf("the browser shows %d %s", status, page)
	}
	l.wantEnd(0, "acme/anna", "User anna, anna@example.com", "a redirect from another login")
	w.wantLedgerInbox(anna)
	w.once(0)
	w.wantArchived(all(anna))
	for _, m := range w.archive().manifests {
		if m.User.ID != "anna" || m.User.Name != "User anna" || m.User.Email != "anna@example.com" {
			t.Errorf("%s has the user %v", m.key, m.User)
		}
	}
	first := w.token(anna)

	// With --inbox another user is refused, and what there was stays.
	l = w.startLogin("--inbox", "anna")
	if _, status, page := w.browse(l.address, ben, true); status != 400 || !strings.Contains(page, "not anna") {
		t.Errorf("the browser shows %d %s", status, page)
	}
	l.wantEnd(4, "user ben (User ben) logged in, not anna: nothing was stored")
	if w.token(anna) != first || w.token(ben) != (state.Token{}) {
		t.Error("another user's login changed the ledger")
	}

	// A second login of the same user replaces the token, a first one of another adds an inbox.
	for _, user := range users {
		l = w.startLogin()
		w.browse(l.address, user, true)
		l.wantEnd(0, "acme/"+user.ID)
	}
	if w.token(anna).Refresh == first.Refresh {
		t.Error("the second login stored nothing")
	}
	anna.Add(genesystest.Recording{ID: "later"})
	w.once(0)
	w.wantArchived(all(anna), all(ben))
	w.noneSpent()
}

// TestLogout wants an inbox left alone until its user logs in again.
func TestLogout(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben")
	anna, ben := users[0], users[1]
	w.login(state.Token{}, anna, ben)
	w.once(0)
	w.expect(2, "logout", "--org", "acme")
	w.expect(2, "logout", "--org", "acme", "--inbox", "nobody")
	w.expect(2, "logout", "--org", "other", "--inbox", "anna")
	if r := w.expect(0, "logout", "--org", "acme", "--inbox", "anna"); !strings.Contains(r.stdout, "Archived recordings stay") {
		t.Errorf("logout says %s", r)
	}
	if w.token(anna) != (state.Token{}) {
		t.Error("the token is still there")
	}
	anna.Add(genesystest.Recording{ID: "not-any-more"})
	ben.Add(genesystest.Recording{ID: "still"})
	before := w.asked(anna, "")
	w.expect(0, "run", "--once", "--strict")
	if w.asked(anna, "") != before {
		t.Error("the inbox was asked for after logout")
	}
	w.wantArchived(some(anna, "anna-r000", "anna-r001"), all(ben))
	if r := w.expect(0, "inboxes"); !strings.Contains(r.stdout, "logged_out") || strings.Contains(r.stdout, "archiverd login") {
		t.Errorf("inboxes says %s", r)
	}
	l := w.startLogin("--org", "acme", "--inbox", "anna")
	w.browse(l.address, anna, true)
	l.wantEnd(0)
	w.once(0)
	w.wantArchived(all(anna), all(ben))
}

// TestPaste logs in on another machine.
func TestPaste(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna")
	anna := users[0]
	for _, tt := range []struct {
		name, paste string
		code        int
		says        string
	}{
		{"wrong state", w.org["redirect_url"].(string) + "?code=x&state=y", 2, "not the answer to the login"},
		{"no address", "http://%zz", 2, "not an address"},
		{"nothing", "", 2, "want one line"},
		{"chatter", "it says page not found", 2, "want one line"},
	} {
		l := w.startLogin("--no-browser")
		fmt.Fprintln(l.stdin, tt.paste)
		l.wantEnd(tt.code, tt.says)
	}
	if n := w.cloud.Requests(opToken); n != 0 {
		t.Errorf("%d exchanges", n)
	}
	w.wantNothingStored()
	l := w.startLogin("--no-browser")
	end, _, _ := w.browse(l.address, anna, false)
	fmt.Fprintln(l.stdin, " "+end.String()+"\r")
	l.wantEnd(0, "acme/anna")
	w.once(0)
	w.wantArchived(all(anna))
}

// TestLoginRefused has the ways in which Genesys gives nothing to keep.
func TestLoginRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit func(*genesystest.Options)
		args []string
		code int
		says []string
	}{
		"no refresh token": {func(o *genesystest.Options) { o.NoRefreshTokens = true }, nil, 4, []string{"no refresh token", "inactivity timeout", "confidential client"}},
		"not agreed":       {func(o *genesystest.Options) { o.RefuseLogin = true }, nil, 4, []string{"access_denied", "The user did not agree."}},
		"nobody named":     {func(o *genesystest.Options) { o.RefuseMe = true }, nil, 4, []string{"users:readonly", "--inbox"}},
		"wrong client": {func(o *genesystest.Options) { o.ClientSecret = "another" }, nil, 4,
			[]string{"invalid_client", "check client_id and client_secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, users := newOrg(t, genesystest.Options{}, "anna")
			w.cloud.Configure(tt.edit)
			l := w.startLogin(tt.args...)
			w.browse(l.address, users[0], true)
			l.wantEnd(tt.code, tt.says...)
			w.wantNothingStored()
		})
	}
}

// TestLoginUnconfirmed archives where users/me is refused and a person said whose inbox it is.
func TestLoginUnconfirmed(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{RefuseMe: true}, "anna")
	l := w.startLogin("--inbox", "anna")
	w.browse(l.address, users[0], true)
	l.wantEnd(0, "did not confirm whose inbox it is")
	w.deleting()
	w.once(0)
	w.wantState(state.StateArchived, users[0])
}

// TestLoginEnds wants the waiting to end: by time, by a signal, and not to begin where nobody can come.
func TestLoginEnds(t *testing.T) {
	t.Parallel()
	w, _ := newOrg(t, genesystest.Options{}, "anna")
	l := w.startLogin("--timeout", "50ms")
	l.wantEnd(5, "nobody logged in within 50ms")
	l = w.startLogin("--timeout", "50ms", "--no-browser")
	l.wantEnd(5, "nobody logged in within 50ms")
	for _, args := range [][]string{nil, {"--no-browser"}} {
		l = w.startLogin(args...)
		l.terminate(t)
		l.wantEnd(5, "stopped before anyone logged in")
	}
	redirect, err := url.Parse(w.org["redirect_url"].(string))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", redirect.Host)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.expect(2, "login"); !strings.Contains(r.stderr, "address already in use") || !strings.Contains(r.stderr, "--no-browser") {
		t.Errorf("a taken port: %s", r)
	}
	taken.Close()
	for _, elsewhere := range []string{"http://192.0.2.1:8085/callback", "https://127.0.0.1:8085/callback", "https://archive.example.com/"} {
		w.org["redirect_url"] = elsewhere
		if r := w.expect(2, "login"); !strings.Contains(r.stderr, "use --no-browser") {
			t.Errorf("redirect_url %s: %s", elsewhere, r)
		}
	}
	w.org["grant"] = "client_credentials"
	if r := w.expect(2, "login"); !strings.Contains(r.stderr, "nobody logs in") {
		t.Errorf("client credentials: %s", r)
	}
}

// TestImport takes refresh tokens that were got elsewhere.
func TestImport(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben")
	anna, ben := users[0], users[1]
	file := filepath.Join(w.dir, "token")
	refresh := anna.IssueRefreshToken()
	if err := os.WriteFile(file, []byte(refresh+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.expect(0, "login", "--import", file); !strings.Contains(r.stdout, "acme/anna: the inbox of User anna") || strings.Contains(r.stdout+r.stderr, refresh) {
		t.Errorf("import says %s", r)
	}
	w.wantLedgerInbox(anna)
	if err := os.WriteFile(file, []byte("of-another-client\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.expect(4, "login", "--import", file); !strings.Contains(r.stderr, "used before, revoked, or issued to another client") {
		t.Errorf("a token that is not this client's: %s", r)
	}
	w.expect(2, "login", "--import", filepath.Join(w.dir, "none"))
	stdin := func(code int, text string, args ...string) {
		t.Helper()
		w.writeConfig()
		p := startBinary(t, w.env, func(c *exec.Cmd) { c.Stdin = strings.NewReader(text) },
			append([]string{"--config", w.configPath(), "login", "--import", "-"}, args...)...)
		if r := p.wait(); r.code != code {
			t.Errorf("import of %q: want exit code %d, got %s", args, code, r)
		}
	}
	stdin(2, "")
	stdin(4, ben.IssueRefreshToken(), "--inbox", "anna")
	if w.token(ben) != (state.Token{}) {
		t.Error("another user's token is stored")
	}
	stdin(0, ben.IssueRefreshToken(), "--inbox", "ben")
	w.once(0)
	w.wantArchived(all(anna), all(ben))
}

// covered is what inboxes --json says.
type covered struct {
	Inboxes []struct {
		Inbox, Email, Access, Condition, Reason string
		Expected                                *bool
		Backlog                                 int
	}
	Totals struct {
		Inboxes, Expected, Backlog int
		NotInRoster                int `json:"not_in_roster"`
		Access                     map[string]int
	}
}

// coverage gives access and roster of every inbox: "anna enrolled yes".
func (w *world) coverage() (rows []string, c covered) {
	w.Helper()
	if err := json.Unmarshal([]byte(w.expect(0, "inboxes", "--json").stdout), &c); err != nil {
		w.Fatal(err)
	}
	for _, i := range c.Inboxes {
		rows = append(rows, fmt.Sprintf("%s %s %v", i.Inbox, i.Access, i.Expected == nil || *i.Expected))
	}
	return rows, c
}

func (w *world) wantCoverage(want ...string) covered {
	w.Helper()
	rows, c := w.coverage()
	if d := cmp.Diff(want, rows); d != "" {
		w.Errorf("coverage: -want +got\n%s", d)
	}
	return c
}

func (w *world) writeRoster(text string) {
	w.Helper()
	file := filepath.Join(w.dir, "roster.csv")
	w.org["roster_file"] = file
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// TestRevoked wants one of three inboxes to fail alone, with the remedy, until its user has logged in again.
func TestRevoked(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben", "cleo")
	anna, ben, cleo := users[0], users[1], users[2]
	w.writeRoster("anna,anna@example.com\nben,ben@example.com\ndora,dora@example.com\n")
	w.login(state.Token{}, users...)
	w.once(0)
	ben.RevokeTokens()
	for _, user := range users {
		user.Add(genesystest.Recording{ID: user.ID + "-new"})
	}
	const remedy = "archiverd login --org acme --inbox ben"
	if r := w.once(0); !strings.Contains(r.stdout, remedy) {
		t.Errorf("the run does not tell the remedy: %s", r)
	}
	w.wantArchived(all(anna), some(ben, "ben-r000", "ben-r001"), all(cleo))
	c := w.wantCoverage("anna enrolled true", "ben revoked true", "cleo enrolled false", "dora needs_login true")
	if n := c.Totals; n.Inboxes != 4 || n.Expected != 3 || n.NotInRoster != 1 || n.Access["revoked"] != 1 || !strings.Contains(c.Inboxes[1].Reason, remedy) {
		t.Errorf("%+v, reason %q", n, c.Inboxes[1].Reason)
	}
	if r := w.expect(0, "inboxes"); !strings.Contains(r.stdout, remedy+"\n") || !strings.Contains(r.stdout, "4 inboxes, 2 enrolled, 1 needs_login, 1 revoked; 3 expected by the roster, 1 not in it") {
		t.Errorf("inboxes says %s", r)
	}
	l := w.startLogin("--inbox", "ben")
	w.browse(l.address, ben, true)
	l.wantEnd(0)
	w.wantCoverage("anna enrolled true", "ben enrolled true", "cleo enrolled false", "dora needs_login true")
	w.once(0)
	w.wantArchived(all(anna), all(ben), all(cleo))
}

// command makes the organization take its tokens from a shell script, which finds the user's id in $1 and each user's
// token in a file of that name.
func (w *world) command(script string, users ...*genesystest.Inbox) {
	w.Helper()
	w.org["grant"] = "command"
	w.org["token_command"] = []string{"/bin/sh", filepath.Join(w.dir, "broker")}
	for _, user := range users {
		if err := os.WriteFile(filepath.Join(w.dir, user.ID), []byte(user.IssueAccessToken(time.Hour)), 0o600); err != nil {
			w.Fatal(err)
		}
	}
	script = "cd " + w.dir + "\necho $1 >>asked\n" + script + "\nprintf '{\"access_token\": \"%s\", \"token_type\": \"bearer\", \"expires_in\": 3600}' $(cat $1)\n"
	if err := os.WriteFile(filepath.Join(w.dir, "broker"), []byte(script), 0o600); err != nil {
		w.Fatal(err)
	}
}

// TestTokenCommand archives the roster's inboxes; who fails, fails alone; who leaves is not touched any more.
func TestTokenCommand(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben", "cleo", "dora", "emil")
	anna, ben, cleo, dora, emil := users[0], users[1], users[2], users[3], users[4]
	w.writeRoster("anna,anna@example.com\nben,ben@example.com\ncleo,cleo@example.com\ndora,dora@example.com\nnobody,n@example.com\n")
	w.command(`case $1 in
ben) echo "the vault is sealed for $(cat ben)" >&2; printf '{"access_token": "%s", "expires_in": 3600}' $(cat ben); exit 1 ;;
cleo) echo "<html>"; exit 0 ;;
nobody) echo "no such user" >&2; exit 3 ;;
esac`, users...)
	dora.AnswerMe("anna") // the broker mixes up its users
	r := w.once(3)
	for _, says := range []string{"exit status 1", "the vault is sealed for [redacted]", "did not print one JSON object", "no such user"} {
		if !strings.Contains(r.stdout, says) {
			t.Errorf("the run does not say %q: %s", says, r)
		}
	}
	if n := w.asked(dora, ""); n != 0 {
		t.Errorf("another user's token was used %d times", n)
	}
	w.wantArchived(all(anna))
	for _, m := range w.archive().manifests {
		if m.User.Email != "anna@example.com" {
			t.Errorf("%s has the user %v", m.key, m.User)
		}
	}
	for _, id := range []string{"anna", "ben", "cleo", "dora", "nobody"} {
		if n := strings.Count(w.askedFor(), id+"\n"); n != 1 {
			t.Errorf("the command ran %d times for %s", n, id)
		}
	}
	if r := w.expect(2, "login"); !strings.Contains(r.stderr, "grant: command") {
		t.Errorf("login says %s", r)
	}

	// ben's vault opens, anna leaves, emil joins, dora's broker is mended.
	w.command("", ben, cleo, dora, emil)
	dora.AnswerMe("")
	w.writeRoster("ben,ben@example.com\ncleo,cleo@example.com\ndora,dora@example.com\nemil,emil@example.com\n")
	before := w.asked(anna, "")
	anna.Add(genesystest.Recording{ID: "after-leaving"})
	w.once(0)
	if w.asked(anna, "") != before {
		t.Error("the inbox of who left was asked for")
	}
	w.wantArchived(some(anna, "anna-r000", "anna-r001"), all(ben), all(cleo), all(dora), all(emil))
	w.wantCoverage("anna left false", "ben enrolled true", "cleo enrolled true", "dora enrolled true", "emil enrolled true", "nobody left false")
	asked := w.askedFor()
	w.once(0)
	if w.askedFor() != asked {
		t.Error("the command ran though the tokens were good")
	}
}

func (w *world) askedFor() string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, "asked"))
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// TestTokenCommandHangs wants a stop not to wait for a command, nor the command to outlive it.
func TestTokenCommandHangs(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna")
	w.writeRoster("anna,anna@example.com\n")
	w.config["shutdown_grace"] = "0s"
	pipe := filepath.Join(w.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	w.command("exec 3>pipe; sleep 1000 & wait", users...)
	p := w.start("run", "--once")
	opened, err := os.Open(pipe) // returns when the command has opened its end
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	p.terminate(t)
	if r := p.wait(); r.code != 5 {
		t.Errorf("want exit code 5, got %s", r)
	}
	if _, err := io.ReadAll(opened); err != nil { // ends when all that the command started is gone
		t.Error(err)
	}
}

// TestRosterFaults wants a faulty roster refused before anything is started.
func TestRosterFaults(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna")
	w.writeRoster("anna,anna@example.com\nanna,again@example.com\n--all,x@example.com\n")
	w.command("", users...)
	for _, args := range [][]string{{"run", "--once"}, {"config", "check"}, {"inboxes"}} {
		r := w.expect(2, args...)
		if !strings.Contains(r.stderr, "roster_file") || !strings.Contains(r.stderr, "line 2: this user is already on line 1") || !strings.Contains(r.stderr, "line 3: want a user id") {
			t.Errorf("%q says %s", args, r)
		}
	}
	if n := len(w.cloud.Events()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestClientSecretReplaced wants the whole organization to wait for its new secret, and no refresh token to be lost over it.
func TestClientSecretReplaced(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben")
	w.login(state.Token{}, users...)
	w.cloud.Configure(func(o *genesystest.Options) { o.ClientSecret = "replaced" })
	if r := w.once(4); !strings.Contains(r.stdout, "check client_id and client_secret; a secret replaced in its file is read again") {
		t.Errorf("the run does not tell the remedy: %s", r)
	}
	w.org["client_secret"] = "replaced"
	w.once(0)
	w.wantArchived(all(users[0]), all(users[1]))
	w.noneSpent()
}

// TestLoginWhileServing logs in through the service that holds the ledger.
func TestLoginWhileServing(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben")
	anna, ben := users[0], users[1]
	w.login(state.Token{}, ben)
	w.config["schedule"] = map[string]any{"cron": "@every 1s", "timezone": "UTC"}
	service := w.start("run")
	w.await(opSummary, 1) // it runs, so it answers
	l := w.startLogin()
	w.browse(l.address, anna, true)
	l.wantEnd(0, "acme/anna")
	file := filepath.Join(w.dir, "token")
	if err := os.WriteFile(file, []byte("\ufeff"+ben.IssueRefreshToken()+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ben.RevokeAccess() // as the refresh token that the service holds would be
	if r := w.expect(0, "login", "--import", "token"); !strings.Contains(r.stdout, "acme/ben") {
		t.Errorf("import says %s", r)
	}
	for _, inbox := range []*genesystest.Inbox{anna, ben} { // a whole pass after the logins
		text := `"msg":"pass done","org":"acme","inbox":"` + inbox.ID + `"`
		if !service.stderr.await(text, strings.Count(service.stderr.String(), text)+2, service.ended) {
			t.Fatalf("the service ended before a pass over the inbox of %s did", inbox.ID)
		}
	}
	service.terminate(t)
	if r := service.wait(); r.code != 0 {
		t.Errorf("the service ended with %s", r)
	}
	w.wantArchived(all(anna), all(ben))
	w.noneSpent()
}
