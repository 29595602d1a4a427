package integration_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// chained has archiverd take its credentials from the AWS default chain, in which nothing
// answers by itself.
func (w *world) chained(env ...string) {
	section := w.storageSection()
	delete(section, "access_key_id")
	delete(section, "secret_access_key")
	w.config["storage"] = section
	w.env = append(w.env, append([]string{"AWS_EC2_METADATA_DISABLED=true"}, env...)...)
}

// TestCredentialsPending wants credentials that may come by themselves to be temporary, and
// a refusal that needs a person not to be.
func TestCredentialsPending(t *testing.T) {
	t.Parallel()
	const nobody = "http://127.0.0.1:1"
	missing := filepath.Join(t.TempDir(), "missing")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	sts := func(status int, code string) string {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte("<ErrorResponse><Error><Type>Sender</Type><Code>" + code + "</Code><Message>no</Message></Error></ErrorResponse>"))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	role := "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/archiverd"
	for name, tc := range map[string]struct {
		code int
		says string
		env  []string
	}{
		"no web identity token":      {5, missing, []string{role, "AWS_WEB_IDENTITY_TOKEN_FILE=" + missing}},
		"an expired token":           {5, "ExpiredTokenException", []string{role, "AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "AWS_ENDPOINT_URL_STS=" + sts(400, "ExpiredTokenException")}},
		"a role that is not granted": {2, "AccessDenied", []string{role, "AWS_WEB_IDENTITY_TOKEN_FILE=" + token, "AWS_ENDPOINT_URL_STS=" + sts(403, "AccessDenied")}},
		"no profile":                 {5, "late", []string{"AWS_PROFILE=late", "AWS_SHARED_CREDENTIALS_FILE=" + missing}},
		"no container's agent":       {5, "refused", []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + nobody}},
		"no metadata service":        {5, "IMDS", []string{"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + nobody}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			w.chained(tc.env...)
			if r := w.once(tc.code); !strings.Contains(r.stderr, tc.says) {
				t.Errorf("%q is not said: %s", tc.says, r)
			}
			if r := w.expect(tc.code, "doctor"); !strings.Contains(r.stdout, tc.says) {
				t.Errorf("doctor does not say %q: %s", tc.says, r)
			}
			if _, err := os.Stat(w.ledgerPath()); err == nil {
				t.Error("a ledger was made before the store could be used")
			}
		})
	}
}

// TestServiceWaits wants the service to wait for credentials, to say why it waits, and to
// archive by itself once they are there.
func TestServiceWaits(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.daily()
	w.listening()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	file := filepath.Join(w.dir, "credentials")
	w.chained("AWS_PROFILE=late", "AWS_SHARED_CREDENTIALS_FILE="+file)
	p := w.start("run")
	w.awaitLog(p, "the run failed", 2)
	if out := w.expect(0, "status").stdout; !strings.Contains(out, "since the last run failed: ") || !strings.Contains(out, "shared config profile, late") {
		t.Errorf("status says %q", out)
	}
	if code, _, body := w.fetch(w.site(p) + "/healthz"); code != 200 {
		t.Errorf("/healthz: %d %s", code, body)
	}
	if r := w.expect(5, "retry"); !strings.Contains(r.stderr, "late") {
		t.Errorf("retry: %s", r)
	}
	text := "[late]\naws_access_key_id = " + w.s3.AccessKey + "\naws_secret_access_key = " + w.s3.SecretKey + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.awaitLog(p, `"archived":2`, 1)
	w.ends(p)
	w.wantArchived(all(inbox))
}

// TestServiceWaitsForStranger wants a service whose store comes late to refuse, then, to
// begin anew beside an archive.
func TestServiceWaitsForStranger(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.daily()
	fill(w.cloud.ClientInbox(), 1)
	w.once(0)
	if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(w.dir, "credentials")
	w.chained("AWS_PROFILE=late", "AWS_SHARED_CREDENTIALS_FILE="+file)
	p := w.start("run")
	w.awaitLog(p, "the run failed", 1)
	text := "[late]\naws_access_key_id = " + w.s3.AccessKey + "\naws_secret_access_key = " + w.s3.SecretKey + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.awaitLog(p, "archiverd rebuild", 1)
	w.ends(p)
}
