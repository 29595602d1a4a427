package fleet

import (
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
)

// TestMayBegin wants no ledger to begin on an archive of which it knows nothing, whether it
// is new or another archive's, and any to begin on an empty one.
func TestMayBegin(t *testing.T) {
	b := newBucket(t)
	c := &config.Config{Organizations: []config.Organization{{Name: "empty"}, {Name: "acme"}}}
	c.Storage.Prefix, c.State.Path = "genesys", filepath.Join(t.TempDir(), "ledger.db")
	l, err := bolt.Open(c.State.Path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := MayBegin(t.Context(), c, b, nil); err != nil {
		t.Errorf("a new ledger on an empty archive: %v", err)
	}
	keys := record.Keys{Prefix: "genesys", Org: "acme", Inbox: "u1"}
	put(t, b, keys.Media("rec-1", "2026-11-23T10:00:00Z", "WAV"), "media")
	for name, l := range map[string]ledger{"none yet": nil, "one that knows nothing": l} {
		err := MayBegin(t.Context(), c, b, l)
		if !isUsage(err) || !strings.Contains(err.Error(), "organization acme") || !strings.Contains(err.Error(), "(several)") {
			t.Errorf("the archive holds recordings, the ledger is %s: %v", name, err)
		}
	}
	listed := state.Change{Recording: "rec-1", To: state.StateListed, Edit: func(*state.Entry) {}}
	err = l.List(t.Context(), "acme", "u1", nil, func(func(string) (state.Entry, bool)) []state.Change { return []state.Change{listed} })
	if err != nil {
		t.Fatal(err)
	}
	if err := MayBegin(t.Context(), c, b, l); err != nil {
		t.Errorf("the ledger knows the archive: %v", err)
	}
}

func put(t *testing.T, b *storage.Bucket, key, body string) {
	t.Helper()
	if _, err := b.Put(t.Context(), storage.New{Key: key}, []byte(body), sha256.Sum256([]byte(body))); err != nil {
		t.Fatal(err)
	}
}
