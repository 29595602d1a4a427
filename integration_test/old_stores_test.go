package integration_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestOldStore wants a store that refuses checksum headers to lead to
// storage.checksum: md5, in a run and by the doctor, and archived to with that.
func TestOldStore(t *testing.T) {
	t.Parallel()
	for name, refused := range map[string]func(*http.Request) bool{
		"all": func(r *http.Request) bool {
			return r.Header.Get("X-Amz-Checksum-Sha256")+r.Header.Get("X-Amz-Checksum-Crc32") != ""
		},
		"of uploads": func(r *http.Request) bool { return r.Header.Get("X-Amz-Checksum-Type") != "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{DeletedListings: -1})
			w.answers(refused, http.StatusBadRequest,
				"<Error><Code>InvalidArgument</Code><Message>Unsupported header 'x-amz-checksum-type' received for this API call.</Message></Error>")
			inbox := w.cloud.ClientInbox()
			inbox.Add(genesystest.Recording{ID: "small"})
			inbox.Add(genesystest.Recording{ID: "large", Size: 9 << 20})
			w.deleting()

			const remedy = "set storage.checksum to md5"
			if r := w.once(2); !strings.Contains(r.stdout+r.stderr, remedy) {
				t.Errorf("want %q: %s", remedy, r)
			}
			if f := w.doctor(2)["store.create_only"]; f.Result != "fail" || !strings.Contains(f.Remedy, remedy) {
				t.Errorf("want %q: %+v", remedy, f)
			}
			w.editStorage("checksum", "md5")
			w.once(0)
			w.wantState("delete_requested", inbox)
			w.wantArchived(some(inbox, "small", "large"))
		})
	}
}

// TestUnlockedParts wants what a store leaves unlocked that came in parts, as Ceph RGW 16
// does, locked afterwards and only then counted as archived.
func TestUnlockedParts(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.MinIO(t), genesystest.Options{DeletedListings: -1})
	var unlocked, locked sync.Map // by path
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch path := r.URL.Path; {
			case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
				unlocked.Store(path, true)
			case r.Method == http.MethodPut && r.URL.Query().Has("retention"):
				locked.Store(path, true)
				unlocked.Delete(path)
			}
			if _, is := unlocked.Load(r.URL.Path); is && r.Method == http.MethodHead {
				rw = hideLock{rw}
			}
			next.ServeHTTP(rw, r)
		})
	})
	w.lockedAs("compliance")
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "small"})
	inbox.Add(genesystest.Recording{ID: "large", Size: 9 << 20})
	w.once(0)
	w.wantLocked(w.wantArchived(all(inbox)))
	var paths []string
	locked.Range(func(path, _ any) bool { paths = append(paths, path.(string)); return true })
	if len(paths) != 1 || !strings.HasSuffix(paths[0], "/large.wav") {
		t.Errorf("locked afterwards were %q, want the one that came in parts", paths)
	}
}
