package integration_test

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// secretFile writes a secret beside the configuration, in place of the one before.
func (w *world) secretFile(name, text string) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
}

// TestRotatedClientSecret replaces a client's secret in its file while the service runs: the
// next run takes it, with nobody telling the service, and no user has to log in again.
func TestRotatedClientSecret(t *testing.T) {
	t.Parallel()
	for _, grant := range []string{"client_credentials", "authorization_code"} {
		t.Run(grant, func(t *testing.T) {
			t.Parallel()
			w, users := newUsers(t, genesystest.Options{}, 1, "anna")
			w.daily()
			inbox := users[0]
			w.org["grant"] = grant
			if grant == "client_credentials" {
				inbox = w.cloud.ClientInbox()
				fill(inbox, 1)
			}
			delete(w.org, "client_secret")
			w.org["client_secret_file"] = "acme.secret"
			w.secretFile("acme.secret", "secret\n")
			p := w.serve()
			w.cloud.Configure(func(o *genesystest.Options) { o.ClientSecret = "replaced" })
			inbox.RevokeAccess()
			if r := w.expect(4, "retry"); !strings.Contains(r.stdout, "invalid_client") {
				t.Errorf("with the old secret: %s", r)
			}
			w.secretFile("acme.secret", "replaced\n")
			inbox.Add(genesystest.Recording{ID: "later", Size: 1000})
			w.expect(0, "retry")
			w.ends(p)
			w.wantArchived(all(inbox))
		})
	}
}

// TestRotatedStoreKey replaces the store's secret key in its file while the service runs, on
// a store that compares signatures.
func TestRotatedStoreKey(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 1)
	section := w.storageSection()
	delete(section, "secret_access_key")
	section["secret_access_key_file"] = "store.secret"
	w.config["storage"] = section
	w.secretFile("store.secret", w.s3.SecretKey)
	p := w.serve()
	w.secretFile("store.secret", "of-another-store")
	w.reload(p, "takes effect with the next run", 1)
	if r := w.expect(2, "retry"); !strings.Contains(r.stderr, "access refused") {
		t.Errorf("with another secret: %s", r)
	}
	w.secretFile("store.secret", w.s3.SecretKey)
	inbox.Add(genesystest.Recording{ID: "later", Size: 9 << 20})
	w.expect(0, "retry")
	w.expect(0, "verify")
	if found := w.doctor(0)["store.credentials"]; !strings.Contains(found.Found, "from storage.access_key_id") {
		t.Errorf("doctor says %+v", found)
	}
	w.ends(p)
	w.wantArchived(all(inbox))
}

// TestRotatedMidRun has the store take another access key from the middle of a run on.
func TestRotatedMidRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 6)
	inbox.Add(genesystest.Recording{ID: "large", Size: 9 << 20})
	section := w.storageSection()
	section["access_key_id"] = "KEYOLD"
	w.config["storage"] = section
	var mu sync.Mutex
	takes, puts := "KEYOLD", 0
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if r.Method == http.MethodPut {
				puts++
			}
			if puts == 4 && takes == "KEYOLD" {
				takes, section["access_key_id"] = "KEYNEW", "KEYNEW"
				w.writeConfig()
			}
			known := strings.Contains(r.Header.Get("Authorization"), "Credential="+takes+"/")
			mu.Unlock()
			if known {
				next.ServeHTTP(rw, r)
				return
			}
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte("<Error><Code>InvalidAccessKeyId</Code><Message>no</Message></Error>"))
		})
	})
	section["endpoint"] = w.endpoint
	w.once(0)
	if takes != "KEYNEW" {
		t.Error("the key was never replaced")
	}
	w.wantArchived(all(inbox))
}

// TestRotatedAuthority replaces the private authority of Genesys and the store in its file
// while the service runs.
func TestRotatedAuthority(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{TLS: true})
	w.daily()
	store := w.overTLS(tls.VersionTLS13)
	w.config["network"] = map[string]any{"ca_file": "authority.pem"}
	w.secretFile("authority.pem", string(store))
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	p := w.serve()
	if r := w.expect(5, "retry"); !strings.Contains(r.stdout, "certificate") {
		t.Errorf("without Genesys' authority: %s", r)
	}
	w.secretFile("authority.pem", string(store)+string(w.cloud.CertificatePEM()))
	w.expect(0, "retry")
	w.ends(p)
	w.wantArchived(all(inbox))
}
