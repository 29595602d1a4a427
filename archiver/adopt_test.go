package archiver

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// rigOn is a rig with one recording and its media's first key.
func rigOn(t *testing.T, on *archivertest.Server) (*rig, string) {
	t.Parallel()
	r := newRig(t, on, false)
	r.User.Add(genesystest.Recording{ID: "rec-01", Duration: 100 * time.Millisecond})
	return r, r.FirstKey("rec-01")
}

// A foreign object is left as it is, reported, and passed over.
func TestForeignObjectIsPassedOver(t *testing.T) {
	r, key := rigOn(t, archivertest.Checking)
	foreign := []byte("somebody else's")
	r.Put(key, foreign)
	r.Put(strings.Replace(key, ".wav", "~2.wav", 1), foreign)
	report := r.passed()
	if v := r.WantArchived("rec-01"); !strings.HasSuffix(v.MediaKey, "rec-01~3.wav") {
		t.Errorf("archived at %s", v.MediaKey)
	}
	if !bytes.Equal(r.Read(key), foreign) || len(report.Foreign) != 2 {
		t.Errorf("%q is there now, reported are %q", r.Read(key), report.Foreign)
	}
}

// What stands in a manifest's place is passed over too, and never believed.
func TestForeignManifestIsPassedOver(t *testing.T) {
	for name, text := range map[string]string{"rubbish": "rubbish", "a manifest of nothing": "{}", "nothing": ""} {
		t.Run(name, func(t *testing.T) {
			r, key := rigOn(t, archivertest.Checking)
			manifest := record.Keys{Prefix: "genesys", Org: org, Inbox: user}.Manifest(key, 1)
			r.Put(manifest, []byte(text))
			r.passed()
			if v := r.WantArchived("rec-01"); !strings.HasSuffix(v.ManifestKey, "rec-01~2.json") {
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
			r := newRig(t, archivertest.Checking, false)
			r.User.Add(genesystest.Recording{ID: "rec-01", Size: size})
			r.passed()
			r.CloseLedger()
			r.Path += ".new"
			r.OpenLedger()
			r.Login(r.User)
			r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if name == "GET" && strings.Contains(req.URL.Query().Get("prefix"), "/media/") {
					return archivertest.Answer(req, http.StatusOK, `<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>`), nil
				}
				return send()
			})
			report := r.passed()
			r.Wire.Use(nil)
			r.WantArchived("rec-01")
			r.WantOnce()
			if report.Pass.Adopted != 1 {
				t.Errorf("%d recordings were adopted, want 1", report.Pass.Adopted)
			}
		})
	}
}

// A ledger that was lost finds everything again, and downloads nothing.
func TestNewLedgerAdoptsWhatIsThere(t *testing.T) {
	for name, on := range map[string]*archivertest.Server{"checking": archivertest.Checking, "echoing": archivertest.Echoing} {
		t.Run(name, func(t *testing.T) {
			r, _ := rigOn(t, on)
			r.passed()
			before := r.WantArchived("rec-01")
			r.CloseLedger()
			r.Path += ".new"
			r.OpenLedger()
			r.Login(r.User)
			report := r.passed(deleting)
			after := r.WantArchived("rec-01")
			if report.Pass.Adopted != 1 || len(r.Requests(opLink)) != 1 {
				t.Errorf("%d adopted, %d downloads", report.Pass.Adopted, len(r.Requests(opLink)))
			}
			before.ArchivedAt = after.ArchivedAt
			if before != after {
				t.Errorf("the new ledger has\n%+v, the old one had\n%+v", after, before)
			}
			r.WantOnce()
			if sent := r.Requests(opDelete); len(sent) != 0 {
				t.Errorf("deleted %q from another ledger's inbox", sent)
			}
		})
	}
}

// A manifest that an interrupted pass left without its lock is not adopted either.
func TestAdoptedManifestMustBeLocked(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	r.Add(1)
	archivertest.WantErr(t, r.pass(func(o *Options) { o.Ledger = brokenLedger{o.Ledger} }).Err, failure.KindLedger)
	r.WantOnce()
	r.Wire.Altered("HEAD manifests", "X-Amz-Object-Lock-Mode", "")
	archivertest.WantErr(t, r.pass().Err, failure.KindConfiguration, "/manifests/", "Object Lock")
	r.WantState("rec-01", state.StateListed)
	r.Wire.Use(nil)
	if r.passed(); len(r.Requests(opLink)) != 1 {
		t.Errorf("%d downloads", len(r.Requests(opLink)))
	}
	r.WantArchived("rec-01")
}

// A changed recording gets the next key; both versions stay, each with its manifest.
func TestChangedRecordingIsAnotherVersion(t *testing.T) {
	r, key := rigOn(t, archivertest.Checking)
	r.passed()
	first := r.WantArchived("rec-01")
	bytesOfFirst := r.Read(key)
	r.User.Change("rec-01")
	r.passed()
	second := r.WantArchived("rec-01")
	e := r.Entry("rec-01")
	if len(e.Versions) != 2 || e.Versions[0] != first || second.MediaKey == first.MediaKey || second.ManifestKey == first.ManifestKey {
		t.Errorf("versions %+v", e.Versions)
	}
	if !bytes.Equal(r.Read(key), bytesOfFirst) || r.Manifest(first.ManifestKey).Media.Key != key {
		t.Error("the first version is not what it was")
	}
}

// A store altered the bytes, and the process crashed before it could see that. The
// next pass finds an object with the right metadata, does not adopt it, and never
// looks at it again.
func TestAlteredObjectIsNotAdoptedAfterACrash(t *testing.T) {
	r, key := rigOn(t, archivertest.Echoing)
	ctx, crash := context.WithCancel(context.Background())
	defer crash()
	r.Wire.Use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n != "PUT media" {
			return send()
		}
		req.Body = archivertest.Flip(req.Body)
		resp, err := send()
		crash()
		return resp, err
	})
	r.archiver().Run(ctx, ctx, []Inbox{r.in})
	r.Wire.Use(nil)
	if !r.Exists(key) {
		t.Fatal("the altered object is not there")
	}
	report := r.pass()
	if e := r.Entry("rec-01"); e.State == state.StateArchived || !slices.Equal(e.BadKeys, []string{key}) {
		t.Errorf("%s, bad keys %q", e.State, e.BadKeys)
	}
	archivertest.WantSame(t, "corrupt", report.Corrupt, []string{key})
	r.passed()
	if v := r.WantArchived("rec-01"); v.MediaKey == key {
		t.Error("archived under the key of the altered object")
	}
}

// Ids of any length and of any bytes that JSON carries are archived, on real servers.
func TestHostileIDs(t *testing.T) {
	long := strings.Repeat("ü/", 300) // the ledger holds no id of 2,000 bytes with its inbox
	ids := []string{"../../owners/x", "a~2", "a", "%2e%2e", "x=y/z", " ", "日本語", "a\tb", "con\u0000trol", strings.Repeat("A", 200), strings.Repeat("A", 201), long, long + "x"}
	for name, on := range map[string]*archivertest.Server{"checking": archivertest.Checking, "echoing": archivertest.Echoing} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, on, false)
			for _, id := range ids {
				r.User.Add(genesystest.Recording{ID: id, Duration: 50 * time.Millisecond})
			}
			report := r.passed()
			if report.Pass.Archived != int64(len(ids)) || len(report.Foreign) != 0 {
				t.Fatalf("%d of %d archived, foreign %q", report.Pass.Archived, len(ids), report.Foreign)
			}
			keys := map[string]bool{}
			for _, id := range ids {
				keys[r.WantArchived(id).MediaKey] = true
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
		r := newRig(t, archivertest.Checking, false)
		r.options.Retention.Mode = "COMPLIANCE"
		r.options.Workers = 1
		r.Add(8, func(rec *genesystest.Recording) { rec.Duration, rec.Size = 0, size })
		archivertest.WantErr(t, r.pass().Err, failure.KindConfiguration, "create the bucket with Object Lock", "object_lock.mode")
		if e := r.WantState("rec-08", state.StateListed); e.Attempts != 0 {
			t.Errorf("counted as %d attempts of a recording", e.Attempts)
		}
		if n := len(r.Requests(opLink)); n > 2 {
			t.Errorf("%d downloads for a bucket that can take none", n)
		}
	}
}
