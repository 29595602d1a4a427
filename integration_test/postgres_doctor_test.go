package integration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// ledgerFindings are the doctor's findings about the ledger, and its exit code is checked.
func (w *world) ledgerFindings(code int) map[string]finding {
	w.Helper()
	found := w.doctor(code)
	maps.DeleteFunc(found, func(name string, _ finding) bool { return !strings.HasPrefix(name, "ledger.") })
	return found
}

// TestDatabaseEncrypted reaches a database over TCP, as sslmode in state.url says.
func TestDatabaseEncrypted(t *testing.T) {
	t.Parallel()
	s := postgrestest.Run(t, "fsync=on")
	w := newWorldOn(t, storagetest.MinIO(t), genesystest.Options{})
	w.inDatabase(s)
	w.expect(0, "migrate")
	certificate, key := selfSigned(t)
	host, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(postgrestest.Fast); err != nil {
		t.Fatal(err)
	}
	err = s.Again("listen_addresses="+host, "port="+port, "ssl=on", "ssl_cert_file="+s.Give(t, "server.crt", certificate), "ssl_key_file="+s.Give(t, "server.key", key))
	if err != nil {
		t.Fatal(err)
	}
	database, err := url.Parse(w.databaseURL())
	if err != nil {
		t.Fatal(err)
	}
	database.Host = net.JoinHostPort(host, port)
	root := filepath.Join(w.dir, "root.crt")
	if err := os.WriteFile(root, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	for query, code := range map[string]int{
		"sslmode=verify-full&sslrootcert=" + root: 0,
		"sslmode=verify-full":                     5, // nobody vouches for the certificate
		"sslmode=disable":                         0,
	} {
		database.RawQuery = query
		w.config["state"] = map[string]any{"url": database.String()}
		found := w.ledgerFindings(code)
		if encrypted := strings.Contains(found["ledger.tls"].Found, "encrypted"); encrypted != strings.Contains(query, "root") {
			t.Errorf("%s: %+v", query, found)
		}
	}
}

// selfSigned returns a certificate for 127.0.0.1, and its key, in PEM.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// TestDoctorDatabase makes a database ill, one thing after the other.
func TestDoctorDatabase(t *testing.T) {
	t.Parallel()
	s := postgrestest.Run(t, "fsync=on")
	w := newWorldOn(t, storagetest.MinIO(t), genesystest.Options{})
	fill(w.cloud.ClientInbox(), 1)
	w.inDatabase(s)
	well := map[string]string{
		"ledger.database": "pass", "ledger.tls": "pass", "ledger.connections": "pass", "ledger.commits": "pass", "ledger.failover": "unchecked", "ledger.clock": "pass",
		"ledger.schema": "pass", "ledger.rights": "pass", "ledger.transactions": "pass", "ledger.bloat": "pass", "ledger.content": "pass",
	}
	but := func(edit map[string]string) map[string]string {
		want := maps.Clone(well)
		for name, result := range edit {
			if want[name] = result; result == without {
				delete(want, name)
			}
		}
		return want
	}
	w.wantResults(w.ledgerFindings(2), but(map[string]string{"ledger.schema": "fail", "ledger.rights": without, "ledger.content": "fail"}))
	w.expect(0, "migrate")
	w.wantResults(w.ledgerFindings(0), but(map[string]string{"ledger.content": "unchecked"}))
	w.once(0)
	w.wantResults(w.ledgerFindings(0), well)

	set := func(name, value string) {
		t.Helper()
		statement := "alter system reset " + name
		if value != "" {
			statement = "alter system set " + name + " = '" + value + "'"
		}
		for _, do := range []string{statement, "select pg_reload_conf()"} {
			if err := s.Exec(context.Background(), "postgres", do); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, ill := range []struct {
		setting, value string
		code           int
		want           map[string]string
	}{
		{"full_page_writes", "off", 6, map[string]string{"ledger.commits": "fail"}},
		{"synchronous_commit", "off", 6, map[string]string{"ledger.commits": "fail"}},
		{"autovacuum", "off", 0, map[string]string{"ledger.bloat": "warn"}},
		{"synchronous_standby_names", "other", 0, map[string]string{"ledger.failover": "warn"}},
	} {
		set(ill.setting, ill.value)
		w.wantResults(w.ledgerFindings(ill.code), but(ill.want))
		set(ill.setting, "")
	}

	w.withDatabase(func(l *postgres.Ledger) { // which also drops a right
		for _, statement := range []string{"create role reader login", "grant select on all tables in schema public to reader"} {
			if _, err := l.Pool().Exec(t.Context(), statement); err != nil {
				t.Error(err)
			}
		}
	})
	w.config["state"] = map[string]any{"url": strings.Replace(w.databaseURL(), "postgres@", "reader@", 1)}
	found := w.ledgerFindings(2)
	w.wantResults(found, but(map[string]string{"ledger.rights": "fail"}))
	if text := found["ledger.rights"].Found; !strings.Contains(text, "update on entries") || strings.Contains(text, "select") {
		t.Errorf("the rights: %s", text)
	}
	if err := s.Stop(postgrestest.Fast); err != nil {
		t.Fatal(err)
	}
	w.wantResults(w.ledgerFindings(5), map[string]string{"ledger.database": "fail"})
}
