package genesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"
)

const redacted = "[redacted]"

// Token gives access to one inbox. Printing, logging and marshalling a Token redact all of it; a store has to save its
// fields one by one.
type Token struct {
	Access, Refresh string    // Refresh is spent by its first use (documented); "" with client credentials
	Expiry          time.Time // of Access, by the local clock
	Confirmed       bool      // users/me named the inbox's user since the last renewal
}

func (Token) String() string               { return redacted }
func (Token) GoString() string             { return redacted }
func (Token) Format(s fmt.State, _ rune)   { io.WriteString(s, redacted) }
func (Token) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// ErrOtherToken is SaveToken's error if the store no longer holds the token that LoadToken last returned or SaveToken last
// stored: a user has logged in meanwhile.
var ErrOtherToken = errors.New("another token was stored meanwhile")

// TokenStore keeps the token of one inbox. The client calls it from one goroutine at a time, before and after each renewal.
// A token that a login or another process stores meanwhile is used from the next renewal on.
type TokenStore interface {
	LoadToken(context.Context) (Token, error) // the zero Token: there is none
	SaveToken(context.Context, Token) error   // durable once it returns nil; ErrOtherToken stores nothing
}

// ErrTokenClaimed: another process may be renewing the token. TokensOptions.Alone returns it.
var ErrTokenClaimed error = permanent("another process may renew the inbox's token")

// Grants. The first two names are Genesys'.
const (
	GrantClientCredentials = "client_credentials"
	GrantAuthorizationCode = "authorization_code"
	GrantCommand           = "command" // a program gets the user's token, by any grant
)

// TokensOptions says whose tokens these are and how to get them.
type TokensOptions struct {
	LoginURL, ClientID, ClientSecret string
	Grant                            string
	UserID                           string  // whose inbox it is; "" with GrantClientCredentials
	Command                          Command // with GrantCommand
	Store                            TokenStore
	// Alone calls renew while no other process that uses the store renews the token. If another process keeps this one from
	// it, Alone returns ErrTokenClaimed and calls nothing. nil: no other process uses the store.
	Alone     func(ctx context.Context, renew func() error) error
	Transport http.RoundTripper
	// Again reads ClientSecret again when Genesys refuses the client; nil: it is not read again.
	Again func() (clientSecret string, err error)
}

// Format prints o without the secret, whatever the verb.
func (o TokensOptions) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "tokens of client %s at %s, user %q", o.ClientID, o.LoginURL, o.UserID)
}

// LogValue returns o without the secret.
func (o TokensOptions) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(o)) }
