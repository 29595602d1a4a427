package genesys

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestObserver wants Observe called for every exchange, with the wait for the budget,
// including token renewals and requests without a reply.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		var told []string
		o := ClientOptions{
			APIURL: "https://api.test", Transport: inProcess{p}, Tokens: NewTokens(p.options()), Budget: NewBudget(1, BudgetState{}),
			Observe: func(op string, status int, waited time.Duration) {
				told = append(told, fmt.Sprint(op, " ", status, " ", waited > 30*time.Second))
			},
		}
		c := NewClient(o)
		if _, err := c.Summary(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.api = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
		if _, err := c.Recordings(t.Context(), ListParams{}); err == nil {
			t.Error("a 503 gave no error")
		}
		c.sender.transport = unreachable{}
		if _, err := c.Summary(t.Context()); err == nil {
			t.Error("a missing reply gave no error")
		}
		want := []string{"oauth_token 200 false", "get_users_me 200 false", "get_userrecordings_summary 200 true",
			"get_userrecordings 503 true", "get_userrecordings_summary 0 true"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// unreachable is a transport that reaches nobody.
type unreachable struct{}

func (unreachable) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func TestObserveLinks(t *testing.T) {
	url, tr := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			http.Redirect(w, r, "/second", http.StatusFound)
			return
		}
		w.WriteHeader(http.StatusGone)
	}))
	var told []string
	l := NewLinks(LinksOptions{Transport: tr, AllowHTTP: true, Observe: func(op string, status int, _ time.Duration) {
		told = append(told, fmt.Sprint(op, " ", status))
	}})
	if _, err := l.Open(t.Context(), url+"/first", Position{}); err == nil {
		t.Error("a 410 gave no error")
	}
	if want := []string{"media_link 302", "media_link 410"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}
