package integration_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestLostLedger loses the ledger of an archive that has lived. A run refuses, rebuild
// makes an equal one from the bucket, and runs go on without a second download.
func TestLostLedger(t *testing.T) {
	for name, store := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, store(t), genesystest.Options{})
			inbox := w.cloud.ClientInbox()
			fill(inbox, 6)
			w.once(0)
			inbox.Change("r001")
			inbox.Remove("r002")
			w.once(0)
			w.once(0) // r002 is gone
			w.deleting()
			w.config["delete_originals"].(map[string]any)["max_per_pass"] = 2
			w.once(0)
			w.once(0) // two are deleted
			want := w.entries(inbox)
			lost := w.ledgerPath() + ".lost"
			if err := os.Rename(w.ledgerPath(), lost); err != nil {
				t.Fatal(err)
			}

			if r := w.once(2); !strings.Contains(r.stderr, "archiverd rebuild") {
				t.Errorf("the refusal names no way out: %s", r)
			}
			if _, err := os.Stat(w.ledgerPath()); err == nil {
				t.Error("the refused run made a ledger")
			}
			r := w.expect(0, "rebuild", "--json")
			if !strings.Contains(r.stdout, `"findings":0`) || !strings.Contains(r.stdout, `"deleted":2`) {
				t.Errorf("rebuild says %s", r)
			}
			diff := cmp.Diff(want, w.entries(inbox), cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(time.Second), cmpopts.IgnoreFields(state.Entry{}, "MissingSince"))
			if diff != "" {
				t.Errorf("-lost +rebuilt\n%s", diff)
			}
			w.expect(2, "rebuild") // it replaces none
			asked, deletions := w.transfers(), w.cloud.Requests(opDelete)
			w.once(0)
			if n := w.transfers() - asked; n != 0 {
				t.Errorf("the rebuilt ledger's run asked Genesys %d times for media", n)
			}
			if n := w.cloud.Requests(opDelete) - deletions; n != 0 {
				t.Errorf("%d deletions before a reconcile", n)
			}
			w.expect(0, "verify", "--read")
			w.expect(0, "reconcile")
			w.once(0)
			if n := w.cloud.Requests(opDelete) - deletions; n == 0 {
				t.Error("nothing was deleted after a clean reconcile")
			}
		})
	}
}

// TestOldBackup restores a ledger from before the originals were deleted, as
// docs/operate.md says. It does not know what came since, calls gone what archiverd
// deleted, and downloads nothing again; a rebuilt one knows it all.
func TestOldBackup(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.once(0)
	copied := filepath.Join(w.dir, "backup.db")
	w.expect(0, "backup", copied)
	inbox.Add(genesystest.Recording{ID: "deleted"})
	w.once(0)
	w.deleting()
	w.once(0)
	w.once(0)
	w.wantState(state.StateDeleted, inbox, "r000", "r001", "deleted")
	delete(w.config, "delete_originals")
	inbox.Add(genesystest.Recording{ID: "kept"})
	w.once(0)
	asked := w.transfers()

	if err := os.Rename(copied, w.ledgerPath()); err != nil {
		t.Fatal(err)
	}
	w.once(0)
	want := map[string]string{"r000": "archived", "r001": "archived", "kept": "archived", "deleted": "unknown"}
	if d := cmp.Diff(want, w.reconciled(6).recordings); d != "" {
		t.Errorf("the restored ledger: -want +got\n%s", d)
	}
	w.once(0)
	w.wantState(state.StateGone, inbox, "r000", "r001")

	if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".old"); err != nil {
		t.Fatal(err)
	}
	w.expect(0, "rebuild")
	want = map[string]string{"r000": "deleted", "r001": "deleted", "kept": "archived", "deleted": "deleted"}
	if d := cmp.Diff(want, w.reconciled(0).recordings); d != "" {
		t.Errorf("the rebuilt ledger: -want +got\n%s", d)
	}
	w.once(0)
	if n := w.transfers() - asked; n != 0 {
		t.Errorf("Genesys was asked %d times for media", n)
	}
}

// TestStrangeLedger wants a run to refuse an archive that its ledger knows nothing of,
// and only that.
func TestStrangeLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.put("genesys/media/org=acme/inbox=client/notes.txt", []byte("not by archiverd"))
	w.once(0) // nothing in the inbox, nothing in the bucket but a stranger's file
	w.once(0) // an owner and a journal are no recordings
	inbox := w.cloud.ClientInbox()
	fill(inbox, 1)
	w.once(0)
	v := w.entries(inbox)["r000"].Versions[0]
	if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
		t.Fatal(err)
	}
	w.withLedger(func(l *bolt.Ledger) error { // one with an inbox and no entry
		return l.EditInbox(t.Context(), "acme", "client", func(*state.Inbox) {})
	})
	for _, command := range [][]string{{"run", "--once"}, {"run", "--once", "--dry-run"}, {"run"}, {"retry"}} {
		if r := w.expect(2, command...); !strings.Contains(r.stderr, "archiverd rebuild") || !strings.Contains(r.stderr, "acme") {
			t.Errorf("archiverd %q: %s", command, r)
		}
	}
	if r := w.expect(2, "rebuild"); !strings.Contains(r.stderr, "move that file away") {
		t.Errorf("rebuild beside a ledger: %s", r)
	}
	w.removeVersion(v.ManifestKey, v.ManifestVersionID)
	if err := os.Remove(w.ledgerPath()); err != nil {
		t.Fatal(err)
	}
	if r := w.expect(6, "rebuild"); !strings.Contains(r.stderr, "r000") {
		t.Errorf("rebuild without a manifest: %s", r)
	}
	w.once(0) // writes the manifest again
	w.wantState(state.StateArchived, inbox)
	w.expect(0, "status")
}

// TestBackup copies the ledger out of the service, and goes on from the old copy.
func TestBackup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.daily()
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	p := w.serve()
	copied := filepath.Join(w.dir, "backup.db")
	w.expect(0, "backup", copied)
	w.ends(p)
	info, err := os.Stat(copied)
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("the backup: %v, %v", info, err)
	}
	before, err := os.ReadFile(copied)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.expect(2, "backup", copied); !strings.Contains(r.stderr, "exists already") {
		t.Errorf("a second backup to the same place: %s", r)
	}
	inbox.Add(genesystest.Recording{ID: "later", Size: 1000})
	w.once(0)
	asked := w.transfers()
	if after, err := os.ReadFile(copied); err != nil || string(after) != string(before) {
		t.Errorf("the backup changed: %v", err)
	}
	if err := os.Rename(copied, w.ledgerPath()); err != nil {
		t.Fatal(err)
	}
	w.once(0)
	w.wantState(state.StateArchived, inbox, "later")
	if n := w.transfers() - asked; n != 0 {
		t.Errorf("after the old backup Genesys was asked %d times for media", n)
	}
}
