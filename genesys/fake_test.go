package genesys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inProcess is a transport without sockets, for tests in a synctest bubble. Like a real one it gives up when the
// request's context ends.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	defer req.Body.Close()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// memoryStore is a TokenStore that records its calls and fails on request.
type memoryStore struct {
	mu       sync.Mutex
	token    Token
	before   []string // access tokens saved before it
	log      *journal
	failLoad error
	failSave func(Token) error
}

func (s *memoryStore) LoadToken(context.Context) (Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, s.failLoad
}

func (s *memoryStore) SaveToken(_ context.Context, t Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failSave != nil {
		if err := s.failSave(t); err != nil {
			s.log.add("save fails")
			return err
		}
	}
	s.log.add(fmt.Sprintf("save %s %s confirmed=%v", t.Access, t.Refresh, t.Confirmed))
	s.before = append(s.before, s.token.Access)
	s.token = t
	return nil
}

// durable reports whether an access token was saved. A request with an older token may
// still be under way while another goroutine renews the token.
func (s *memoryStore) durable(access string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token.Access == access || slices.Contains(s.before, access)
}

func (s *memoryStore) saved() Token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token
}

// journal is the order of events.
type journal struct {
	mu     sync.Mutex
	events []string
}

func (j *journal) add(e string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.events...)
}

// platform is a Genesys Cloud with one user. It fails the test when a client breaks an invariant: it uses a token before
// the token is durable, asks for more than users/me with an unconfirmed token, or sends credentials to the wrong place.
type platform struct {
	t     *testing.T
	store *memoryStore
	log   *journal

	mu      sync.Mutex
	serial  int
	access  string // the one accepted
	refresh string // the one accepted

	life  string // expires_in, as JSON
	me    func(w http.ResponseWriter)
	login func(w http.ResponseWriter, r *http.Request) bool // true: answered
	api   func(w http.ResponseWriter, r *http.Request)
}

func newPlatform(t *testing.T) *platform {
	p := &platform{t: t, log: &journal{}, life: "86400", access: "A0", refresh: "R0"}
	p.store = &memoryStore{log: p.log, token: Token{Refresh: "R0"}}
	p.me = func(w http.ResponseWriter) { io.WriteString(w, `{"id":"user-1","name":"U","email":"u@example.com"}`) }
	p.api = func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"totalCount":1}`) }
	return p
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ININ-Correlation-Id", "corr-1")
	if r.URL.Path == "/oauth/token" {
		p.serveLogin(w, r)
		return
	}
	access := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.log.add(r.Method + " " + r.URL.Path + " " + access)
	saved := p.store.saved()
	if !p.store.durable(access) {
		p.t.Errorf("%s is used, but %s was saved", access, saved.Access)
	}
	p.mu.Lock()
	ok := access == p.access
	p.mu.Unlock()
	switch {
	case !ok:
		w.WriteHeader(401)
		io.WriteString(w, `{"code":"bad.credentials","message":"Invalid login credentials."}`)
	case r.URL.Path == "/api/v2/users/me":
		p.me(w)
	default:
		p.api(w, r)
	}
}

func (p *platform) serveLogin(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	id, secret, _ := r.BasicAuth()
	p.log.add(strings.TrimSpace("POST token " + r.PostForm.Get("refresh_token")))
	if r.Method != "POST" || r.PostForm.Get("client_secret") != "" {
		p.t.Errorf("token request %s %v", r.Method, r.PostForm)
	}
	if p.login != nil && p.login(w, r) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	refreshes := r.PostForm.Get("grant_type") == "refresh_token"
	switch {
	case id != "client" || secret != "s3cret":
		w.WriteHeader(401)
		io.WriteString(w, `{"error":"invalid_client","description":"client authentication failed","error_description":"client authentication failed"}`)
	case refreshes && r.PostForm.Get("refresh_token") != p.refresh:
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"invalid_grant","description":"refresh token not found"}`)
	default:
		p.serial++
		p.access = fmt.Sprintf("A%d", p.serial)
		reply := fmt.Sprintf(`{"access_token":%q,"token_type":"bearer","expires_in":%s}`, p.access, p.life)
		if refreshes {
			p.refresh = fmt.Sprintf("R%d", p.serial)
			reply = fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":%s}`, p.access, p.refresh, p.life)
		}
		io.WriteString(w, reply)
	}
}

func (p *platform) revoke() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.access = "none"
}

func (p *platform) options() TokensOptions {
	return TokensOptions{
		LoginURL: "https://login.test", ClientID: "client", ClientSecret: "s3cret",
		Grant: GrantAuthorizationCode, UserID: "user-1",
		Store: p.store, Transport: inProcess{p},
	}
}

// client returns a client of p, as in a new process.
func (p *platform) client(edit ...func(*TokensOptions)) *Client {
	o := p.options()
	for _, e := range edit {
		e(&o)
	}
	return NewClient(ClientOptions{
		APIURL: "https://api.test", Transport: inProcess{p}, Tokens: NewTokens(o), Budget: NewBudget(300, BudgetState{}), UserAgent: "test",
	})
}

// signedIn returns a client of h with a token that needs no renewal, over real HTTP.
func signedIn(t *testing.T, h http.Handler) *Client {
	t.Helper()
	url, tr := serve(t, h)
	store := &memoryStore{log: &journal{}, token: Token{Access: "tok-secret", Refresh: "ref-secret", Expiry: time.Now().Add(time.Hour), Confirmed: true}}
	return NewClient(ClientOptions{
		APIURL: url + "/base/", Transport: tr, UserAgent: "archiverd/test", Budget: NewBudget(1e6, BudgetState{}),
		Tokens: NewTokens(TokensOptions{Grant: GrantAuthorizationCode, UserID: "user-1", Store: store, LoginURL: url, Transport: tr}),
	})
}

func serve(t *testing.T, h http.Handler) (string, *http.Transport) {
	t.Helper()
	s := httptest.NewServer(h)
	tr := &http.Transport{}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		s.Close()
	})
	return s.URL, tr
}

func asError(t *testing.T, err error) *Error {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is not an *Error", err, err)
	}
	return e
}
