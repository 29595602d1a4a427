package genesys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// exchangeTimeout bounds the request that spends a refresh token. It is also how long a cancelled caller may have to
// wait, because a reply that nobody reads costs the user a login.
const exchangeTimeout = 30 * time.Second

// exchange gets a new token from the login host: with client credentials, or with the current refresh token. All its errors are *Error.
func (t *Tokens) exchange(ctx context.Context) (Token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
	defer cancel()
	trip := &tokenTrip{next: t.o.Transport, sender: t.sender}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     trip,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	got, err := t.source(ctx).Token()
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no reply within %v", exchangeTimeout)
	}
	if err != nil {
		return Token{}, t.exchangeError(trip, err)
	}
	n := Token{Access: got.AccessToken, Refresh: got.RefreshToken, Expiry: got.Expiry, Confirmed: !t.ofUser()}
	if n.Expiry.IsZero() {
		n.Expiry = time.Now().Add(unknownLife)
	}
	return n, nil
}

// source is x/oauth2's side of the exchange. With the authorization code grant it keeps the old refresh token where the
// reply has none.
func (t *Tokens) source(ctx context.Context) oauth2.TokenSource {
	tokenURL := strings.TrimRight(t.o.LoginURL, "/") + "/oauth/token"
	if !t.ofUser() {
		c := clientcredentials.Config{ClientID: t.o.ClientID, ClientSecret: t.o.ClientSecret, TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInHeader}
		return c.TokenSource(ctx)
	}
	c := oauth2.Config{
		ClientID: t.o.ClientID, ClientSecret: t.o.ClientSecret,
		Endpoint: oauth2.Endpoint{TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInHeader},
	}
	return c.TokenSource(ctx, &oauth2.Token{RefreshToken: t.current.Refresh})
}

// exchangeError tells what went wrong by what the trip saw: x/oauth2's own texts quote the reply.
func (t *Tokens) exchangeError(trip *tokenTrip, err error) *Error {
	secrets := t.secrets(Token{})
	if trip.status == 0 {
		return &Error{Op: opToken, Err: bare(err, secrets...)}
	}
	e := replyError(opToken, trip.status, trip.header, nil)
	e.Code, e.Message = trip.code, trip.message
	for _, s := range secrets {
		e.Code, e.Message = redact(e.Code, s), redact(e.Message, s)
	}
	e.Parsed = trip.code != ""
	switch {
	case trip.readErr != nil:
		e.Err = bare(trip.readErr, secrets...)
	case t.ofUser() && trip.code == "invalid_grant":
		e.Err = ErrNeedsLogin
	case e.Status/100 == 2 && trip.code == "":
		e.Err = errors.New("the reply holds no access token")
	}
	return e
}

// tokenTrip is the transport of one exchange. It sees what x/oauth2 does not tell (headers, the budget's business), and hands
// on a reply that x/oauth2 can't stumble over: one mistyped field beside it must not cost a refresh token that is already
// spent.
type tokenTrip struct {
	next    http.RoundTripper
	sender  *sender
	status  int
	header  http.Header
	code    string // OAuth's error
	message string
	readErr error
}

func (t *tokenTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", t.sender.userAgent)
	resp, err := t.next.RoundTrip(req)
	t.sender.told.tell(opToken, resp, 0)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	t.sender.budget.Observe(resp.Header, resp.StatusCode)
	t.status, t.header = resp.StatusCode, resp.Header.Clone()
	body, err := readAll(resp.Body, replyLimit)
	t.readErr = err
	plain := t.plain(body)
	resp.Header = http.Header{"Content-Type": {"application/json"}}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(plain)), int64(len(plain))
	return resp, nil
}

// plain is body with those fields alone that are what they should be. Genesys documents the members error, description and
// error_description of a refusal.
func (t *tokenTrip) plain(body []byte) []byte {
	in, _ := object(body)
	out := map[string]any{}
	for _, name := range []string{"access_token", "refresh_token", "token_type", "error"} {
		if s, ok := field[string](in, name); ok {
			out[name] = s
		}
	}
	if seconds := lifeSeconds(in); seconds > 0 {
		out["expires_in"] = seconds
	}
	t.code, _ = field[string](in, "error")
	t.message, _ = field[string](in, "error_description")
	if t.message == "" {
		t.message, _ = field[string](in, "description")
	}
	t.code, t.message = printable(t.code, 100), printable(t.message, 500)
	plain, _ := json.Marshal(out) // strings and a number: can't fail
	return plain
}

// lifeSeconds reads expires_in, a number or one in quotes; 0 where it is neither.
func lifeSeconds(fields map[string]json.RawMessage) int64 {
	v, ok := field[float64](fields, "expires_in")
	if !ok {
		n, _ := field[json.Number](fields, "expires_in")
		v, _ = n.Float64()
	}
	if !(v > 0) {
		return 0
	}
	return int64(min(v, math.MaxInt32))
}
