package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// look renders an address in headless Chromium, which lets so many milliseconds of the
// page's own time pass. It gives the document as it is then, and a picture.
func (w *world) look(address string, ms int, more ...string) (dom string, picture []byte) {
	w.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		w.Fatal("the status page is tested in Chromium, which is not there: .ci/install chromium")
	}
	ctx, cancel := context.WithTimeout(w.Context(), commandTimeout)
	defer cancel()
	shot := filepath.Join(w.TempDir(), "page.png")
	args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr",
		"--user-data-dir=" + w.TempDir(), "--screenshot=" + shot, "--dump-dom", fmt.Sprintf("--virtual-time-budget=%d", ms)}, more...)
	c := exec.CommandContext(ctx, path, append(args, address)...)
	var log strings.Builder
	c.Stderr = &log
	out, err := c.Output()
	if err != nil {
		w.Fatalf("chromium: %v\n%s", err, tail(log.String()))
	}
	if strings.Contains(log.String(), "CONSOLE") {
		w.Errorf("the page has faults:\n%s", tail(log.String()))
	}
	if picture, err = os.ReadFile(shot); err != nil {
		w.Fatal(err)
	}
	return string(out), picture
}

var tags = regexp.MustCompile(`(?s)<head>.*</head>|<[^>]*>`)

// read is the document's text, as a reader has it.
func read(dom string) string {
	return strings.Join(strings.Fields(tags.ReplaceAllString(dom, " ")), " ")
}

func (w *world) wantText(dom string, want ...string) {
	w.Helper()
	for _, text := range want {
		if !strings.Contains(read(dom), text) {
			w.Errorf("the page does not say %q: %s", text, tail(read(dom)))
		}
	}
}

// TestPage looks at the status page in a browser: with and without JavaScript, while a
// run is under way and after it, in the dark and in the light.
func TestPage(t *testing.T) {
	t.Parallel()
	w, inboxes := newUsers(t, genesystest.Options{}, 2, "anna", "ben", "cleo")
	w.daily()
	w.listening()
	w.config["delete_originals"] = map[string]any{"enabled": true}
	inboxes[2].RevokeTokens()
	w.cloud.Inject(genesystest.Fault{Op: opTranscoding, Recording: "ben-r000", Times: genesystest.Always, Effect: genesystest.Status(400, "<script>bad")})
	w.cloud.Inject(genesystest.Fault{Op: opLink, Recording: "ben-r001", Effect: w.cloud.Stall()})
	p := w.start("run")
	site, err := url.Parse(w.site(p))
	if err != nil {
		t.Fatal(err)
	}
	w.awaitMetric(site.String(), "archiverd_failed_recordings{org=acme}", 1)
	w.awaitMetric(site.String(), "archiverd_archived_recordings{org=acme}", 2)

	_, _, plain := w.fetch(site.String()) // all there is without JavaScript
	w.wantText(plain, "Under way since", "acme/ben", "1 inbox needs a person", "acme/cleo needs login", "Let its user log in: archiverd login --org acme --inbox cleo", "Nothing to do: tried again after", "&lt;script&gt;bad")
	for _, name := range []string{"User anna", "anna@example.com", "hunter2"} {
		if strings.Contains(plain, name) {
			t.Errorf("the page shows %q", name)
		}
	}

	dom, light := w.look(site.String(), 1000, "--blink-settings=preferredColorScheme=1")
	w.wantText(dom, "Under way since")

	w.cloud.Release()
	w.awaitMetric(site.String(), "archiverd_runs_total", 1)
	var looks atomic.Int32
	through := httputil.NewSingleHostReverseProxy(site)
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" && looks.Add(1) == 1 { // the page as it was; it has to renew itself
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(rw, plain)
			return
		}
		through.ServeHTTP(rw, r)
	}))
	defer front.Close()
	dom, dark := w.look(front.URL, 60_000, "--blink-settings=preferredColorScheme=0")
	w.wantText(dom, "No run is under way. The next begins at", "exit code 3", "archived 3", "failed, tried again 1")
	if looks.Load() < 2 {
		t.Error("the page did not renew itself")
	}
	w.samePage(site.String())
	if l, d := corner(t, light), corner(t, dark); l < 0xc000 || d > 0x4000 {
		t.Errorf("the light page's corner has brightness %x, the dark one's %x", l, d)
	}
	w.ends(p)
}

// corner is how bright a picture's first pixel is.
func corner(t *testing.T, picture []byte) uint32 {
	t.Helper()
	img, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	r, g, b, _ := img.At(1, 1).RGBA()
	return (r + g + b) / 3
}

// samePage wants page, metrics and status to tell the same numbers.
func (w *world) samePage(site string) {
	w.Helper()
	metrics := w.scrape(site)
	_, _, page := w.fetch(site)
	var status struct{ Inboxes []state.Inbox }
	w.parse(w.expect(0, "status", "--json").stdout, &status)
	total := map[state.State]int64{}
	for _, i := range status.Inboxes {
		for s, n := range i.Counts {
			total[s] += n
		}
	}
	for what, n := range map[string]int64{
		"archived_recordings|archived": total[state.StateArchived], "backlog_recordings|waiting": total[state.StateListed],
		"failed_recordings|failed, tried again": total[state.StateFailed], "vanished_recordings|vanished before they were archived": total[state.StateVanished],
	} {
		metric, figure, _ := strings.Cut(what, "|")
		w.wantMetrics(metrics, scrape{"archiverd_" + metric + "{org=acme}": float64(n)})
		w.wantText(page, fmt.Sprint(figure, " ", n))
	}
}
