package genesystest

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

type accessToken struct {
	inbox   *Inbox
	client  bool // from client credentials
	expires time.Time
	revoked bool
	named   string // the user that users/me named for it
}

type refreshToken struct {
	inbox          *Inbox
	spent, revoked bool
	answered       bool // the client got the next token, so it must not send this one again
}

// Code is an authorization code to be issued.
type Code struct {
	RedirectURI string // what the token request must repeat
	Challenge   string // PKCE, S256; "": none
}

type authCode struct {
	Code
	inbox *Inbox
	spent bool
}

// IssueCode returns a code as if the inbox's user had just logged in.
func (i *Inbox) IssueCode(code Code) string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	id := newToken()
	i.cloud.codes[id] = &authCode{Code: code, inbox: i}
	return id
}

// IssueRefreshToken returns a refresh token without a request.
func (i *Inbox) IssueRefreshToken() string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	return i.newRefresh()
}

// IssueAccessToken returns an access token without a request: a user's token, or the client's for the client's inbox.
func (i *Inbox) IssueAccessToken(life time.Duration) string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	return i.newAccess(life)
}

// RevokeTokens revokes all tokens of the inbox, as a changed password does.
func (i *Inbox) RevokeTokens() {
	i.RevokeAccess()
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	for _, t := range i.cloud.refresh {
		t.revoked = t.revoked || t.inbox == i
	}
}

// RevokeAccess revokes the access tokens of the inbox.
func (i *Inbox) RevokeAccess() {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	for _, t := range i.cloud.access {
		t.revoked = t.revoked || t.inbox == i
	}
}

// Secrets returns all tokens, codes and signatures of links that were ever issued: no output may contain one.
func (c *Cloud) Secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Collect(maps.Keys(c.access))
	all = slices.AppendSeq(all, maps.Keys(c.refresh))
	for _, l := range c.links {
		all = append(all, l.signature)
	}
	return slices.AppendSeq(all, maps.Keys(c.codes))
}

func (i *Inbox) newRefresh() string {
	token := newToken()
	i.cloud.refresh[token] = &refreshToken{inbox: i}
	return token
}

func (i *Inbox) newAccess(life time.Duration) string {
	token := newToken()
	i.cloud.access[token] = &accessToken{inbox: i, client: i == i.cloud.client, expires: i.cloud.opts.Now().Add(life)}
	return token
}

func newToken() string { return newID() + newID() }

// UserCookie tells the login page the user of a browser: its value is the inbox's id. Real browsers have a session.
const UserCookie = "user"

// authorize is the login page of a user who agrees: it redirects to the client with a code.
func (x *call) authorize() reply {
	redirect, err := url.Parse(x.query.Get("redirect_uri"))
	if err != nil || x.query.Get("client_id") != x.o.ClientID || x.query.Get("response_type") != "code" || x.query.Get("redirect_uri") != x.o.RedirectURI {
		return oauthError(http.StatusBadRequest, "invalid_request", "no such client, or not its redirect")
	}
	if m := x.query.Get("code_challenge_method"); m != "S256" && x.query.Get("code_challenge") != "" {
		return oauthError(http.StatusBadRequest, "invalid_request", "the challenge is not S256")
	}
	q := url.Values{"state": {x.query.Get("state")}}
	switch {
	case x.inbox == nil:
		return oauthError(http.StatusUnauthorized, "login_required", "nobody is logged in to this browser")
	case x.o.RefuseLogin:
		q.Set("error", "access_denied")
		q.Set("error_description", "The user did not agree.")
	default:
		q.Set("code", x.inbox.IssueCode(Code{RedirectURI: x.query.Get("redirect_uri"), Challenge: x.query.Get("code_challenge")}))
	}
	redirect.RawQuery = q.Encode()
	return reply{status: http.StatusFound, header: http.Header{"Location": {redirect.String()}}}
}

func (x *call) serveAuthorize(w http.ResponseWriter) {
	x.op = opAuthorize
	if cookie, err := x.r.Cookie(UserCookie); err == nil {
		x.c.mu.Lock()
		x.inbox = x.c.inboxes[cookie.Value]
		x.c.mu.Unlock()
	}
	w, done := x.begin(w, "browser")
	defer done()
	x.underFault(w, func(w http.ResponseWriter) { x.authorize().send(w) })
}

func (c *Cloud) serveLogin(w http.ResponseWriter, r *http.Request) {
	x := c.newCall(w, r)
	if r.Method == http.MethodGet && r.URL.Path == "/oauth/authorize" {
		x.serveAuthorize(w)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/oauth/token" {
		c.violate("%s %s: the login service has no such operation", r.Method, r.URL.Path)
		noSuchPath().send(w)
		return
	}
	x.op = opToken
	form, err := url.ParseQuery(string(x.body))
	x.inbox = c.grantee(form)
	w, done := x.begin(w, "login "+x.inboxID())
	defer done()
	x.underFault(w, func(w http.ResponseWriter) {
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
			oauthError(http.StatusBadRequest, "invalid_request", "the body is no form").send(w)
			return
		}
		x.token(form).send(w)
	})
	x.answered(form.Get("refresh_token"))
}

// answered notes a refresh token whose successor reached the client.
func (x *call) answered(token string) {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	if t, e := x.c.refresh[token], x.c.events[x.event]; t != nil && e.Status == http.StatusOK && e.Fault == "" {
		t.answered = true
	}
}

// grantee returns the inbox that the request's grant gives access to, or nil.
func (c *Cloud) grantee(form url.Values) *Inbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch form.Get("grant_type") {
	case "client_credentials":
		return c.client
	case "authorization_code":
		if code := c.codes[form.Get("code")]; code != nil {
			return code.inbox
		}
	case "refresh_token":
		if t := c.refresh[form.Get("refresh_token")]; t != nil {
			return t.inbox
		}
	}
	return nil
}

func (x *call) token(form url.Values) reply {
	id, secret, basic := x.r.BasicAuth()
	confidential := basic && sameCredential(id, x.o.ClientID) && sameCredential(secret, x.o.ClientSecret)
	public := !basic && form.Get("grant_type") == "authorization_code" && form.Get("code_verifier") != "" && form.Get("client_id") == x.o.ClientID
	if !confidential && !public {
		return oauthError(http.StatusUnauthorized, "invalid_client", "client not found or invalid client secret")
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		return x.issue(false)
	case "authorization_code":
		return x.redeem(form, confidential)
	case "refresh_token":
		return x.rotate(form.Get("refresh_token"))
	}
	return oauthError(http.StatusBadRequest, "unsupported_grant_type", "unsupported grant type")
}

// sameCredential accepts a credential form-encoded, as RFC 6749 wants it, or plain, as many clients send it.
func sameCredential(got, want string) bool { return got == want || got == url.QueryEscape(want) }

func (x *call) redeem(form url.Values, confidential bool) reply {
	x.c.mu.Lock()
	code := x.c.codes[form.Get("code")]
	ok := code != nil && !code.spent && code.RedirectURI == form.Get("redirect_uri") && code.verified(form.Get("code_verifier"), confidential)
	if code != nil {
		code.spent = true // even if the request fails
	}
	x.c.mu.Unlock()
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_grant", "authorization code is invalid, expired or used")
	}
	return x.issue(confidential)
}

// verified checks a PKCE verifier. A public client has to send one.
func (c *authCode) verified(verifier string, confidential bool) bool {
	if c.Challenge == "" {
		return confidential
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == c.Challenge
}

// rotate exchanges a refresh token for the next one.
func (x *call) rotate(token string) reply {
	x.c.mu.Lock()
	t := x.c.refresh[token]
	ok := t != nil && !t.spent && !t.revoked
	reused, inexcusable := t != nil && t.spent, t != nil && t.answered
	if t != nil {
		t.spent = true
	}
	x.c.mu.Unlock()
	if reused {
		x.note("spent refresh token")
	}
	if inexcusable {
		x.c.violate("inbox %s: a refresh token that was answered with the next was sent again", t.inbox.ID)
	}
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_grant", "refresh token is invalid, expired or used")
	}
	return x.issue(true)
}

// issue answers with new tokens for the call's inbox.
func (x *call) issue(refresh bool) reply {
	x.c.mu.Lock()
	defer x.c.mu.Unlock()
	m := map[string]any{
		"access_token": x.inbox.newAccess(x.o.AccessTokenLife), "token_type": "bearer",
		"expires_in": int(x.o.AccessTokenLife / time.Second),
	}
	if refresh && !x.o.NoRefreshTokens {
		m["refresh_token"] = x.inbox.newRefresh()
	}
	p := jsonReply(http.StatusOK, m)
	p.header.Set("Cache-Control", "no-store")
	return p
}

func oauthError(status int, code, description string) reply {
	return jsonReply(status, map[string]string{"error": code, "description": description, "error_description": description})
}
