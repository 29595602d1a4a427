package integration_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

var (
	servers = flag.String("servers", "versitygw,minio", "S3 servers for TestStores, as storagetest names them")
	update  = flag.Bool("update", false, "write docs/stores.md anew")
)

// storesPage is what operators read. It says of each server what TestStores saw.
const storesPage = "../docs/stores.md"

// TestStores tries real servers for what archiverd leans on, has the doctor look at
// them, archives many recordings with and without locks and deletes the originals, and
// holds docs/stores.md to all that was seen.
func TestStores(t *testing.T) {
	t.Parallel()
	have, err := os.ReadFile(storesPage)
	if err != nil {
		t.Fatal(err)
	}
	tables := storeTables(string(have)) // rows of servers that are not tried now stay
	var mu sync.Mutex
	t.Run("tried", func(t *testing.T) {
		for name := range strings.SplitSeq(*servers, ",") {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := storagetest.Named(t, name)
				does := newOnlooker(t, s).cells()
				var tried []string
				for _, mode := range []string{"none", "compliance"} {
					tried = append(tried, archivesAndDeletes(t, s, name, mode))
				}
				for _, mode := range []string{"none", "compliance"} {
					tried = append(tried, newWorldOn(t, s, genesystest.Options{}).setFor(name, mode).doctored())
				}
				mu.Lock()
				defer mu.Unlock()
				tables[doTable][storeNames[name]], tables[triedTable][storeNames[name]] = does, tried
			})
		}
	})
	if t.Failed() {
		return // the failure says more than the page would
	}
	page := storesText(tables)
	if *update {
		if err := os.WriteFile(storesPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(have), page); d != "" {
		t.Errorf("docs/stores.md is not what was seen; look at each difference, then run make stores: -page +seen\n%s", d)
	}
}

// setFor configures the lock, and what docs/stores.md says that a server needs.
func (w *world) setFor(server, mode string) *world {
	w.lockedAs(mode)
	if server == "ceph-rgw" {
		w.config["storage"].(map[string]any)["checksum"] = "md5"
	}
	return w
}

// doctored is what the doctor finds wrong with a server.
func (w *world) doctored() string {
	w.Helper()
	code := w.run("doctor").code
	found := w.doctor(code)
	faults := []string{fmt.Sprintf("exit code %d", code)}
	for _, name := range []string{"create_only", "checksum", "encryption", "versioning", "lock", "hold", "lifecycle"} {
		if f := found["store."+name]; f.Result != "pass" && f.Result != "unchecked" {
			faults = append(faults, fmt.Sprintf("%s %ss", name, f.Result))
		}
	}
	return strings.Join(faults, "; ")
}

// archivesAndDeletes archives small and large recordings, deletes their originals, and
// finds the archive sound.
func archivesAndDeletes(t *testing.T, s *storagetest.Server, name, mode string) string {
	sound := t.Run("lock "+mode, func(t *testing.T) {
		w := newWorldOn(t, s, genesystest.Options{Queued: 1, DeletedListings: -1}).setFor(name, mode)
		inbox := w.cloud.ClientInbox()
		fillMany(inbox)
		w.once(0)
		a := w.wantArchived(all(inbox))
		w.noUploads(a)
		if mode != "none" {
			w.wantLocked(a)
		}
		w.deletesAll(inbox)
		w.expect(0, "verify", "--read")
		w.expect(0, "reconcile")
	})
	if !sound {
		return "failed"
	}
	return "archived, deleted, sound"
}

// wantLocked insists on a lock for every media object and manifest.
func (w *world) wantLocked(a archive) {
	w.Helper()
	keys := keysOf(a.media)
	for _, m := range a.manifests {
		keys = append(keys, m.key)
	}
	for _, key := range keys {
		if l := w.lockOf(key); l.mode != "COMPLIANCE" {
			w.Errorf("%s has the lock %+v", key, l)
		}
	}
}
