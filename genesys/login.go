package genesys

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// LoginOptions say which client a user authorizes. All but UserAgent are required.
type LoginOptions struct {
	APIURL, LoginURL       string
	ClientID, ClientSecret string
	RedirectURL            string // as registered for the client, byte for byte
	Transport              http.RoundTripper
	UserAgent              string
}

// Login is one login of one user. URL is the page where the user logs in; Redeem exchanges the answer for a token. It sends
// only the requests that its methods name, within a budget of its own, and stores nothing.
type Login struct {
	host            loginHost
	redirectURL     string
	state, verifier string
}

// The reasons why an answer gives no token; test with errors.Is.
var (
	// ErrNotThisLogin: the answer carries another login's state, and may be forged. It was not used.
	ErrNotThisLogin error = permanent("this is not the answer to the login that was begun here")
	// ErrNoRefreshToken: Genesys gave only an access token, valid for a day at most.
	ErrNoRefreshToken error = permanent("Genesys gave no refresh token")
)

const opAuthorize = "oauth_authorize"

// NewLogin begins a login. Its state and PKCE verifier are random, so no other login's answer fits it.
func NewLogin(o LoginOptions) *Login {
	s := &sender{
		api: strings.TrimRight(o.APIURL, "/"), transport: o.Transport, userAgent: o.UserAgent, timeout: defaultTimeout,
		budget: NewBudget(60, BudgetState{}),
	}
	return &Login{
		host:        loginHost{url: o.LoginURL, clientID: o.ClientID, clientSecret: o.ClientSecret, transport: o.Transport, sender: s},
		redirectURL: o.RedirectURL,
		state:       oauth2.GenerateVerifier(), // 32 random bytes serve as a state too
		verifier:    oauth2.GenerateVerifier(),
	}
}

// Format prints nothing of the login, whatever the verb.
func (l *Login) Format(s fmt.State, _ rune) { io.WriteString(s, "login "+redacted) }

func (l *Login) oauth() *oauth2.Config {
	c := l.host.oauth()
	c.RedirectURL = l.redirectURL
	return c
}

// URL returns the page where the user logs in and consents.
func (l *Login) URL() string {
	return l.oauth().AuthCodeURL(l.state, oauth2.S256ChallengeOption(l.verifier))
}

// Redeem exchanges the parameters of the redirect for a token. They are valid for one call; ErrNotThisLogin does not use
// them up. A token without a refresh token is ErrNoRefreshToken.
func (l *Login) Redeem(ctx context.Context, answer url.Values) (Token, error) {
	if subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(l.state)) != 1 {
		return Token{}, ErrNotThisLogin
	}
	code := answer.Get("code")
	if refusal := answer.Get("error"); refusal != "" || code == "" {
		return Token{}, &Error{
			Op: opAuthorize, Code: printable(refusal, 100), Message: printable(refusal+": "+answer.Get("error_description"), 500),
			Err: permanent("Genesys refused the login"),
		}
	}
	n, err := l.host.exchange(ctx, func(ctx context.Context) (*oauth2.Token, error) {
		return l.oauth().Exchange(ctx, code, oauth2.VerifierOption(l.verifier))
	}, code, l.verifier)
	if err == nil && n.Refresh == "" {
		err = ErrNoRefreshToken
	}
	return n, err
}

// Import exchanges a refresh token for a token. That spends the refresh token.
func (l *Login) Import(ctx context.Context, refresh string) (Token, error) {
	return l.host.exchange(ctx, l.host.withRefresh(refresh), refresh)
}

// Whose asks users/me whose token n is. It tries up to three times, because without the answer the user has to log in
// again. A client without the scope users:readonly gets 403 (documented).
func (l *Login) Whose(ctx context.Context, n Token) (*User, error) {
	for tries := 1; ; tries++ {
		r, err := l.host.sender.send(ctx, n.Access, meCall)
		if err == nil {
			return parseUser(r)
		}
		if tries == 3 || !AsError(err).Temporary() {
			return nil, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, err
		}
	}
}
