package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// TestFilesAsToolsWriteThem archives by a roster, a secret and a token broker as
// spreadsheets, editors and scripts write them.
func TestFilesAsToolsWriteThem(t *testing.T) {
	t.Parallel()
	w, users := newOrg(t, genesystest.Options{}, "anna", "ben")
	w.command(`echo "warning: the cache is cold"
printf '{"access_token": "Bearer %s", "token_type": "bearer"}' $(cat $1)
exit`, users...)
	w.writeRoster("\ufeffBenutzer;E-Mail-Adresse;\r\nanna;anna@example.com;\r\n;;\r\nben;ben@example.com;\r\n")
	w.once(0)
	w.wantArchived(all(users[0]), all(users[1]))
	w.writeRoster("\xff\xfea\x00n\x00n\x00a\x00")
	if r := w.expect(2, "run", "--once"); !strings.Contains(r.stderr, "roster_file: the roster is faulty: the file is UTF-16: save it as UTF-8") {
		t.Errorf("the encoding is not named: %s", r)
	}
}

// TestSecretFileAsEditorsWriteIt has the client's secret with what an editor leaves around it.
func TestSecretFileAsEditorsWriteIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 1)
	delete(w.org, "client_secret")
	w.org["client_secret_file"] = "acme.secret"
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(w.dir, "acme.secret"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("\ufeffsecret \r\n\r\n")
	w.once(0)
	w.wantArchived(all(w.cloud.ClientInbox()))
	write("s\x00e\x00c\x00r\x00e\x00t\x00")
	if r := w.expect(2, "doctor"); !strings.Contains(r.stdout, "the file is UTF-16: save it as UTF-8") {
		t.Errorf("the encoding is not named: %s", r)
	}
}
