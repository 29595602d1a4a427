package integration_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// TestInterruptedDownload breaks a download in every way that must not show in the
// archive. The statuses are those of the media host, in their order.
func TestInterruptedDownload(t *testing.T) {
	t.Parallel()
	strong, weak := genesystest.LinkMode{}, genesystest.LinkMode{WeakETag: true}
	for _, c := range []struct {
		name     string
		cloud    genesystest.Options
		effects  []genesystest.Effect // one for each request
		statuses []int
	}{
		{"undisturbed", genesystest.Options{Queued: 2, Running: 2, WithoutLocation: 1}, nil, []int{200}},
		{"link expired", genesystest.Options{}, effects(genesystest.Expired()), []int{403, 200}},
		{"cut, strong ETag", genesystest.Options{Links: strong}, effects(genesystest.CutAfter(300_000)), []int{200, 206}},
		{"cut twice", genesystest.Options{Links: strong}, effects(genesystest.CutAfter(300_000), genesystest.CutAfter(9_000_000)), []int{200, 206, 206}},
		{"cut, then expired", genesystest.Options{Links: strong}, effects(genesystest.CutAfter(9_000_000), genesystest.Expired()), []int{200, 403, 206}},
		{"cut, weak ETag", genesystest.Options{Links: weak}, effects(genesystest.CutAfter(9_000_000)), []int{200, 200}},
		{"cut, no ETag", genesystest.Options{Links: genesystest.LinkMode{NoETag: true}}, effects(genesystest.CutAfter(300_000)), []int{200, 200}},
		{"cut, no ranges", genesystest.Options{Links: genesystest.LinkMode{NoRanges: true}}, effects(genesystest.CutAfter(300_000)), []int{200, 200, 200}},
		{"cut, chunked", genesystest.Options{Links: genesystest.LinkMode{Length: genesystest.Chunked}}, effects(genesystest.CutAfter(300_000)), []int{200, 200}},
		{"ends with the connection", genesystest.Options{Links: genesystest.LinkMode{Length: genesystest.CloseDelimited}}, nil, []int{200, 206}},
		{"encoded anew", genesystest.Options{Reencode: true}, effects(genesystest.CutAfter(9_000_000), genesystest.Expired()), []int{200, 403, 200, 200}},
		{"If-Range ignored", genesystest.Options{Reencode: true}, effects(genesystest.CutAfter(9_000_000), genesystest.Expired(), ignoreIfRange()), []int{200, 403, 206, 200}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.cloud)
			inbox := w.cloud.ClientInbox()
			inbox.Add(genesystest.Recording{ID: "long", Size: 12 << 20})
			for _, e := range c.effects {
				w.cloud.Inject(genesystest.Fault{Op: opLink, Effect: e})
			}
			w.once(0)
			w.wantArchived(all(inbox))
			var statuses []int
			for _, e := range w.cloud.Events() {
				if e.Op == opLink {
					statuses = append(statuses, e.Status)
				}
			}
			if !slices.Equal(statuses, c.statuses) {
				t.Errorf("the media host answered %v, want %v", statuses, c.statuses)
			}
		})
	}
}

// ignoreIfRange sends the range asked for, of whatever the bytes are by now.
func ignoreIfRange() genesystest.Effect {
	return genesystest.Effect{Name: "If-Range ignored", Before: func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-Range")
		return false
	}}
}

func effects(e ...genesystest.Effect) []genesystest.Effect { return e }

// brokenMedia are what a link may serve that must never be archived.
var brokenMedia = []struct {
	name, reason string
	effect       genesystest.Effect
}{
	{"page", "HTML", genesystest.HTML(200)},
	{"object", "JSON", genesystest.Body(200, "audio/wav", `{"message":"try later"}`)},
	{"list", "JSON", genesystest.Body(200, "audio/wav", "\xEF\xBB\xBF [1]")},
	{"error", "XML", genesystest.Body(200, "audio/wav", `<?xml version="1.0"?><Error><Code>SlowDown</Code></Error>`)},
	{"empty", "empty", genesystest.Body(200, "audio/wav", "")},
	{"other", "want WAV", genesystest.Body(200, "audio/wav", "OggS and so on, which is no WAV at all")},
	{"altered", "want WAV", genesystest.AlterByte(2)},
	{"half", "disagree", genesystest.Shorten()},
	{"encoded", "404", genesystest.Status(404, "not.found")},
	{"refused", "400", genesystest.Status(400, "bad.request")},
}

func TestBrokenMedia(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 5)
	whole := some(inbox, inbox.IDs()...)
	for _, b := range brokenMedia {
		inbox.Add(genesystest.Recording{ID: b.name, Duration: 5 * time.Second})
		w.cloud.Inject(genesystest.Fault{Op: opLink, Recording: b.name, Times: genesystest.Always, Effect: b.effect})
	}
	for range 2 {
		w.once(3)
		w.wantArchived(whole)
	}
	entries := w.entries(inbox)
	for _, b := range brokenMedia {
		if e := entries[b.name]; e.State != state.StateFailed || !strings.Contains(e.LastError, b.reason) {
			t.Errorf("%s is %s with the reason %q, want failed with %q", b.name, e.State, e.LastError, b.reason)
		}
	}
	w.cloud.ClearFaults()
	w.once(0)
	w.wantArchived(all(inbox))
}

// TestBackingOff leaves a recording alone that failed three times, until a person asks.
func TestBackingOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 2)
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "r001", Times: genesystest.Always, Effect: genesystest.Status(400, "bad.request")})
	for range 3 {
		w.once(3)
	}
	asked := w.cloud.Requests(opTranscoding)
	if r := w.once(3); !strings.Contains(r.stdout, "1 failed before") {
		t.Errorf("the table does not say why the exit code is 3: %s", r)
	}
	if n := w.cloud.Requests(opTranscoding) - asked; n != 0 {
		t.Errorf("asked %d times for a recording that has just failed three times", n)
	}
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "archiverd retry") {
		t.Errorf("status names no remedy: %s", r)
	}
	w.cloud.ClearFaults()
	w.expect(0, "retry")
	w.wantArchived(all(inbox))
}

// TestSuspect wants media that always disagree with themselves archived in the end,
// but never deleted.
func TestSuspect(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.deleting()
	inbox := w.cloud.ClientInbox()
	size := func(n uint32) *uint32 { return &n }
	inbox.Add(genesystest.Recording{ID: "streamed", WAVDataSize: size(0xFFFFFFFF)})
	inbox.Add(genesystest.Recording{ID: "open", WAVDataSize: size(0)})
	inbox.Add(genesystest.Recording{ID: "nearly", Duration: 100 * time.Second, MediaDuration: 101 * time.Second})
	inbox.Add(genesystest.Recording{ID: "short", Duration: 100 * time.Second, MediaDuration: 50 * time.Second})
	inbox.Add(genesystest.Recording{ID: "stated", WAVDataSize: size(1 << 20)})
	sound, doubted := []string{"streamed", "open", "nearly"}, []string{"short", "stated"}
	for range 2 {
		w.once(3)
		w.wantState(state.StateFailed, inbox, doubted...)
		w.wantArchived(some(inbox, sound...))
	}
	w.cloud.Settle()
	for range 3 {
		w.once(0)
	}
	w.wantState(state.StateArchived, inbox, doubted...)
	w.wantState(state.StateDeleted, inbox, sound...)
	a := w.wantArchived(some(inbox, append(sound, doubted...)...))
	for _, m := range a.manifests {
		if (m.Media.Suspect != "") != slices.Contains(doubted, m.RecordingID) {
			t.Errorf("the manifest of %s has suspect %q", m.RecordingID, m.Media.Suspect)
		}
	}
	for _, e := range w.cloud.Events() {
		if e.Op == opDelete && slices.Contains(doubted, e.Recording) {
			t.Errorf("the deletion of %s was asked for", e.Recording)
		}
	}
	if r := w.expect(0, "show", "short"); !strings.Contains(r.stdout, "suspect") {
		t.Errorf("show doesn't say it: %s", r)
	}
}

// TestPrivateLink leads to where no link of Genesys may lead.
func TestPrivateLink(t *testing.T) {
	t.Parallel()
	for _, link := range []string{"http://169.254.169.254/latest/meta-data/", "http://10.1.2.3/media", "http://[::1]/media", "ftp://127.0.0.1/media", "file:///etc/passwd"} {
		t.Run(link, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			inbox := w.cloud.ClientInbox()
			fill(inbox, 2)
			w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "r001", Times: genesystest.Always, Effect: genesystest.Body(200, "application/json",
				`{"id":"r001","state":"Completed","contentLocationUri":"`+link+`"}`)})
			inbox.Add(genesystest.Recording{ID: "redirected"})
			w.cloud.Inject(genesystest.Fault{Op: opLink, Recording: "redirected", Times: genesystest.Always, Effect: genesystest.Redirect(link)})
			w.once(3)
			w.wantArchived(some(inbox, "r000"))
			for _, id := range []string{"r001", "redirected"} {
				if e := w.entries(inbox)[id]; !strings.Contains(e.LastError, "refused") {
					t.Errorf("%s failed with %q", id, e.LastError)
				}
			}
		})
	}
}
