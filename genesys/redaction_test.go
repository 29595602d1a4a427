package genesys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// No value shows a secret when it is printed, logged or marshalled.
func TestRedaction(t *testing.T) {
	token := Token{Access: "hidden-a", Refresh: "hidden-r", Expiry: time.Now()}
	options := TokensOptions{ClientID: "c", ClientSecret: "hidden-s", LoginURL: "https://l"}
	tokens := NewTokens(options)
	tokens.current, tokens.spent = token, "hidden-r"
	client := NewClient(ClientOptions{APIURL: "https://a", Tokens: tokens, Budget: NewBudget(1, BudgetState{})})
	download := Download{ID: "d", Location: "https://h/hidden-l", ResultURI: "hidden", ImageURI: "hidden", Thumbnails: []Thumbnail{{ImageURI: "hidden"}}}
	for _, v := range []any{token, &token, []Token{token}, map[string]Token{"k": token}, options, &options, tokens, client, download, &download, []Download{download}, download.Thumbnails} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		switch v.(type) {
		case TokensOptions, *TokensOptions, *Tokens, *Client, []Thumbnail: // not marshalled by anyone
		default:
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
			b, err := json.Marshal(v)
			if err != nil {
				t.Error(err)
			}
			log.Write(b)
		}
		if s := log.String(); strings.Contains(s, "hidden") || strings.Contains(s, fmt.Sprintf("%x", "hidden")) {
			t.Errorf("%T shows a secret: %s", v, s)
		}
	}
}

// If the errors of a transport quote the request, our errors do not repeat the secrets in it.
func TestErrorsOfTalkativeTransports(t *testing.T) {
	talkative := roundTripFunc(func(r *http.Request) (*http.Response, error) {
		var body []byte
		if r.Body != nil {
			body, _ = io.ReadAll(r.Body)
			r.Body.Close()
		}
		_, secret, _ := r.BasicAuth()
		return nil, errors.New(r.URL.String() + " " + strings.Join(r.Header["Authorization"], "") + string(body) + secret)
	})
	fresh := Token{Access: "hidden-a", Refresh: "hidden-r", Expiry: time.Now().Add(time.Hour), Confirmed: true}
	for _, saved := range []Token{fresh, {Refresh: "hidden-r"}} {
		store := &memoryStore{log: &journal{}, token: saved}
		c := NewClient(ClientOptions{
			APIURL: "https://a.test", Transport: talkative, Budget: NewBudget(300, BudgetState{}),
			Tokens: NewTokens(TokensOptions{Grant: GrantAuthorizationCode, LoginURL: "https://l.test", ClientSecret: "hidden-s", Store: store, Transport: talkative}),
		})
		_, err := c.Summary(t.Context())
		asError(t, err)
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(s, "hidden") {
				t.Errorf("shows a secret: %s", s)
			}
		}
	}
	_, err := NewLinks(LinksOptions{Transport: talkative}).Open(t.Context(), "https://h.test/secret?sig=secret", Position{})
	checkShown(t, err)
}

// If a service's reply quotes the request, our errors do not show the secrets in it, not even where a text is cut to length.
func TestErrorsOfTalkativeServices(t *testing.T) {
	const access, refresh, secret = "hidden+access/token", "hidden+refresh/token", "hidden+client/secret"
	for before := range 520 {
		talkative := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			sent, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			text := strings.Repeat("x", before) + strings.TrimPrefix(strings.TrimPrefix(r.Header.Get("Authorization"), "Basic "), "Bearer ") + " " + string(sent)
			body, err := json.Marshal(map[string]string{"message": text, "code": text, "error": text, "error_description": text})
			return &http.Response{StatusCode: 400, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{}}, err
		})
		fresh := Token{Access: access, Refresh: refresh, Expiry: time.Now().Add(time.Hour), Confirmed: true}
		for _, saved := range []Token{fresh, {Refresh: refresh}} {
			c := NewClient(ClientOptions{
				APIURL: "https://a.test", Transport: talkative, Budget: NewBudget(300, BudgetState{}),
				Tokens: NewTokens(TokensOptions{Grant: GrantAuthorizationCode, LoginURL: "https://l.test", ClientID: "id", ClientSecret: secret,
					Store: &memoryStore{log: &journal{}, token: saved}, Transport: talkative}),
			})
			_, err := c.Summary(t.Context())
			for _, part := range []string{"hidden", base64.StdEncoding.EncodeToString([]byte("id:" + secret))[:12]} {
				if s := fmt.Sprintf("%v", err); err == nil || strings.Contains(s, part) {
					t.Fatalf("shows a secret: %s", s)
				}
			}
		}
	}
}

type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
