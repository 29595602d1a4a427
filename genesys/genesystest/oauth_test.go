package genesystest

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// trust makes the client accept the Cloud's certificate.
func (w *world) trust() {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(w.CertificatePEM())
	w.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
}

// grant asks for tokens with pairs of parameters.
func (w *world) grant(id, secret string, form ...string) answer {
	w.Helper()
	q := url.Values{}
	for i := 0; i < len(form); i += 2 {
		q.Set(form[i], form[i+1])
	}
	r, err := http.NewRequest("POST", w.LoginURL()+"/oauth/token", strings.NewReader(q.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(id, secret)
	}
	return w.do(r)
}

func (w *world) granted(a answer) (access, refresh string) {
	w.Helper()
	if a.status != 200 {
		w.Fatalf("no token: %d %s", a.status, a.body)
	}
	m := a.json(w.T)
	access, _ = m["access_token"].(string)
	refresh, _ = m["refresh_token"].(string)
	return access, refresh
}

func (w *world) denied(a answer, status int, code string) {
	w.Helper()
	m := a.json(w.T)
	if a.status != status || m["error"] != code || m["description"] == nil || m["error_description"] == nil {
		w.Errorf("%d %s, want %d %s", a.status, a.body, status, code)
	}
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t, Options{AccessTokenLife: 300 * time.Second})
	w.ClientInbox().Add(Recording{ID: "c"})
	a := w.grant("client", "secret", "grant_type", "client_credentials")
	access, refresh := w.granted(a)
	if refresh != "" || a.json(t)["expires_in"] != 300.0 {
		t.Errorf("%s", a.body)
	}
	w.token = access
	if _, ids := w.page(""); len(ids) != 1 {
		t.Errorf("client's inbox: %v", ids)
	}
	w.refused(w.get("/api/v2/users/me"), 400, "bad.request")
	w.Configure(func(o *Options) { o.RefuseClient = true })
	w.refused(w.get("/api/v2/userrecordings"), 403, "not.authorized")
	w.denied(w.grant("client", "wrong", "grant_type", "client_credentials"), 401, "invalid_client")
	w.denied(w.grant("", "", "grant_type", "client_credentials"), 401, "invalid_client")
	w.denied(w.grant("client", "secret", "grant_type", "password"), 400, "unsupported_grant_type")
	w.noViolations()
}

func TestCodeAndPKCE(t *testing.T) {
	w := newWorld(t, Options{})
	const uri = "http://127.0.0.1:8085/callback"
	sum := sha256.Sum256([]byte("verifier"))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	redeem := func(id, code string, more ...string) answer {
		return w.grant(id, "secret", append([]string{"grant_type", "authorization_code", "code", code}, more...)...)
	}
	plain := w.inbox.IssueCode(Code{RedirectURI: uri})
	access, refresh := w.granted(redeem("client", plain, "redirect_uri", uri))
	if refresh == "" {
		t.Error("no refresh token")
	}
	w.token = access
	if m := w.get("/api/v2/users/me").json(t); m["id"] != "u-1" {
		t.Error(m)
	}
	w.denied(redeem("client", plain, "redirect_uri", uri), 400, "invalid_grant") // used
	w.denied(redeem("client", "unknown"), 400, "invalid_grant")
	w.denied(redeem("client", w.inbox.IssueCode(Code{RedirectURI: uri}), "redirect_uri", "http://other"), 400, "invalid_grant")
	w.denied(redeem("client", w.inbox.IssueCode(Code{Challenge: challenge})), 400, "invalid_grant")
	w.denied(redeem("client", w.inbox.IssueCode(Code{Challenge: challenge}), "code_verifier", "other"), 400, "invalid_grant")
	w.granted(redeem("client", w.inbox.IssueCode(Code{Challenge: challenge}), "code_verifier", "verifier"))
	public := []string{"client_id", "client", "code_verifier", "verifier"}
	if _, refresh := w.granted(redeem("", w.inbox.IssueCode(Code{Challenge: challenge}), public...)); refresh != "" {
		t.Error("a public client has a refresh token")
	}
	w.denied(redeem("", w.inbox.IssueCode(Code{}), public...), 400, "invalid_grant")
	w.noViolations()
}

func TestRotation(t *testing.T) {
	w := newWorld(t, Options{})
	first := w.inbox.IssueRefreshToken()
	renew := func(token string) answer {
		return w.grant("client", "secret", "grant_type", "refresh_token", "refresh_token", token)
	}
	_, second := w.granted(renew(first))
	w.denied(renew(first), 400, "invalid_grant")
	events := w.Events()
	if e := events[len(events)-1]; e.Inbox != "u-1" || len(e.Notes) != 1 || e.Notes[0] != "spent refresh token" {
		t.Errorf("event %+v", e)
	}
	_, third := w.granted(renew(second)) // reuse of the first harms nobody
	w.Inject(Fault{Op: "oauth_token", Inbox: "u-1", Effect: LoseReply()})
	if a := renew(third); a.err == nil {
		t.Errorf("a reply: %d", a.status)
	}
	w.denied(renew(third), 400, "invalid_grant") // the lost reply had the next one
	fourth := w.inbox.IssueRefreshToken()
	w.inbox.RevokeTokens()
	w.denied(renew(fourth), 400, "invalid_grant")
	w.wantViolations(1) // the token sent twice
}

func TestExpiryAndRevocation(t *testing.T) {
	w := newWorld(t, Options{})
	w.token = ""
	w.refused(w.get("/api/v2/users/me"), 401, "bad.credentials")
	w.token = w.inbox.IssueAccessToken(time.Minute)
	w.clock.advance(time.Minute - 1)
	w.get("/api/v2/users/me").json(t)
	w.clock.advance(1)
	w.refused(w.get("/api/v2/users/me"), 401, "bad.credentials")
	w.token = w.inbox.IssueAccessToken(time.Minute)
	refresh := w.inbox.IssueRefreshToken()
	w.inbox.RevokeAccess()
	w.refused(w.get("/api/v2/users/me"), 401, "bad.credentials")
	w.refused(w.fetch(w.APIURL()+"/api/v2/users/me"), 401, "authentication.required")
	w.granted(w.grant("client", "secret", "grant_type", "refresh_token", "refresh_token", refresh))
	w.noViolations()
}
