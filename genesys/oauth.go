package genesys

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// exchangeTimeout bounds the request that spends a refresh token. A cancelled caller waits for the reply that long too: if
// the reply is not read, the user has to log in again.
const exchangeTimeout = 30 * time.Second

// loginHost is the login service, with the credentials of the organization's client.
type loginHost struct {
	url, clientID, clientSecret string
	transport                   http.RoundTripper
	sender                      *sender
}

// oauth returns the host for x/oauth2. The client is confidential and authenticates with HTTP Basic.
func (h loginHost) oauth() *oauth2.Config {
	base := strings.TrimRight(h.url, "/")
	return &oauth2.Config{ClientID: h.clientID, ClientSecret: h.clientSecret, Endpoint: oauth2.Endpoint{
		AuthURL: base + "/oauth/authorize", TokenURL: base + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader,
	}}
}

func (h loginHost) withClient(ctx context.Context) (*oauth2.Token, error) {
	o := h.oauth()
	c := clientcredentials.Config{ClientID: o.ClientID, ClientSecret: o.ClientSecret, TokenURL: o.Endpoint.TokenURL, AuthStyle: o.Endpoint.AuthStyle}
	return c.Token(ctx)
}

// withRefresh returns a request for a new token. The new token keeps the old refresh token if the reply has no other.
func (h loginHost) withRefresh(refresh string) func(context.Context) (*oauth2.Token, error) {
	return func(ctx context.Context) (*oauth2.Token, error) {
		return h.oauth().TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
	}
}

// exchange sends the one token request that get builds. secrets lists values in it to redact from errors, in addition to the
// client's secret. All errors are *Error.
func (h loginHost) exchange(ctx context.Context, get func(context.Context) (*oauth2.Token, error), secrets ...string) (Token, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTimeout)
	defer cancel()
	trip := &tokenTrip{next: h.transport, sender: h.sender}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     trip,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	got, err := get(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("no reply within %v", exchangeTimeout)
	}
	if err != nil {
		return Token{}, trip.failure(err, append(secrets, h.clientSecret))
	}
	n := Token{Access: got.AccessToken, Refresh: got.RefreshToken, Expiry: got.Expiry}
	if n.Expiry.IsZero() {
		n.Expiry = time.Now().Add(unknownLife)
	}
	return n, nil
}

// tokenTrip is the transport of one exchange. It keeps the reply's headers, which x/oauth2 does not return, and passes on a
// reply of well-typed fields only: a mistyped field must not make x/oauth2 reject the reply, because the old refresh token
// is spent by then.
type tokenTrip struct {
	next    http.RoundTripper
	sender  *sender
	status  int
	header  http.Header
	basic   string // the client's id and secret as they were sent
	code    string // OAuth's error
	message string
	readErr error
}

func (t *tokenTrip) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", t.sender.userAgent)
	t.basic = strings.TrimPrefix(req.Header.Get("Authorization"), "Basic ")
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

// failure makes the error of a failed exchange from the kept reply, because x/oauth2's texts quote the whole reply.
func (t *tokenTrip) failure(err error, secrets []string) *Error {
	if t.status == 0 {
		return &Error{Op: opToken, Err: bare(err, secrets...)}
	}
	e := replyError(opToken, t.status, t.header, nil)
	for _, s := range secrets {
		secrets = append(secrets, url.QueryEscape(s)) // as the form had it
	}
	// Redact before the texts are cut to length: half a secret would not be found.
	for _, s := range append(secrets, t.basic) {
		t.code, t.message = redact(t.code, s), redact(t.message, s)
	}
	e.Code, e.Message = printable(t.code, 100), printable(t.message, 500)
	e.Parsed = t.code != ""
	switch {
	case t.readErr != nil:
		e.Err = bare(t.readErr, secrets...)
	case t.code == "invalid_grant":
		e.Err = ErrNeedsLogin
	case t.code == "invalid_client":
		e.Err = permanent("check client_id and client_secret; a secret replaced in its file is read again")
	case e.Status/100 == 2 && t.code == "":
		e.Err = errors.New("the reply holds no access token")
	}
	return e
}

// plain returns body with only the needed fields, each of the right type. Genesys documents the members error, description
// and error_description of a refusal.
func (t *tokenTrip) plain(body []byte) []byte {
	in, _ := object(body)
	out := map[string]any{}
	for _, name := range []string{"access_token", "refresh_token", "token_type", "error"} {
		if s := in.text(name); s != "" {
			out[name] = s
		}
	}
	if seconds := lifeSeconds(in); seconds > 0 {
		out["expires_in"] = seconds
	}
	t.code, t.message = in.text("error"), cmp.Or(in.text("error_description"), in.text("description"))
	plain, _ := json.Marshal(out) // strings and a number: can't fail
	return plain
}

// lifeSeconds reads expires_in, a number, perhaps in quotes; 0 if it is not a positive number.
func lifeSeconds(fields members) int64 {
	v, err := strconv.ParseFloat(strings.Trim(fields.raw("expires_in"), `"`), 64)
	if err != nil || !(v > 0) || math.IsInf(v, 1) {
		return 0
	}
	return int64(min(v, math.MaxInt32))
}
