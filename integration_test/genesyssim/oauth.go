package genesyssim

import (
	"crypto/sha256"
	"encoding/base64"
	"mime"
	"net/http"
	"net/url"
	"time"
)

type accessToken struct {
	inbox   *Inbox
	client  bool // from client credentials
	expires time.Time
	revoked bool
}

type refreshToken struct {
	inbox          *Inbox
	spent, revoked bool
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

// IssueCode gives a code as if the inbox's user had just logged in.
func (i *Inbox) IssueCode(code Code) string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	id := newToken()
	i.cloud.codes[id] = &authCode{Code: code, inbox: i}
	return id
}

// IssueRefreshToken gives a refresh token without a request.
func (i *Inbox) IssueRefreshToken() string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	return i.newRefresh()
}

// IssueAccessToken gives an access token, a user's except for the client's inbox, without a request.
func (i *Inbox) IssueAccessToken(life time.Duration) string {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	return i.newAccess(life)
}

// RevokeTokens makes all tokens of the inbox worthless, as a changed password does.
func (i *Inbox) RevokeTokens() {
	i.RevokeAccess()
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	for _, t := range i.cloud.refresh {
		t.revoked = t.revoked || t.inbox == i
	}
}

// RevokeAccess makes the access tokens of the inbox worthless.
func (i *Inbox) RevokeAccess() {
	i.cloud.mu.Lock()
	defer i.cloud.mu.Unlock()
	for _, t := range i.cloud.access {
		t.revoked = t.revoked || t.inbox == i
	}
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

func (c *Cloud) serveLogin(w http.ResponseWriter, r *http.Request) {
	x := c.newCall(w, r)
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
}

// grantee is the inbox that the request's grant leads to; nil: none.
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

// sameCredential takes a credential form-encoded, as RFC 6749 has it, or plain, as many clients send it.
func sameCredential(got, want string) bool { return got == want || got == url.QueryEscape(want) }

func (x *call) redeem(form url.Values, confidential bool) reply {
	x.c.mu.Lock()
	code := x.c.codes[form.Get("code")]
	ok := code != nil && !code.spent && code.RedirectURI == form.Get("redirect_uri") && code.verified(form.Get("code_verifier"), confidential)
	if code != nil {
		code.spent = true // also by a failed try
	}
	x.c.mu.Unlock()
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_grant", "authorization code is invalid, expired or used")
	}
	return x.issue(confidential)
}

// verified checks a PKCE verifier. A public client has to have one.
func (c *authCode) verified(verifier string, confidential bool) bool {
	if c.Challenge == "" {
		return confidential
	}
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == c.Challenge
}

// rotate spends a refresh token for the next.
func (x *call) rotate(token string) reply {
	x.c.mu.Lock()
	t := x.c.refresh[token]
	ok := t != nil && !t.spent && !t.revoked
	reused := t != nil && t.spent
	if t != nil {
		t.spent = true
	}
	x.c.mu.Unlock()
	if reused {
		x.note("spent refresh token")
	}
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_grant", "refresh token is invalid, expired or used")
	}
	return x.issue(true)
}

// issue answers new tokens for the call's inbox.
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
