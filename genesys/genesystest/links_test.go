package genesystest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/media/mediatest"
)

func TestDownloadBecomesReady(t *testing.T) {
	w := newWorld(t, Options{Queued: 2, Running: 1, WithoutLocation: 1})
	w.fill(1)
	for _, path := range []string{"/transcoding?formatId=WAV", "/media?async=true&formatId=WAV", "/transcoding"} {
		var got []string
		for range 6 {
			a := w.get("/api/v2/userrecordings/r000" + path)
			m := a.json(t)
			got = append(got, fmt.Sprint(a.status, m["state"], m["contentLocationUri"] != nil))
		}
		want := "[202<nil>false 202<nil>false 200Runningfalse 200Completedfalse 200Completedtrue 200Completedtrue]"
		if s := strings.ReplaceAll(fmt.Sprintf("%q", got), `"`, ""); strings.ReplaceAll(s, " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %s", path, s)
		}
	}
	if m := w.get("/api/v2/userrecordings/r000/media?formatId=MP3").json(t); m["contentLocationUri"] == nil {
		t.Error("/media without async did not wait until ready")
	}
	w.refused(w.get("/api/v2/userrecordings/none/transcoding"), 404, "not.found")
	w.noViolations()
	w.refused(w.get("/api/v2/userrecordings/r000/transcoding?formatId=FLAC"), 400, "constraint.validation")
	w.wantViolations(1)
}

func TestAbsentOperations(t *testing.T) {
	w := newWorld(t, Options{Transcoding: AbsentUncoded, Media: AbsentCoded})
	w.fill(1)
	if a := w.get("/api/v2/userrecordings/r000/transcoding"); a.status != 404 || bytes.HasPrefix(a.body, []byte("{")) {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.refused(w.get("/api/v2/userrecordings/r000/media?async=true"), 404, "not.found")
	w.noViolations()
}

func TestMediaAreAsExpected(t *testing.T) {
	w := newWorld(t, Options{})
	w.inbox.Add(Recording{ID: "a", Duration: 3 * time.Second})
	for _, format := range mediatest.Formats() {
		a := w.fetch(w.link("a", format))
		want, err := w.inbox.Media("a", format)
		if err != nil {
			t.Fatal(err)
		}
		got := Expected{int64(len(a.body)), sha256.Sum256(a.body), a.header.Get("Content-Type")}
		if got != want || a.header.Get("Content-Length") != fmt.Sprint(want.Size) {
			t.Errorf("%s: %+v, want %+v", format, got, want)
		}
	}
	original, _ := w.inbox.Media("a", "NONE")
	if m := w.get("/api/v2/userrecordings/a").json(t); m["contentLength"] != float64(original.Size) {
		t.Errorf("contentLength %v, want %d", m["contentLength"], original.Size)
	}
	w.inbox.Add(Recording{ID: "long", Size: 64 << 20})
	p, err := w.client.Get(w.link("long", "WAV"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Body.Close()
	h := sha256.New()
	n, err := io.Copy(h, p.Body)
	if want, _ := w.inbox.Media("long", "WAV"); err != nil || n != want.Size || n < 64<<20 || [32]byte(h.Sum(nil)) != want.SHA256 {
		t.Errorf("%d bytes, %v; want %d", n, err, want.Size)
	}
	w.noViolations()
}

func TestOddMedia(t *testing.T) {
	w := newWorld(t, Options{})
	stated := uint32(7)
	w.inbox.Add(Recording{ID: "empty", Empty: true})
	w.inbox.Add(Recording{ID: "short", Duration: 5 * time.Second, MediaDuration: time.Second, WAVDataSize: &stated})
	if a := w.fetch(w.link("empty", "WAV")); a.status != 200 || len(a.body) != 0 {
		t.Errorf("%d, %d bytes", a.status, len(a.body))
	}
	if a := w.fetch(w.link("short", "WAV")); len(a.body) != 16044 || a.body[40] != 7 {
		t.Errorf("%d bytes, %v", len(a.body), a.body[:44])
	}
	if m := w.get("/api/v2/userrecordings/empty").json(t); m["contentLength"] != 0.0 || m["durationMilliseconds"] != 0.0 {
		t.Error(m)
	}
	if m := w.get("/api/v2/userrecordings/short").json(t); m["durationMilliseconds"] != 5000.0 {
		t.Error(m)
	}
}

func TestLinksExpireAndAreSigned(t *testing.T) {
	w := newWorld(t, Options{LinkLife: 2 * time.Minute})
	w.fill(2)
	link := w.link("r000", "WAV")
	refused := func(link, code string, status int) {
		t.Helper()
		if a := w.fetch(link); a.status != status || !strings.Contains(string(a.body), "<Code>"+code+"</Code>") {
			t.Errorf("%s: %d %s", code, a.status, a.body)
		}
	}
	refused(link+"0", "SignatureDoesNotMatch", 403)
	refused(strings.Replace(link, "/0?", "/1?", 1), "SignatureDoesNotMatch", 403)
	refused(strings.Replace(link, "Expires=1", "Expires=2", 1), "SignatureDoesNotMatch", 403)
	refused(w.MediaURL()+"/", "SignatureDoesNotMatch", 403)
	w.clock.advance(2*time.Minute - time.Millisecond)
	if a := w.fetch(link); a.status != 200 {
		t.Errorf("refused too early: %d", a.status)
	}
	w.clock.advance(time.Millisecond)
	refused(link, "AccessDenied", 403)
	link = w.link("r001", "WAV")
	w.inbox.Remove("r001")
	refused(link, "NoSuchKey", 404)
	w.Configure(func(o *Options) { o.RewriteLink = func(s string) string { return "ftp://" + s } })
	if got := w.link("r000", "WAV"); !strings.HasPrefix(got, "ftp://http://") {
		t.Error(got)
	}
	w.noViolations()
}

func TestRanges(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	link := w.link("r000", "WAV")
	whole := w.fetch(link)
	etag := whole.header.Get("ETag")
	if !strings.HasPrefix(etag, `"`) || whole.header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%v", whole.header)
	}
	a := w.fetch(link, "Range", "bytes=100-", "If-Range", etag)
	if a.status != 206 || a.header.Get("Content-Range") != "bytes 100-32043/32044" || !bytes.Equal(a.body, whole.body[100:]) {
		t.Errorf("%d %v", a.status, a.header)
	}
	for _, other := range []string{`"other"`, "W/" + etag} {
		if a := w.fetch(link, "Range", "bytes=100-", "If-Range", other); a.status != 200 || len(a.body) != 32044 {
			t.Errorf("If-Range %s: %d", other, a.status)
		}
	}
	if a := w.fetch(link, "Range", "bytes=40000-"); a.status != 416 {
		t.Errorf("%d", a.status)
	}
	if again := w.fetch(w.link("r000", "WAV")).header.Get("ETag"); again != etag {
		t.Errorf("another link, another ETag: %s, %s", again, etag)
	}
	w.noViolations()
}

func TestLinkModes(t *testing.T) {
	for name, mode := range map[string]LinkMode{
		"chunked": {Length: Chunked}, "close": {Length: CloseDelimited}, "no ranges": {NoRanges: true}, "weak": {WeakETag: true},
		"closed, no ranges": {Length: CloseDelimited, NoRanges: true, NoETag: true}, "type": {ContentType: "binary/octet-stream"},
	} {
		w := newWorld(t, Options{Links: mode})
		w.fill(1)
		link := w.link("r000", "WAV")
		want, _ := w.inbox.Media("r000", "WAV")
		p, err := w.client.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p.Body)
		p.Body.Close()
		chunked := len(p.TransferEncoding) == 1 && p.TransferEncoding[0] == "chunked"
		if err != nil || sha256.Sum256(b) != want.SHA256 || chunked != (mode.Length == Chunked) || (p.ContentLength >= 0) != (mode.Length == Declared) {
			t.Errorf("%s: %d bytes, length %d, %v, %v", name, len(b), p.ContentLength, p.TransferEncoding, err)
		}
		if closes := mode.Length == CloseDelimited; p.Close != closes {
			t.Errorf("%s: connection closed: %t", name, p.Close)
		}
		if tag := p.Header.Get("ETag"); strings.HasPrefix(tag, "W/") != mode.WeakETag || (tag == "") != mode.NoETag {
			t.Errorf("%s: ETag %s", name, tag)
		}
		if mode.ContentType != "" && p.Header.Get("Content-Type") != mode.ContentType {
			t.Errorf("%s: %v", name, p.Header)
		}
		if a := w.fetch(link, "Range", "bytes=10-19"); (a.status == 206 && len(a.body) == 10) == mode.NoRanges {
			t.Errorf("%s: range %d, %d bytes", name, a.status, len(a.body))
		}
		w.noViolations()
	}
}

func TestReencode(t *testing.T) {
	w := newWorld(t, Options{Reencode: true})
	w.fill(1)
	first := w.fetch(w.link("r000", "WAV"))
	link := w.link("r000", "WAV")
	second, again := w.fetch(link), w.fetch(link)
	if bytes.Equal(first.body, second.body) || first.header.Get("ETag") == second.header.Get("ETag") || !bytes.Equal(second.body, again.body) {
		t.Error("a fresh link has the same bytes, or the same link others")
	}
	if want, _ := w.inbox.Media("r000", "WAV"); want.SHA256 != sha256.Sum256(second.body) {
		t.Error("Media tells of another link than the newest")
	}
}

func TestTokenAtMediaHost(t *testing.T) {
	w := newWorld(t, Options{})
	w.fill(1)
	w.fetch(w.link("r000", "WAV"), "Authorization", "Bearer x")
	w.wantViolations(1)
	r, _ := http.NewRequest("POST", w.MediaURL(), nil)
	if a := w.do(r); a.status != 405 {
		t.Errorf("%d", a.status)
	}
}
