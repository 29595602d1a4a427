package archiver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// TestArchivedOnlyWhenProved lets the store lie about what it holds.
func TestArchivedOnlyWhenProved(t *testing.T) {
	other := "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, c := range []struct {
		name    string
		rule    func(r *rig) rule
		err     string
		corrupt bool
		lock    bool
	}{
		{name: "a put that stores nothing", rule: swallowed, err: "does not show it"},
		{name: "another size", rule: afterPut("Content-Length", "1"), err: "bytes of", corrupt: true},
		{name: "another checksum", rule: afterPut("X-Amz-Checksum-Sha256", other), err: "shows another SHA256", corrupt: true},
		{name: "no checksum, and other bytes", rule: func(*rig) rule {
			hide := archivertest.Header("HEAD media", "X-Amz-Checksum-Sha256", "")
			return both(hide, flippedReply("GET media"))
		}, err: "read back has another SHA-256", corrupt: true},
		{name: "no lock", lock: true, rule: func(*rig) rule { return archivertest.Header("HEAD media", "X-Amz-Object-Lock-Mode", "") }, err: "Object Lock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, archivertest.Checking, c.lock)
			r.Add(1)
			r.Wire.Use(c.rule(r))
			report := r.pass()
			r.Wire.Use(nil)
			e := r.Entry("rec-01")
			text := e.LastError
			if report.Err != nil {
				text += report.Err.Error()
			}
			if e.State == state.StateArchived || !strings.Contains(text, c.err) {
				t.Errorf("%s with error %q, want %q", e.State, text, c.err)
			}
			if (len(report.Corrupt) > 0) != c.corrupt {
				t.Errorf("reported as corrupt: %q", report.Corrupt)
			}
			r.passed()
			v := r.WantArchived("rec-01")
			if again := strings.HasSuffix(v.MediaKey, "~2.wav"); again != c.corrupt {
				t.Errorf("the next pass used %s: an object once seen corrupt is never adopted, a sound one is", v.MediaKey)
			}
		})
	}
}

func both(outer, inner rule) rule {
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		return outer(n, req, func() (*http.Response, error) { return inner(n, req, send) })
	}
}

// afterPut changes a header of the HEADs that find something.
func afterPut(key, value string) func(*rig) rule {
	return func(*rig) rule { return archivertest.AfterPut(key, value) }
}

func swallowed(*rig) rule {
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == "PUT media" {
			return archivertest.Answer(req, http.StatusOK, ""), nil
		}
		return send()
	}
}

// TestUnprovedStoreIsReadBack: a store that only echoes checksums proves nothing by
// them, so every object is read.
func TestUnprovedStoreIsReadBack(t *testing.T) {
	for _, c := range []struct {
		on   *archivertest.Server
		gets int
	}{{archivertest.Checking, 0}, {archivertest.Echoing, 1}} {
		r := newRig(t, c.on, false)
		r.Add(1)
		r.Wire.Use(nil)
		r.passed()
		if n := r.Wire.Count("GET media"); n != c.gets {
			t.Errorf("%s: the media were read back %d times, want %d", r.Server.Name, n, c.gets)
		}
	}
}

// TestStoreDownStopsThePass: one recording after the other would only fail too.
func TestStoreDownStopsThePass(t *testing.T) {
	r := newRig(t, archivertest.Echoing, false)
	r.Add(60)
	r.options.Workers, r.options.Memory = 1, PartSize
	r.Wire.Use(unavailable("PUT media"))
	archivertest.WantErr(t, r.pass().Err, failure.KindTemporary, "one recording after the other")
	if n := len(r.Requests(opLink)); n > downStreak+1 {
		t.Errorf("%d downloads for a store that is down", n)
	}
	r.Wire.Use(nil)
	r.passed()
	r.WantArchived("rec-60")
}

// TestOneFailureStopsNoOther has a recording of each kind that can't be archived
// between those that can.
func TestOneFailureStopsNoOther(t *testing.T) {
	r := newRig(t, archivertest.Echoing, false)
	ids := r.Add(12)
	for i, effect := range []genesystest.Effect{
		genesystest.HTML(200), genesystest.Status(403, "authz.policy.denied"), genesystest.Body(200, "audio/wav", "{}"), genesystest.Expired(),
	} {
		op := opLink
		if i == 1 {
			op = opDownload
		}
		r.Cloud.Inject(genesystest.Fault{Op: op, Recording: ids[i], Times: genesystest.Always, Effect: effect})
	}
	report := r.passed()
	if report.Pass.Archived != 8 || report.Pass.Failed != 4 {
		t.Errorf("%d archived and %d failed", report.Pass.Archived, report.Pass.Failed)
	}
	for _, id := range ids[:4] {
		if e := r.WantState(id, state.StateFailed); e.LastError == "" || e.Attempts != 1 {
			t.Errorf("%s: %d attempts, error %q", id, e.Attempts, e.LastError)
		}
	}
	for _, id := range ids[4:] {
		r.WantArchived(id)
	}
}

func TestDelay(t *testing.T) {
	for n, want := range map[int]time.Duration{
		1: 0, 2: 0, 3: 15 * time.Minute, 4: 30 * time.Minute, 5: time.Hour, 8: 8 * time.Hour, 9: 12 * time.Hour, 1000: 12 * time.Hour,
	} {
		if got := delay(n); got != want {
			t.Errorf("after failure %d: %s, want %s", n, got, want)
		}
	}
}

// The waits after a recording's failures never shrink and never pass maxDelay.
func TestDelayNeverShrinks(t *testing.T) {
	for n := 1; n < 200; n++ {
		if delay(n) > delay(n+1) || delay(n) < 0 || delay(n) > maxDelay {
			t.Fatalf("failure %d: %s, failure %d: %s", n, delay(n), n+1, delay(n+1))
		}
	}
}

func TestChangedSince(t *testing.T) {
	for _, c := range []struct {
		before, now string
		want        bool
	}{
		{"2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z", false},
		{"2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00+01:00", false},
		{"2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.001Z", true},
		{"2026-01-01T00:00:00.000Z", "", false},
		{"", "2026-01-01T00:00:00.000Z", true},
		{"rubbish", "rubbish", false},
		{"rubbish", "other", true},
	} {
		if got := changedSince(c.before, c.now); got != c.want {
			t.Errorf("from %q to %q: changed %v", c.before, c.now, got)
		}
	}
}

// TestWrongDownloadAPI needs three recordings to be sure.
func TestWrongDownloadAPI(t *testing.T) {
	for _, n := range []int{2, 3} {
		r := newRig(t, archivertest.Echoing, false)
		r.Add(n)
		r.in.DownloadAPI = genesys.DownloadMedia
		r.Cloud.Configure(func(o *genesystest.Options) { o.Media = genesystest.AbsentUncoded })
		err := r.pass().Err
		if n < 3 && err != nil {
			t.Errorf("%d recordings are too few to end the pass: %v", n, err)
		}
		if n == 3 {
			archivertest.WantErr(t, err, failure.KindFailed, "download_api: media is not served", "try download_api: transcoding")
		}
	}
}
