package integration_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// encoders are how ffmpeg makes media of each format.
var encoders = map[string]struct{ args, extension string }{
	"WEBM":       {"-c:a libopus -b:a 32k", "webm"},
	"OGG_OPUS":   {"-c:a libopus -b:a 32k", "ogg"},
	"OGG_VORBIS": {"-c:a libvorbis", "ogg"},
	"MP3":        {"-c:a libmp3lame -b:a 32k", "mp3"},
	"WAV":        {"-c:a pcm_s16le", "wav"},
	"WAV_ULAW":   {"-ar 8000 -c:a pcm_mulaw", "wav"},
	"NONE":       {"-c:a aac -b:a 48k", "m4a"},
}

// encoded is media that ffmpeg made: a tone of its own for each n.
func encoded(t *testing.T, format string, n int, d time.Duration) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("this test needs ffmpeg: run .ci/install ffmpeg")
	}
	e := encoders[format]
	out := filepath.Join(t.TempDir(), "media."+e.extension)
	source := fmt.Sprintf("sine=frequency=%d:sample_rate=48000:duration=%f", 300+40*n, d.Seconds())
	args := append([]string{"-v", "error", "-nostdin", "-f", "lavfi", "-i", source}, strings.Fields(e.args)...)
	if text, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, out)...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, text)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// holdsBytes is whether the bucket has an object with these bytes.
func (w *world) holdsBytes(want []byte) bool {
	objects, err := w.newest("genesys/media/")
	if err != nil {
		w.Error(err)
	}
	for _, o := range objects {
		if o.Size != int64(len(want)) {
			continue
		}
		if have, err := w.read(o.Key); err == nil && bytes.Equal(have, want) {
			return true
		}
	}
	return false
}

// guardBytes lets nothing be deleted whose whole media the bucket does not hold.
func (w *world) guardBytes(whole map[string][]byte) {
	w.cloud.Configure(func(o *genesystest.Options) {
		o.OnDelete = func(_, id string) error {
			if !w.holdsBytes(whole[id]) {
				return fmt.Errorf("%s is deleted, and the bucket does not hold all of its media", id)
			}
			return nil
		}
	})
}

// A transcode that stopped halfway, with a true Content-Length, is never the reason to
// delete its original, in any format: it is archived as suspect in the third run.
func TestHalfTranscodes(t *testing.T) {
	for _, format := range slices.Sorted(maps.Keys(encoders)) {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			w.org["format"] = format
			w.deleting()
			inbox, whole := w.cloud.ClientInbox(), map[string][]byte{}
			var cut, good []string
			for n := range 12 {
				id, d := fmt.Sprintf("rec-%02d", n), 2500*time.Millisecond+time.Duration(n)*100*time.Millisecond
				inbox.Add(genesystest.Recording{ID: id, Duration: d})
				whole[id] = encoded(t, format, n, d)
				if n%2 == 1 {
					cut = append(cut, id)
				} else {
					good = append(good, id)
				}
			}
			w.cloud.Configure(func(o *genesystest.Options) {
				o.Serve = func(_, id string) []byte {
					if body := whole[id]; slices.Contains(cut, id) {
						return body[:len(body)/2]
					}
					return whole[id]
				}
			})
			w.guardBytes(whole)
			for range 4 {
				w.run("run", "--once")
				w.cloud.Settle()
			}
			if left := slices.Sorted(slices.Values(inbox.IDs())); !slices.Equal(left, cut) {
				t.Errorf("left in Genesys: %q, want those that were cut", left)
			}
			w.wantState(state.StateDeleted, inbox, good...)
			for id, e := range w.entries(inbox) {
				if v := e.Versions[len(e.Versions)-1]; (v.Suspect != "") != slices.Contains(cut, id) || v.Whole == slices.Contains(cut, id) {
					t.Errorf("%s: whole %t, suspect %q", id, v.Whole, v.Suspect)
				}
			}
			if r := w.expect(0, "status"); !strings.Contains(r.stdout, "6 archived as suspect") {
				t.Errorf("status does not count the suspect recordings: %s", r)
			}
		})
	}
}

// An original whose container and metadata do not say whether it is whole stays, but
// where the configuration says otherwise.
func TestUnprovedStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.org["format"] = "NONE"
	w.deleting()
	inbox := w.cloud.ClientInbox()
	body := bytes.Repeat([]byte("unknown container"), 1000)
	inbox.Add(genesystest.Recording{ID: "r", Duration: 3 * time.Second})
	w.cloud.Configure(func(o *genesystest.Options) { o.Serve = func(_, _ string) []byte { return body } })
	w.guardBytes(map[string][]byte{"r": body})
	w.once(0)
	w.once(0)
	w.wantState(state.StateArchived, inbox, "r")
	if r := w.expect(0, "show", "r"); !strings.Contains(r.stdout, "unproved") {
		t.Errorf("show does not say so: %s", r)
	}
	if r := w.expect(0, "status"); !strings.Contains(r.stdout, "without proof") {
		t.Errorf("status does not count it: %s", r)
	}
	w.config["delete_originals"] = map[string]any{"enabled": true, "after": "0s", "unproved": true}
	w.once(0)
	w.wantState(state.StateDeleteRequested, inbox, "r")
}

// What Genesys says of the duration must be there for an original to be deleted.
func TestNoDurationStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.deleting()
	inbox := w.cloud.ClientInbox()
	inbox.Add(genesystest.Recording{ID: "absent", Omit: []string{"durationMilliseconds"}})
	inbox.Add(genesystest.Recording{ID: "null", Null: []string{"durationMilliseconds"}})
	inbox.Add(genesystest.Recording{ID: "zero", Extra: map[string]any{"durationMilliseconds": 0}})
	inbox.Add(genesystest.Recording{ID: "known"})
	w.once(0)
	w.once(0)
	w.wantState(state.StateArchived, inbox, "absent", "null", "zero")
	w.wantDeletion(inbox, "known")
}

// With read_back every byte of media and manifest is read again before a deletion.
func TestReadBack(t *testing.T) {
	t.Parallel()
	for readBack, want := range map[bool]int{false: 0, true: 5} {
		w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
		tap := w.tapped()
		inbox := w.cloud.ClientInbox()
		for n := range 5 {
			inbox.Add(genesystest.Recording{ID: fmt.Sprintf("r%d", n)})
		}
		w.once(0)
		w.config["delete_originals"] = map[string]any{"enabled": true, "after": "0s", "read_back": readBack}
		tap.gets("/")
		w.once(0)
		w.wantState(state.StateDeleteRequested, inbox)
		if media, manifests := tap.gets("/media/"), tap.gets("/manifests/"); media != want || manifests != 5 {
			t.Errorf("read_back %t: %d media and %d manifests were read", readBack, media, manifests)
		}
	}
}
