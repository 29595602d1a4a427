package integration_test

import (
	"crypto/tls"
	"encoding/pem"
	"io/fs"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestPrivateAuthority has Genesys and the store behind certificates of a private
// authority: they are reached with network.ca_file, and in no other way.
func TestPrivateAuthority(t *testing.T) {
	t.Parallel()
	server := storagetest.Fake(t)
	for _, tc := range []struct {
		name        string
		trust       bool
		storeSpeaks uint16 // TLS at most
		archives    bool
	}{
		{"trusted", true, tls.VersionTLS13, true},
		{"TLS 1.2", true, tls.VersionTLS12, true},
		{"not trusted", false, tls.VersionTLS13, false},
		{"TLS 1.1", true, tls.VersionTLS11, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server, genesystest.Options{TLS: true})
			store := w.overTLS(tc.storeSpeaks)
			if tc.trust {
				file := filepath.Join(w.dir, "authority.pem")
				if err := os.WriteFile(file, append(w.cloud.CertificatePEM(), store...), 0o600); err != nil {
					t.Fatal(err)
				}
				w.config["network"] = map[string]any{"ca_file": file}
			}
			w.config["transfer"].(map[string]any)["bandwidth"] = "64MiB"
			inbox := w.cloud.ClientInbox()
			inbox.Add(genesystest.Recording{ID: "large", Size: 9 << 20})
			if tc.archives {
				w.once(0)
				w.wantArchived(all(inbox))
				return
			}
			if r := w.once(5); !strings.Contains(r.stderr, "certificate") && !strings.Contains(r.stderr, "tls: ") {
				t.Errorf("not said: %s", r)
			}
			if n := len(w.cloud.Events()); n != 0 {
				t.Errorf("Genesys was asked %d times", n)
			}
		})
	}
}

// overTLS puts a server with a certificate of its own before the store.
func (w *world) overTLS(version uint16) (certificate []byte) {
	w.Helper()
	target, err := url.Parse(w.s3.Endpoint)
	if err != nil {
		w.Fatal(err)
	}
	front := httptest.NewUnstartedServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}})
	front.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: version}
	front.StartTLS()
	w.Cleanup(front.Close)
	w.endpoint = front.URL
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})
}

var inCode = regexp.MustCompile("`([^`]+)`")

// TestSecurityPage wants every test and file that SECURITY.md points to.
func TestSecurityPage(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		tests.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, m := range inCode.FindAllStringSubmatch(string(page), -1) {
		switch name := m[1]; {
		case strings.HasPrefix(name, "Test"):
			named++
			if !strings.Contains(tests.String(), "func "+name+"(t *testing.T)") {
				t.Errorf("there is no test %s", name)
			}
		case strings.Contains(name, "/") && !strings.Contains(name, " "):
			if _, err := os.Stat(filepath.Join("..", name)); err != nil {
				t.Error(err)
			}
		}
	}
	if named < 30 {
		t.Errorf("%d tests are named", named)
	}
}
