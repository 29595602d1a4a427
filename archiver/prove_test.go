package archiver

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
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
			hide := header("HEAD media", "X-Amz-Checksum-Sha256", "")
			return both(hide, flippedReply("GET media"))
		}, err: "read back has another SHA-256", corrupt: true},
		{name: "no lock", lock: true, rule: func(*rig) rule { return header("HEAD media", "X-Amz-Object-Lock-Mode", "") }, err: "Object Lock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, &checking, c.lock)
			r.add(1)
			r.wire.use(c.rule(r))
			report := r.pass()
			r.wire.use(nil)
			e := r.entry("rec-01")
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
			v := r.wantArchived("rec-01")
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
	return func(*rig) rule {
		change := header("HEAD media", key, value)
		return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
			resp, err := send()
			if err != nil || resp.StatusCode != http.StatusOK {
				return resp, err
			}
			return change(n, req, func() (*http.Response, error) { return resp, nil })
		}
	}
}

func swallowed(*rig) rule {
	return func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == "PUT media" {
			return answer(req, http.StatusOK, ""), nil
		}
		return send()
	}
}

// TestUnprovedStoreIsReadBack: a store that only echoes checksums proves nothing by
// them, so every object is read.
func TestUnprovedStoreIsReadBack(t *testing.T) {
	for _, c := range []struct {
		on   *sharedServer
		gets int
	}{{&checking, 0}, {&echoing, 1}} {
		r := newRig(t, c.on, false)
		r.add(1)
		r.wire.use(nil)
		r.passed()
		if n := r.wire.count("GET media"); n != c.gets {
			t.Errorf("%s: the media were read back %d times, want %d", r.server.Name, n, c.gets)
		}
	}
}

// TestStoreDownStopsThePass: one recording after the other would only fail too.
func TestStoreDownStopsThePass(t *testing.T) {
	r := newRig(t, &echoing, false)
	r.add(60)
	r.options.Workers, r.options.Memory = 1, PartSize
	r.wire.use(unavailable("PUT media"))
	wantErr(t, r.pass().Err, failure.KindTemporary, "one recording after the other")
	if n := len(r.requests(opLink)); n > downStreak+1 {
		t.Errorf("%d downloads for a store that is down", n)
	}
	r.wire.use(nil)
	r.passed()
	r.wantArchived("rec-60")
}

// TestOneFailureStopsNoOther has a recording of each kind that can't be archived
// between those that can.
func TestOneFailureStopsNoOther(t *testing.T) {
	r := newRig(t, &echoing, false)
	ids := r.add(12)
	for i, effect := range []genesystest.Effect{
		genesystest.HTML(200), genesystest.Status(403, "authz.policy.denied"), genesystest.Body(200, "audio/wav", "{}"), genesystest.Expired(),
	} {
		op := opLink
		if i == 1 {
			op = opDownload
		}
		r.cloud.Inject(genesystest.Fault{Op: op, Recording: ids[i], Times: genesystest.Always, Effect: effect})
	}
	report := r.passed()
	if report.Pass.Archived != 8 || report.Pass.Failed != 4 {
		t.Errorf("%d archived and %d failed", report.Pass.Archived, report.Pass.Failed)
	}
	for _, id := range ids[:4] {
		if e := r.wantState(id, state.StateFailed); e.LastError == "" || e.Attempts != 1 {
			t.Errorf("%s: %d attempts, error %q", id, e.Attempts, e.LastError)
		}
	}
	for _, id := range ids[4:] {
		r.wantArchived(id)
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

func TestRetention(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := &Archiver{Options: Options{Retention: Retention{Mode: "COMPLIANCE", Until: func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }}}}
	for _, c := range []struct {
		name, created string
		want          time.Time // zero: no lock
	}{
		{"counts from dateCreated", "2026-10-01T00:00:00Z", time.Date(2027, 10, 1, 0, 0, 0, 0, time.UTC)},
		{"no date", "", now.AddDate(1, 0, 0)},
		{"a date before 2000", "1999-12-31T23:59:59Z", now.AddDate(1, 0, 0)},
		{"a date to come", "2027-01-01T00:00:00Z", now.AddDate(1, 0, 0)},
		{"ended already", "2020-01-01T00:00:00Z", time.Time{}},
		{"ends within the hour", "2025-11-23T12:59:00Z", time.Time{}},
		{"ends in an hour", "2025-11-23T13:00:00Z", now.Add(time.Hour)},
	} {
		want := storage.Retention{}
		if !c.want.IsZero() {
			want = storage.Retention{Mode: "COMPLIANCE", Until: c.want}
		}
		if got := a.retention(c.created, now); got != want {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
		if note := a.manifestRetention(c.created, now, storage.Retention{}); note == nil || note.Note == "" {
			t.Errorf("%s: an unlocked object's manifest says %+v", c.name, note)
		}
	}
}

// TestWrongDownloadAPI needs three recordings to be sure.
func TestWrongDownloadAPI(t *testing.T) {
	for _, n := range []int{2, 3} {
		r := newRig(t, &echoing, false)
		r.add(n)
		r.in.DownloadAPI = genesys.DownloadMedia
		r.cloud.Configure(func(o *genesystest.Options) { o.Media = genesystest.AbsentUncoded })
		err := r.pass().Err
		if n < 3 && err != nil {
			t.Errorf("%d recordings are too few to end the pass: %v", n, err)
		}
		if n == 3 {
			wantErr(t, err, failure.KindFailed, "download_api: media is not served", "try download_api: transcoding")
		}
	}
}
