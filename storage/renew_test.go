package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// picky is a store that accepts only one access key, and refuses others as a real store does.
type picky struct {
	mu     sync.Mutex
	takes  string
	code   string
	status int
	bodies []string // of the accepted requests
	denied int
}

func (p *picky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.Contains(r.Header.Get("Authorization"), "Credential="+p.takes+"/") {
		p.bodies = append(p.bodies, string(body))
		w.Header().Set("ETag", `"e"`)
		if r.URL.Query().Has("list-type") {
			fmt.Fprint(w, emptyList)
		}
		return
	}
	p.denied++
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", p.code)
	}
}

func (p *picky) sent() (bodies []string, denied int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bodies, p.denied
}

// TestRenewedKeys wants a refused request sent once more, whole, with the new keys, and not
// repeated if the keys are still the same.
func TestRenewedKeys(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
	}{{403, "InvalidAccessKeyId"}, {403, "SignatureDoesNotMatch"}, {400, "ExpiredToken"}, {404, "XAdminUserNotFound"}, {401, ""}} {
		p := &picky{takes: "AKIANEW", code: tc.code, status: tc.status}
		var id atomic.Value
		id.Store("AKIATEST")
		b := serve(t, p.ServeHTTP, func(o *Options) {
			o.Again = func() (string, string, error) { return id.Load().(string), "the-secret", nil }
		})
		put := func() error {
			_, err := b.Put(t.Context(), New{Key: "k"}, []byte("the body"), sha256.Sum256([]byte("the body")))
			return err
		}
		if err := put(); !errors.Is(err, ErrAccess) && tc.code != "ExpiredToken" {
			t.Errorf("%s: %v", tc.code, err)
		}
		if _, denied := p.sent(); denied != 1 {
			t.Errorf("%s: refused %d times with the same keys", tc.code, denied)
		}
		id.Store("AKIANEW")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := put(); err != nil {
					t.Errorf("%s: with the new keys: %v", tc.code, err)
				}
			})
		}
		all.Wait()
		bodies, _ := p.sent()
		if len(bodies) != 8 {
			t.Errorf("%s: %d requests were accepted", tc.code, len(bodies))
		}
		for _, body := range bodies {
			if body != "the body" {
				t.Errorf("%s: the repeated body is %q", tc.code, body)
			}
		}
		if from, ends, err := b.Credentials(t.Context()); from != "storage.access_key_id" || !ends.IsZero() || err != nil {
			t.Errorf("from %q until %v, %v", from, ends, err)
		}
	}
}

// TestRenewedSecret wants a signature with the new secret if only the secret changes.
func TestRenewedSecret(t *testing.T) {
	var signatures []string
	secret := "old"
	b := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		if signatures = append(signatures, signature); len(signatures) == 1 {
			w.WriteHeader(http.StatusForbidden)
		}
	}, func(o *Options) {
		o.SecretAccessKey = "old"
		o.Again = func() (string, string, error) { return o.AccessKeyID, secret, nil }
	})
	secret = "new"
	if _, err := b.Head(t.Context(), "k", ""); err != nil {
		t.Fatal(err)
	}
	if len(signatures) != 2 || signatures[0] == signatures[1] {
		t.Errorf("the signatures are %q", signatures)
	}
}

// TestRenewedHead wants the same for a HEAD, whose reply has no code.
func TestRenewedHead(t *testing.T) {
	for _, status := range []int{400, 401, 403} {
		p := &picky{takes: "AKIANEW", status: status}
		b := serve(t, p.ServeHTTP, func(o *Options) {
			o.Again = func() (string, string, error) { return "AKIANEW", "the-secret", nil }
		})
		if _, err := b.Head(t.Context(), "k", ""); err != nil {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// onlyFrom lets the default chain find only a shared file.
func onlyFrom(t *testing.T, file string) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_CONFIG_FILE", file+"-none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

// TestRenewedAgent wants a container agent's credentials fetched again when they have
// expired, and earlier if the store refuses them.
func TestRenewedAgent(t *testing.T) {
	onlyFrom(t, filepath.Join(t.TempDir(), "none"))
	asked, lives := 0, time.Hour
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprintf(w, `{"AccessKeyId": "AKIA%d", "SecretAccessKey": "s", "Token": "t", "Expiration": %q}`, asked, time.Now().Add(lives).UTC().Format(time.RFC3339))
	}))
	defer agent.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", agent.URL)
	p := &picky{takes: "AKIA1", code: "ExpiredToken", status: 400}
	b := serve(t, p.ServeHTTP, func(o *Options) { o.AccessKeyID, o.SecretAccessKey = "", "" })
	check := func() {
		t.Helper()
		if err := b.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	check()
	check()
	if from, ends, err := b.Credentials(t.Context()); err != nil || asked != 1 || from == "" || time.Until(ends) < 50*time.Minute {
		t.Errorf("asked %d times; from %q until %v, %v", asked, from, ends, err)
	}
	p.takes = "AKIA2"
	check() // refused, and asked for again
	if asked != 2 {
		t.Errorf("the agent was asked %d times", asked)
	}
	lives = -time.Minute
	b = serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, emptyList) }, func(o *Options) { o.AccessKeyID, o.SecretAccessKey = "", "" })
	check()
	check() // they have ended
	if asked != 4 {
		t.Errorf("the agent was asked %d times", asked)
	}
}

// TestRenewedChain wants the credentials in a shared file read again when they are replaced.
func TestRenewedChain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	write := func(id string) {
		if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = "+id+"\naws_secret_access_key = s\naws_session_token = t\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	onlyFrom(t, file)
	write("AKIAOLD")
	p := &picky{takes: "AKIAOLD", code: "ExpiredToken", status: 400}
	b := serve(t, p.ServeHTTP, func(o *Options) { o.AccessKeyID, o.SecretAccessKey = "", "" })
	if err := b.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.takes = "AKIANEW"
	p.mu.Unlock()
	if err := b.Check(t.Context()); err == nil {
		t.Error("an expired token was taken")
	}
	write("AKIANEW")
	if err := b.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if from, _, err := b.Credentials(t.Context()); err != nil || !strings.Contains(from, "SharedConfigCredentials") {
		t.Errorf("from %q, %v", from, err)
	}
}
