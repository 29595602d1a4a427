package archiver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// rigOn is a rig with one recording and its media's first key.
func rigOn(t *testing.T, on *sharedServer) (*rig, string) {
	t.Parallel()
	r := newRig(t, on, false)
	r.user.Add(genesystest.Recording{ID: "rec-01", Duration: 100 * time.Millisecond})
	return r, orderCase{}.mediaKey(r)
}

func (r *rig) put(key string, text []byte) {
	r.t.Helper()
	if _, err := r.store().Put(context.Background(), newObject(key), text, sha256.Sum256(text)); err != nil {
		r.t.Fatal(err)
	}
}

// A foreign object is left as it is, reported, and passed over.
func TestForeignObjectIsPassedOver(t *testing.T) {
	r, key := rigOn(t, &checking)
	foreign := []byte("somebody else's")
	r.put(key, foreign)
	r.put(strings.Replace(key, ".wav", "~2.wav", 1), foreign)
	report := r.passed()
	if v := r.wantArchived("rec-01"); !strings.HasSuffix(v.MediaKey, "rec-01~3.wav") {
		t.Errorf("archived at %s", v.MediaKey)
	}
	if !bytes.Equal(r.read(key), foreign) || len(report.Foreign) != 2 {
		t.Errorf("%q is there now, reported are %q", r.read(key), report.Foreign)
	}
}

// What stands in a manifest's place is passed over too, and never believed.
func TestForeignManifestIsPassedOver(t *testing.T) {
	for name, text := range map[string]string{"rubbish": "rubbish", "a manifest of nothing": "{}", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			r, key := rigOn(t, &checking)
			manifest := record.Keys{Prefix: "genesys", Org: org, Inbox: user}.Manifest(key, 1)
			r.put(manifest, []byte(text))
			r.passed()
			if v := r.wantArchived("rec-01"); !strings.HasSuffix(v.ManifestKey, "rec-01~2.json") {
				t.Errorf("described at %s", v.ManifestKey)
			}
		})
	}
}

// A listing that is behind its bucket has a recording downloaded once more. The store
// refuses the second create, and what stands there is adopted.
func TestStaleListingIsFoundOut(t *testing.T) {
	for what, size := range map[string]int64{"put": 1000, "parts": PartSize + 1000} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, false)
			r.user.Add(genesystest.Recording{ID: "rec-01", Size: size})
			r.passed()
			r.closeLedger()
			r.path += ".new"
			r.openLedger()
			r.login(r.user)
			r.wire.use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if name == "GET" && strings.Contains(req.URL.Query().Get("prefix"), "/media/") {
					return answer(req, http.StatusOK, `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`), nil
				}
				return send()
			})
			report := r.passed()
			r.wire.use(nil)
			r.wantArchived("rec-01")
			r.wantOnce()
			if report.Pass.Adopted != 1 {
				t.Errorf("%d recordings were adopted, want 1", report.Pass.Adopted)
			}
		})
	}
}

// A ledger that was lost finds everything again, and downloads nothing.
func TestNewLedgerAdoptsWhatIsThere(t *testing.T) {
	for name, on := range map[string]*sharedServer{"checking": &checking, "echoing": &echoing} {
		t.Run(name, func(t *testing.T) {
			r, _ := rigOn(t, on)
			r.passed()
			before := r.wantArchived("rec-01")
			r.closeLedger()
			r.path += ".new"
			r.openLedger()
			r.login(r.user)
			report := r.passed(deleting)
			after := r.wantArchived("rec-01")
			if report.Pass.Adopted != 1 || len(r.requests(opLink)) != 1 {
				t.Errorf("%d adopted, %d downloads", report.Pass.Adopted, len(r.requests(opLink)))
			}
			before.ArchivedAt = after.ArchivedAt
			if before != after {
				t.Errorf("the new ledger has\n%+v, the old one had\n%+v", after, before)
			}
			r.wantOnce()
			if sent := r.requests(opDelete); len(sent) != 0 {
				t.Errorf("deleted %q from another ledger's inbox", sent)
			}
		})
	}
}

// A manifest that an interrupted pass left without its lock is not adopted either.
func TestAdoptedManifestMustBeLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, true)
	r.add(1)
	wantErr(t, r.pass(func(o *Options) { o.Ledger = brokenLedger{o.Ledger} }).Err, failure.KindLedger)
	r.wantOnce()
	r.wire.altered("HEAD manifests", "X-Amz-Object-Lock-Mode", "")
	wantErr(t, r.pass().Err, failure.KindConfiguration, "/manifests/", "Object Lock")
	r.wantState("rec-01", state.StateListed)
	r.wire.use(nil)
	if r.passed(); len(r.requests(opLink)) != 1 {
		t.Errorf("%d downloads", len(r.requests(opLink)))
	}
	r.wantArchived("rec-01")
}

// A changed recording gets the next key; both versions stay, each with its manifest.
func TestChangedRecordingIsAnotherVersion(t *testing.T) {
	r, key := rigOn(t, &checking)
	r.passed()
	first := r.wantArchived("rec-01")
	bytesOfFirst := r.read(key)
	r.user.Change("rec-01")
	r.passed()
	second := r.wantArchived("rec-01")
	e := r.entry("rec-01")
	if len(e.Versions) != 2 || e.Versions[0] != first || second.MediaKey == first.MediaKey || second.ManifestKey == first.ManifestKey {
		t.Errorf("versions %+v", e.Versions)
	}
	if !bytes.Equal(r.read(key), bytesOfFirst) || r.manifest(first.ManifestKey).Media.Key != key {
		t.Error("the first version is not what it was")
	}
}

// A store altered the bytes, and the process crashed before it could see that. The
// next pass finds an object with the right metadata, does not adopt it, and never
// looks at it again.
func TestAlteredObjectIsNotAdoptedAfterACrash(t *testing.T) {
	r, key := rigOn(t, &echoing)
	ctx, crash := context.WithCancel(context.Background())
	defer crash()
	r.wire.use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n != "PUT media" {
			return send()
		}
		req.Body = flip(req.Body)
		resp, err := send()
		crash()
		return resp, err
	})
	r.archiver().Run(ctx, ctx, []Inbox{r.in})
	r.wire.use(nil)
	if !r.exists(key) {
		t.Fatal("the altered object is not there")
	}
	report := r.pass()
	if e := r.entry("rec-01"); e.State == state.StateArchived || !slices.Equal(e.BadKeys, []string{key}) {
		t.Errorf("%s, bad keys %q", e.State, e.BadKeys)
	}
	wantSame(t, "corrupt", report.Corrupt, []string{key})
	r.passed()
	if v := r.wantArchived("rec-01"); v.MediaKey == key {
		t.Error("archived under the key of the altered object")
	}
}

// Ids of any length and of any bytes that JSON carries are archived, on real servers.
func TestHostileIDs(t *testing.T) {
	long := strings.Repeat("ü/", 300) // the ledger holds no id of 2,000 bytes with its inbox
	ids := []string{"../../owners/x", "a~2", "a", "%2e%2e", "x=y/z", " ", "日本語", "a\tb", "con\u0000trol", strings.Repeat("A", 200), strings.Repeat("A", 201), long, long + "x"}
	for name, on := range map[string]*sharedServer{"checking": &checking, "echoing": &echoing} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, on, false)
			for _, id := range ids {
				r.user.Add(genesystest.Recording{ID: id, Duration: 50 * time.Millisecond})
			}
			report := r.passed()
			if report.Pass.Archived != int64(len(ids)) || len(report.Foreign) != 0 {
				t.Fatalf("%d of %d archived, foreign %q", report.Pass.Archived, len(ids), report.Foreign)
			}
			keys := map[string]bool{}
			for _, id := range ids {
				keys[r.wantArchived(id).MediaKey] = true
			}
			if len(keys) != len(ids) {
				t.Errorf("%d keys for %d recordings", len(keys), len(ids))
			}
		})
	}
}

// A bucket without Object Lock can't hold the retention asked for: that is said
// once, with the remedy, instead of being every recording's own failure.
func TestBucketWithoutLocks(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{100, PartSize + 100} {
		r := newRig(t, &checking, false)
		r.options.Retention.Mode = "COMPLIANCE"
		r.options.Workers = 1
		r.add(8, func(rec *genesystest.Recording) { rec.Duration, rec.Size = 0, size })
		wantErr(t, r.pass().Err, failure.KindConfiguration, "create the bucket with Object Lock", "object_lock.mode")
		if e := r.wantState("rec-08", state.StateListed); e.Attempts != 0 {
			t.Errorf("counted as %d attempts of a recording", e.Attempts)
		}
		if n := len(r.requests(opLink)); n > 2 {
			t.Errorf("%d downloads for a bucket that can take none", n)
		}
	}
}
