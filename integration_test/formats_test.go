package integration_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/media/mediatest"
)

// beginnings are the containers' own, by their specifications.
var beginnings = map[string][]string{
	"audio/wav":  {"RIFF"},
	"video/webm": {"\x1A\x45\xDF\xA3"},
	"audio/ogg":  {"OggS"},
	"audio/mpeg": {"ID3", "\xFF\xFB"},
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for _, format := range mediatest.Formats() {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{Queued: 1})
			w.org["format"] = format
			inbox := w.cloud.ClientInbox()
			for n := range 4 { // of NONE, originals of both kinds
				inbox.Add(genesystest.Recording{ID: fmt.Sprintf("r%d", n), Duration: time.Duration(n+1) * 700 * time.Millisecond})
			}
			inbox.Add(genesystest.Recording{ID: "long", Duration: 20 * time.Minute}) // several parts in most formats
			w.once(0)
			a := w.wantArchived(all(inbox))
			for _, m := range a.manifests {
				w.wantFormat(inbox, m)
			}
		})
	}
}

func (w *world) wantFormat(inbox *genesystest.Inbox, m manifest) {
	w.Helper()
	expected, err := inbox.Media(m.RecordingID, w.format())
	if err != nil {
		w.Fatal(err)
	}
	// The first bytes of a WebM do not tell whether it has pictures: sniffers call it video.
	contentType := strings.Replace(expected.ContentType, "audio/webm", "video/webm", 1)
	if m.Media.Format != w.format() || m.Media.ContentType != contentType {
		w.Errorf("the manifest of %s says %s, %s; want %s, %s", m.RecordingID, m.Media.Format, m.Media.ContentType, w.format(), contentType)
	}
	body, err := w.read(m.Media.Key)
	if err != nil {
		w.Fatal(err)
	}
	if !slices.ContainsFunc(beginnings[m.Media.ContentType], func(s string) bool { return bytes.HasPrefix(body, []byte(s)) }) {
		w.Errorf("%s begins with % x: not %s", m.Media.Key, body[:min(8, len(body))], m.Media.ContentType)
	}
}
