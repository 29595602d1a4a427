package genesys

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a token command in the shell; the user's id is its $1.
func script(text string) Command {
	return Command{Argv: []string{"/bin/sh", "-c", text, "broker"}, Timeout: time.Minute}
}

func TestCommand(t *testing.T) {
	n, err := script(`printf '{"access_token": "tok-%s", "expires_in": "3600", "refresh_token": "not ours"}' $1`).run(t.Context(), "user-1", nil)
	if err != nil || n.Access != "tok-user-1" || n.Refresh != "" || n.Confirmed || time.Until(n.Expiry).Round(time.Minute) != time.Hour {
		t.Errorf("access %q, refresh %q, confirmed %v, expiry %v: %v", n.Access, n.Refresh, n.Confirmed, n.Expiry, err)
	}
}

// TestCommandAsBrokersAre wants the token read from odd output, as long as only one token can be meant.
func TestCommandAsBrokersAre(t *testing.T) {
	for name, tt := range map[string]struct {
		output string
		life   time.Duration
	}{
		"byte order mark": {"\ufeff{\"access_token\": \"tok\", \"expires_in\": 3600}\r\n", time.Hour},
		"a warning":       {"WARN: {old} client, no \"cache\"\n{\"access_token\": \"tok\", \"expires_in\": 3600}\n", time.Hour},
		"a log in JSON":   {`{"level":"warn"}` + "\n\n{\n  \"access_token\": \"tok\",\n  \"scope\": {\n\"a\": 1},\n  \"expires_in\": 3600\n}", time.Hour},
		"no life":         {`{"access_token": "tok"}`, unknownLife},
		"life null":       {`{"access_token": "tok", "expires_in": null}`, unknownLife},
		"Bearer":          {`{"access_token": "Bearer tok", "expires_in": 3600}`, time.Hour},
		"bearer, spaces":  {`{"access_token": " bearer  tok\n", "expires_in": 3600}`, time.Hour},
	} {
		now := time.Now()
		n, err := parseGiven([]byte(tt.output), now)
		if err != nil || n.Access != "tok" || n.Expiry.Sub(now) != tt.life {
			t.Errorf("%s: access %q for %v, %v", name, n.Access, n.Expiry.Sub(now), err)
		}
	}
}

// TestCommandFaults wants each failure reported without a secret.
func TestCommandFaults(t *testing.T) {
	const good = `{"access_token": "tok-secret", "expires_in": 3600}`
	hanging := script(`echo "waits for the vault" >&2; sleep 1000 & wait`)
	chatty := script(`exec yes`)
	hanging.Timeout, chatty.Timeout = 100*time.Millisecond, 100*time.Millisecond
	for name, tt := range map[string]struct {
		command Command
		want    string
	}{
		"hangs":       {hanging, "did not end within 100ms"},
		"chatters":    {chatty, "did not end within 100ms"},
		"exit status": {script(`echo '` + good + `'; echo "boo: s3cret and tok-secret" >&2; exit 7`), "boo: [redacted] and [redacted]: the token command gave no token: exit status 7"},
		"too much":    {script(`head -c 100000 /dev/zero`), "it printed more than 64 KiB"},
		"nothing":     {script(`:`), "it did not print one JSON object"},
		"no JSON":     {script(`echo '<html>tok-secret'`), "it did not print one JSON object"},
		"two objects": {script(`echo '` + good + good + `'`), "it did not print one JSON object"},
		"no token":    {script(`echo '{"expires_in": 3600}'`), "it printed no access_token that can be sent"},
		"line break":  {script(`echo '{"access_token": "tok-secret\u000aX: y", "expires_in": 3600}'`), "it printed no access_token that can be sent"},
		"odd life":    {script(`echo '{"access_token": "tok-secret", "expires_in": "soon"}'`), "its expires_in is not a number of seconds above 60"},
		"two tokens":  {script(`echo '` + good + `'; echo '` + good + `'`), "it did not print one JSON object"},
		"two words":   {script(`echo '{"access_token": "Bearer tok-secret x", "expires_in": 3600}'`), "it printed no access_token that can be sent"},
		"text after":  {script(`echo '` + good + `'; echo done`), "it did not print one JSON object"},
		"UTF-16":      {script(`printf '\377\376{\000"\000'`), "it printed UTF-16, or no text at all: have it print UTF-8"},
		"short life":  {script(`echo '{"access_token": "tok-secret", "expires_in": 60}'`), "its expires_in is not a number of seconds above 60"},
		"no program":  {Command{Argv: []string{"/no/such/broker"}}, "no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, err := tt.command.run(t.Context(), "user-1", []string{"s3cret"})
			e := asError(t, err)
			if n != (Token{}) || !errors.Is(err, ErrTokenCommand) || e.Temporary() || !strings.Contains(err.Error(), tt.want) ||
				strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestCommandIsLeftAlone wants a failing command to run once, however many requests wait for a token, and a good command to
// run again only when its token is no longer accepted.
func TestCommandIsLeftAlone(t *testing.T) {
	p := newPlatform(t)
	p.store.token = Token{}
	file := filepath.Join(t.TempDir(), "ran")
	byCommand := func(text string) func(*TokensOptions) {
		return func(o *TokensOptions) {
			o.Grant, o.Command = GrantCommand, script("echo ran >>"+file+"\n"+text)
		}
	}
	ran := func(want int) {
		t.Helper()
		text, err := os.ReadFile(file)
		if n := strings.Count(string(text), "ran"); err != nil || n != want {
			t.Errorf("the command ran %d times, want %d (%v)", n, want, err)
		}
	}
	c := p.client(byCommand("exit 1"))
	for range 3 {
		if _, err := c.Summary(t.Context()); !errors.Is(err, ErrTokenCommand) {
			t.Errorf("got %v", err)
		}
	}
	ran(1)
	c.tokens.since = time.Now().Add(-commandPause)
	if _, err := c.Summary(t.Context()); !errors.Is(err, ErrTokenCommand) {
		t.Errorf("got %v", err)
	}
	ran(2)
	c = p.client(byCommand(`echo '{"access_token": "A0", "expires_in": 3600}'`))
	for range 3 {
		if _, err := c.Summary(t.Context()); err != nil {
			t.Error(err)
		}
	}
	ran(3)
	p.revoke()
	if _, err := c.Summary(t.Context()); asError(t, err).Status != 401 {
		t.Errorf("got %v", err)
	}
	ran(4)
}

// TestLoginMendsWrongUser wants the token of another login used without a new process.
func TestLoginMendsWrongUser(t *testing.T) {
	p := newPlatform(t)
	good := p.me
	p.me = func(w http.ResponseWriter) { io.WriteString(w, `{"id":"user-2"}`) }
	c := p.client()
	for range 2 {
		if _, err := c.Summary(t.Context()); !errors.Is(err, ErrWrongUser) {
			t.Errorf("got %v", err)
		}
	}
	p.me = good
	if _, err := c.Summary(t.Context()); !errors.Is(err, ErrWrongUser) {
		t.Errorf("without a login: %v", err)
	}
	p.store.token = Token{Refresh: p.refresh} // as a login stores it
	p.store.token.Access, p.store.token.Expiry = p.access, time.Now().Add(time.Hour)
	p.store.before = append(p.store.before, p.access)
	p.refresh, p.store.token.Refresh = "R-new", "R-new"
	if _, err := c.Summary(t.Context()); err != nil {
		t.Errorf("after a login: %v", err)
	}
}

// TestLoginState wants no request sent for an answer to another login.
func TestLoginState(t *testing.T) {
	p := newPlatform(t)
	o := LoginOptions{APIURL: "https://api.test", LoginURL: "https://login.test", ClientID: "client", ClientSecret: "s3cret",
		RedirectURL: "http://127.0.0.1:8085/callback", Transport: inProcess{p}}
	l, other := NewLogin(o), NewLogin(o)
	address, err := url.Parse(l.URL())
	if err != nil {
		t.Fatal(err)
	}
	q := address.Query()
	if q.Get("state") == "" || q.Get("code_challenge") == "" || q.Get("code_challenge_method") != "S256" || q.Get("redirect_uri") != o.RedirectURL || l.URL() == other.URL() {
		t.Errorf("the address is %s", address)
	}
	for _, answer := range []url.Values{{}, {"code": {"c"}}, {"code": {"c"}, "state": {"x"}}, {"error": {"access_denied"}, "state": {""}}} {
		if _, err := other.Redeem(t.Context(), answer); !errors.Is(err, ErrNotThisLogin) {
			t.Errorf("%v: %v", answer, err)
		}
	}
	if _, err := other.Redeem(t.Context(), url.Values{"code": {"c"}, "state": {q.Get("state")}}); !errors.Is(err, ErrNotThisLogin) {
		t.Errorf("another login's state: %v", err)
	}
	wantEvents(t, p)
	if _, err := l.Redeem(t.Context(), url.Values{"code": {"c"}, "state": {q.Get("state")}}); !errors.Is(err, ErrNoRefreshToken) {
		t.Errorf("an access token alone: %v", err)
	}
}
