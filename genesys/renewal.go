package genesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	opToken     = "oauth_token"
	spareLife   = 60 * time.Second // an access token with less time left is renewed before it is used
	unknownLife = 5 * time.Minute  // of an access token whose reply has no expires_in: the shortest life that Genesys documents

	claimPause    = time.Second     // between two looks at a token that another process may be renewing
	claimPatience = 2 * time.Minute // for that process: a claim lives for a minute by default if its holder dies
)

// Tokens gives its Client the access token of one inbox, and renews it. It is safe for concurrent use; concurrent callers
// share one renewal.
//
// The write order of a renewal, and what a crash after each step means:
//
//  1. POST to the login host.     The old refresh token is spent and the new one is lost: the user has to log in again.
//     That can only be made unlikely: from here to step 2, cancelling the caller's context has no effect.
//  2. SaveToken, not Confirmed.   The next process loads the token and goes on with step 3.
//  3. GET users/me with it.       As after 2.
//  4. SaveToken, Confirmed.       The next process uses the token as it is.
//
// Client credentials have no user: their token is saved as Confirmed, and steps 3 and 4 are left out. A token command takes
// the place of step 1. It spends nothing, so the caller's context can cancel it.
//
// Where other processes use the store too, only the one that has the claim renews the token; the others wait for the token
// that it saves. Before step 1 it takes the refresh token out of the store: if it dies or stands still after that, no other
// process sends a refresh token that may be spent, and the user has to log in again. A refresh token that Genesys did not
// refuse goes back into the store when the renewal fails.
type Tokens struct {
	o         TokensOptions
	sender    *sender
	turn      chan struct{} // held while the fields below are read or changed
	current   Token
	unsaved   bool  // SaveToken failed for current: keep it, and don't use it before it is saved
	asked     bool  // users/me refused to answer for current
	barred    error // why current must not be used: users/me named another user, or the token command failed
	since     time.Time
	spent     string // the refresh token that Genesys refused with invalid_grant,
	needed    error  // and the error for that
	confirmed atomic.Bool
}

// NewTokens returns the tokens of one inbox. It loads and sends nothing. The Tokens work once NewClient was called with them.
func NewTokens(o TokensOptions) *Tokens {
	t := &Tokens{o: o, turn: make(chan struct{}, 1)}
	t.confirmed.Store(!t.ofUser())
	return t
}

// Format prints nothing of the tokens, whatever the verb.
func (t *Tokens) Format(s fmt.State, _ rune) { io.WriteString(s, "tokens "+redacted) }

func (t *Tokens) ofUser() bool { return t.o.Grant != GrantClientCredentials }

// Confirmed reports whether users/me named the inbox's user since the last renewal; with client credentials it is always
// true. It is false before the first call of the Client, and stays false if users/me answers 403: the token is used
// nevertheless, but no recording may be deleted or recorded as vanished.
func (t *Tokens) Confirmed() bool { return t.confirmed.Load() }

// token returns an access token other than rejected, which the API did not accept ("": any token will do). A saved token is
// used as long as it has 60 s to live. All errors are *Error.
func (t *Tokens) token(ctx context.Context, rejected string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", &Error{Op: opToken, Err: err}
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", &Error{Op: opToken, Err: ctx.Err()}
	}
	for {
		if err := t.bar(ctx); err != nil {
			return "", err
		}
		renewed, err := t.provide(ctx, rejected)
		if err != nil {
			return "", err
		}
		err = t.confirm(ctx)
		if err == nil {
			return t.current.Access, nil
		}
		if renewed || !revoked(err) {
			return "", err
		}
		rejected = t.current.Access // the saved token was revoked
	}
}

// provide sets current to a token that is saved and not rejected, and reports whether it renewed the token.
func (t *Tokens) provide(ctx context.Context, rejected string) (renewed bool, err error) {
	if t.unsaved {
		if err := t.save(ctx, t.current); err != nil {
			return false, err
		}
	}
	if t.usable(rejected) {
		return false, nil
	}
	for began := time.Now(); ; {
		if err := t.look(ctx); err != nil || t.usable(rejected) {
			return false, err
		}
		renewed, err := t.renewAlone(ctx, rejected)
		changing := errors.Is(err, ErrTokenClaimed) || errors.Is(err, ErrOtherToken)
		if !changing || time.Since(began) > claimPatience {
			return renewed, err
		}
		select {
		case <-time.After(claimPause):
		case <-ctx.Done():
			return false, &Error{Op: opToken, Err: ctx.Err()}
		}
	}
}

// renewAlone renews the token while no other process does, unless another one has renewed it.
func (t *Tokens) renewAlone(ctx context.Context, rejected string) (renewed bool, err error) {
	if t.o.Alone == nil {
		return true, t.renew(ctx)
	}
	err = t.o.Alone(ctx, func() error {
		if err := t.look(ctx); err != nil || t.usable(rejected) {
			return err
		}
		renewed = true
		return t.renew(ctx)
	})
	if err != nil && AsError(err) == nil {
		err = &Error{Op: opToken, Err: fmt.Errorf("renew token: %w", err)}
	}
	return renewed, err
}

// look sets current to the token that is saved.
func (t *Tokens) look(ctx context.Context) error {
	saved, err := t.load(ctx)
	if err == nil {
		t.adopt(saved)
	}
	return err
}

// bar returns why no token may be used now, or nil. A login ends that by storing another token. A failed token command is
// run again after a pause, not for each of the many requests that wait for a token.
func (t *Tokens) bar(ctx context.Context) error {
	switch {
	case t.barred == nil:
		return nil
	case t.o.Grant == GrantCommand:
		if time.Since(t.since) < commandPause {
			return t.barred
		}
	default:
		saved, err := t.load(ctx)
		if err != nil {
			return err
		}
		if saved.Access == t.current.Access && saved.Refresh == t.current.Refresh {
			return t.barred
		}
		t.adopt(saved)
	}
	t.barred = nil
	return nil
}

func (t *Tokens) load(ctx context.Context) (Token, error) {
	saved, err := t.o.Store.LoadToken(ctx)
	if err != nil {
		return saved, &Error{Op: opToken, Err: fmt.Errorf("load token: %w", bare(err, t.secrets(saved)...))}
	}
	return saved, nil
}

func (t *Tokens) usable(rejected string) bool {
	return t.current.Access != "" && t.current.Access != rejected && time.Until(t.current.Expiry) > spareLife
}

func (t *Tokens) adopt(n Token) {
	if n.Access != t.current.Access {
		t.asked = false
	}
	t.current = n
	t.confirmed.Store(!t.ofUser() || n.Confirmed)
}

func (t *Tokens) secrets(n Token) []string {
	return []string{n.Access, n.Refresh, t.current.Access, t.current.Refresh, t.o.ClientSecret}
}

// renew gets a new token and saves it.
func (t *Tokens) renew(ctx context.Context) error {
	n, err := t.obtain(ctx)
	if err != nil {
		return err
	}
	n.Confirmed = !t.ofUser()
	t.adopt(n)
	t.unsaved = true
	return t.save(ctx, n)
}

// obtain gets a new token by the grant.
func (t *Tokens) obtain(ctx context.Context) (Token, error) {
	if t.o.Grant == GrantCommand {
		n, err := t.o.Command.run(ctx, t.o.UserID, t.secrets(Token{}))
		if err != nil && ctx.Err() == nil {
			t.barred, t.since = err, time.Now()
		}
		return n, err
	}
	refresh := t.current.Refresh
	if t.ofUser() && refresh == "" {
		return Token{}, &Error{Op: opToken, Message: "no refresh token is left", Err: ErrNeedsLogin}
	}
	if t.ofUser() && refresh == t.spent {
		return Token{}, t.needed
	}
	if err := t.takeOut(ctx); err != nil {
		return Token{}, err
	}
	n, err := t.exchange(ctx, refresh)
	if clientRefused(err) && t.otherSecret() { // a refused client spends no refresh token
		n, err = t.exchange(ctx, refresh)
	}
	switch {
	case errors.Is(err, ErrNeedsLogin):
		t.spent, t.needed = refresh, err
	case err != nil:
		if lost := t.putBack(ctx); lost != nil {
			err = errors.Join(err, lost)
		}
	}
	return n, err
}

// takeOut saves current without its refresh token, which is about to be sent, if other processes use the store too. It
// waits for the budget first, so that the refresh token is not out of the store for as long as a Retry-After lasts.
func (t *Tokens) takeOut(ctx context.Context) error {
	if t.o.Alone == nil || t.current.Refresh == "" {
		return nil
	}
	if err := t.sender.budget.take(ctx, 0); err != nil {
		return &Error{Op: opToken, Err: err}
	}
	n := t.current
	n.Refresh = ""
	if err := t.o.Store.SaveToken(ctx, n); err != nil {
		return &Error{Op: opToken, Err: fmt.Errorf("take the refresh token out of the ledger: %w", bare(err, t.secrets(n)...))}
	}
	return nil
}

// putBack undoes takeOut. If it can't, the next call does.
func (t *Tokens) putBack(ctx context.Context) error {
	if t.o.Alone == nil || t.current.Refresh == "" {
		return nil
	}
	t.unsaved = true
	return t.save(ctx, t.current)
}

// exchange asks the login host for a new token. With client credentials there is no refresh token.
func (t *Tokens) exchange(ctx context.Context, refresh string) (Token, error) {
	if err := t.sender.budget.take(ctx, 0); err != nil {
		return Token{}, &Error{Op: opToken, Err: err}
	}
	host := loginHost{url: t.o.LoginURL, clientID: t.o.ClientID, clientSecret: t.o.ClientSecret, transport: t.o.Transport, sender: t.sender}
	if !t.ofUser() {
		return host.exchange(ctx, host.withClient, t.secrets(Token{})...)
	}
	return host.exchange(ctx, host.withRefresh(refresh), t.secrets(Token{})...)
}

// clientRefused reports whether the login host refused the client's id and secret.
func clientRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Code == "invalid_client" || e.Status == http.StatusUnauthorized && e.Code != codeIPNotAuthorized)
}

// otherSecret reads the client's secret again, and reports whether it was replaced.
func (t *Tokens) otherSecret() bool {
	if t.o.Again == nil {
		return false
	}
	secret, err := t.o.Again()
	if err != nil || secret == t.o.ClientSecret {
		return false
	}
	t.o.ClientSecret = secret
	return true
}

// save makes n durable, even if ctx is cancelled. If it fails, the token stays in memory, unused, and the next call saves it
// first. If a user has logged in meanwhile, the token of that login replaces n.
func (t *Tokens) save(ctx context.Context, n Token) error {
	ctx = context.WithoutCancel(ctx)
	err := t.o.Store.SaveToken(ctx, n)
	if errors.Is(err, ErrOtherToken) {
		if n, err = t.load(ctx); err == nil {
			t.adopt(n)
		}
	}
	if err != nil {
		return &Error{Op: opToken, Err: fmt.Errorf("save token: %w", bare(err, t.secrets(n)...))}
	}
	t.unsaved = false
	return nil
}

// confirm asks users/me, once for each token, which user it belongs to.
func (t *Tokens) confirm(ctx context.Context) error {
	if !t.ofUser() || t.current.Confirmed || t.asked {
		return nil
	}
	r, err := t.sender.send(ctx, t.current.Access, meCall)
	if e := AsError(err); e.Forbidden() && e.Code != codeIPNotAuthorized {
		t.asked = true // Genesys enforces scopes and users:readonly is missing (documented)
		return nil
	}
	if err != nil {
		return err
	}
	u, err := parseUser(r)
	if err != nil {
		return err
	}
	if u.ID != t.o.UserID {
		e := r.unusable(meCall.op, ErrWrongUser)
		e.Message = printable(fmt.Sprintf("user %s instead of %s", u.ID, t.o.UserID), 500)
		t.barred, t.since = e, time.Now()
		if t.o.Grant == GrantCommand { // the next try must not use this token again
			if err := t.forget(ctx); err != nil {
				return err
			}
		}
		return e
	}
	n := t.current
	n.Confirmed = true
	if err := t.save(ctx, n); err != nil {
		return err
	}
	t.adopt(n)
	return nil
}

// forget drops a token that is of no use.
func (t *Tokens) forget(ctx context.Context) error {
	t.adopt(Token{})
	return t.save(ctx, Token{})
}
