package integration_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestExportOfCase exports what a case holds: from the ledger, from a service's, and from the
// archive alone.
func TestExportOfCase(t *testing.T) {
	onLockingStores(t, func(t *testing.T, w *world) {
		w.daily()
		inbox := w.cloud.ClientInbox()
		fill(inbox, 3)
		w.once(0)
		w.expect(0, ordered("hold", "set", "Smith v. Jones", "r000", "r002")...)
		w.expect(0, ordered("hold", "set", "another", "r001")...)
		p := w.start("run")
		w.awaitLog(p, "archiverd starts", 1)
		args := func(name string, more ...string) []string {
			return append(append([]string{"export", "--case", "Smith v. Jones"}, more...), filepath.Join(w.dir, name))
		}
		w.expect(0, args("served")...)
		w.ends(p)
		w.expect(0, args("export")...)
		w.expect(0, args("archive", "--from-archive")...)
		lines := w.exported(filepath.Join(w.dir, "export"))
		if len(lines) != 2 || lines[0][0] != "r000" || lines[1][0] != "r002" || lines[0][10] != "Smith v. Jones" {
			t.Errorf("the table has %q", lines)
		}
		for _, name := range []string{"served", "archive"} {
			if again := w.exported(filepath.Join(w.dir, name)); !cmp.Equal(again, lines) {
				t.Errorf("%s has another table: %s", name, cmp.Diff(lines, again))
			}
		}
		w.expect(2, "export", "--case", "nobody's", filepath.Join(w.dir, "none"))
	})
}

// TestExportBesideARun runs over the inbox while an export copies media: neither
// waits for the other, whether the ledger is a file or in a database.
func TestExportBesideARun(t *testing.T) {
	t.Parallel()
	for _, ledger := range []string{"file", "database"} {
		t.Run(ledger, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
			if ledger == "database" {
				w.inDatabase(postgrestest.Run(t))
				w.expect(0, "migrate")
			}
			copying, beside := atomic.Bool{}, func() {}
			w.between(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/media/") && copying.CompareAndSwap(true, false) {
						beside()
					}
					next.ServeHTTP(rw, r)
				})
			})
			inbox := w.cloud.ClientInbox()
			fill(inbox, 3)
			w.once(0)
			dir := filepath.Join(w.dir, "export")
			copying.Store(true)
			beside = func() {
				inbox.Add(genesystest.Recording{ID: "new"})
				w.once(0)
			}
			w.expect(0, "export", "--all", dir)
			if copying.Load() {
				t.Fatal("no media were copied")
			}
			if lines := w.exported(dir); len(lines) != 3 {
				t.Errorf("the table has %q", lines)
			}
			w.expect(0, "export", "--all", filepath.Join(w.dir, "again"))
			if lines := w.exported(filepath.Join(w.dir, "again")); len(lines) != 4 {
				t.Errorf("the table has %q", lines)
			}
		})
	}
}
