package record

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

func TestEscapeID(t *testing.T) {
	for _, c := range []struct{ id, want string }{
		{"5f9c1e2a-0000-4000-8000-00000000000A", "5f9c1e2a-0000-4000-8000-00000000000A"},
		{"a_b", "a_b"},
		{"../x", "%2E%2E%2Fx"},
		{"a~2", "a%7E2"},
		{"a%2F", "a%252F"},
		{"ü", "%C3%BC"},
		{"a\x00\n", "a%00%0A"},
		{strings.Repeat("x", 200), strings.Repeat("x", 200)},
		{strings.Repeat("x", 201), "8ffce89d1edc6c2cd0abfcf85bd126f508f1514b99ffeaedb70e5047aaebad31"},
	} {
		got := EscapeID(c.id)
		if len(c.id) == 201 { // a hash: its form matters, and that it differs for another id
			if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(got) || got == EscapeID(c.id[:200]+"y") {
				t.Errorf("a long id became %q", got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("escapeID(%q) = %q, want %q", c.id, got, c.want)
		}
	}
}

// FuzzEscapeID searches for an id that changes the structure of a key.
func FuzzEscapeID(f *testing.F) {
	f.Add("plain")
	f.Add("../../~2.wav")
	f.Add(strings.Repeat("%", 70))
	safe := regexp.MustCompile(`^[A-Za-z0-9_%-]*$`)
	f.Fuzz(func(t *testing.T, id string) {
		if got := EscapeID(id); !safe.MatchString(got) || len(got) > maxPlainID {
			t.Errorf("escapeID(%q) = %q", id, got)
		}
		if len(id) > 0 && EscapeID(id) == EscapeID(id+"x") {
			t.Errorf("%q and %q share a key", id, id+"x")
		}
	})
}

func TestKeys(t *testing.T) {
	k := Keys{"genesys", "acme", "user/1"}
	first := k.Media("r.1", "2026-01-01T00:30:00.000+01:00", genesys.FormatWAV)
	day := "/org=acme/inbox=user%2F1/year=2025/month=12/day=31/r%2E1"
	for _, c := range []struct{ got, want string }{
		{first, "genesys/media" + day + ".wav"},
		{Nth(first, 1, genesys.FormatWAV), "genesys/media" + day + ".wav"},
		{Nth(first, 2, genesys.FormatWAV), "genesys/media" + day + "~2.wav"},
		{Nth(first, 3, genesys.FormatMP3), "genesys/media" + day + "~3.mp3"}, // the format changed since
		{k.Manifest(first, 1), "genesys/manifests" + day + ".json"},
		{k.Manifest(first, 2), "genesys/manifests" + day + "~2.json"},
		{k.Owner(), "genesys/owners/org=acme/inbox=user%2F1.json"},
		{k.Media("r", "", genesys.FormatNone), "genesys/media/org=acme/inbox=user%2F1/undated/r.bin"},
		{k.Media("r", "yesterday", genesys.FormatWEBM), "genesys/media/org=acme/inbox=user%2F1/undated/r.webm"},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

// TestParseKey reads back the keys that Keys makes of any ids and dates.
func TestParseKey(t *testing.T) {
	formats := []genesys.Format{genesys.FormatWAV, genesys.FormatWEBM, genesys.FormatWAVULAW, genesys.FormatOggVorbis,
		genesys.FormatOggOpus, genesys.FormatMP3, genesys.FormatNone}
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.OneOf(rapid.String(), rapid.StringN(201, 300, -1)).Filter(func(s string) bool { return s != "" })
		k := Keys{rapid.StringMatching(`[a-z/~.=]{1,9}`).Draw(t, "prefix"), rapid.StringMatching(`[a-z0-9-]{1,9}`).Draw(t, "org"), id.Draw(t, "inbox")}
		recording, n := id.Draw(t, "recording"), rapid.IntRange(1, MaxPlaces).Draw(t, "n")
		format := rapid.SampledFrom(formats).Draw(t, "format")
		created, day := "", time.Time{}
		if rapid.Bool().Draw(t, "dated") {
			at := time.Unix(rapid.Int64Range(-6e10, 2.5e11).Draw(t, "created"), 0).UTC()
			created, day = at.Format(time.RFC3339), at.Truncate(24*time.Hour)
		}
		first := k.Media(recording, created, format)
		media := Key{"media", k.Org, EscapeID(k.Inbox), day, EscapeID(recording), n, format.Extension()}
		manifest := media
		manifest.Kind, manifest.Extension = "manifests", "json"
		for key, want := range map[string]Key{Nth(first, n, format): media, k.Manifest(first, n): manifest} {
			if got, ok := ParseKey(k.Prefix, key); !ok || got != want {
				t.Fatalf("%s is read back as %+v, %v; want %+v", key, got, ok, want)
			}
		}
		if back, ok := UnescapeID(EscapeID(recording)); !ok || back != recording && len(EscapeID(recording)) != 64 {
			t.Fatalf("%q is read back as %q, %v", recording, back, ok)
		}
	})
	for _, key := range []string{
		"other/media/org=acme/inbox=u/undated/r.wav", "genesys/journal/org=acme/inbox=u/undated/r.json",
		"genesys/media/org=acme/inbox=u/r.wav", "genesys/media/org=acme/inbox=u/undated/r.json",
		"genesys/manifests/org=acme/inbox=u/undated/r.wav", "genesys/media/org=acme/inbox=u/year=2026/month=02/day=30/r.wav",
		"genesys/media/org=acme/inbox=u/undated/r~1.wav", "genesys/media/org=acme/inbox=u/undated/r~02.wav",
		"genesys/media/org=acme/inbox=u/undated/r~2.wav\n", "genesys/media/org=acme/inbox=u/undated/a.b.wav",
		"genesys/media/org=acme/inbox=u%2f1/undated/r.wav", "genesys/media/org=acme/inbox=u/undated/%41.wav",
		"genesys/media/org=acme/inbox=u/undated/" + strings.Repeat("r", 201) + ".wav", "genesys/media/org=acme/inbox=u/undated/.wav",
	} {
		if got, ok := ParseKey("genesys", key); ok {
			t.Errorf("%q is taken for %+v", key, got)
		}
	}
}

// FuzzParseKey searches for an accepted key that this package would not make.
func FuzzParseKey(f *testing.F) {
	f.Add("genesys/media/org=acme/inbox=u/year=2026/month=11/day=23/r~2.wav")
	f.Fuzz(func(t *testing.T, key string) {
		k, ok := ParseKey("genesys", key)
		if !ok {
			return
		}
		inbox, _ := UnescapeID(k.Inbox)
		recording, _ := UnescapeID(k.Recording)
		created := ""
		if !k.Day.IsZero() {
			created = k.Day.Format(time.RFC3339)
		}
		space := Keys{"genesys", k.Org, inbox}
		for _, f := range []genesys.Format{genesys.FormatWAV, genesys.FormatWEBM, genesys.FormatOggOpus, genesys.FormatMP3, genesys.FormatNone} {
			first := space.Media(recording, created, f)
			if Nth(first, k.Number, f) == key || space.Manifest(first, k.Number) == key {
				return
			}
		}
		t.Errorf("%q is read as %+v", key, k)
	})
}

// TestMetadataFit checks that metadata fit the 2 KB that S3 allows, whatever the API gives.
func TestMetadataFit(t *testing.T) {
	long := strings.Repeat("\U0001F600", 500)
	size := 0
	for name, value := range (Keys{"", strings.Repeat("a", 63), long}).Metadata(long, state.Entry{DateModified: long, Fingerprint: "f"}, genesys.FormatOggVorbis) {
		size += len(name) + len(value)
		if strings.Trim(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_%:.+") != "" {
			t.Errorf("metadata %s: %q", name, value)
		}
	}
	if size > 1500 {
		t.Errorf("%d bytes of metadata", size)
	}
	if got := escapeDate("2026-11-23T10:00:00.000Z"); got != "2026-11-23T10:00:00.000Z" {
		t.Errorf("a date became %q", got)
	}
}
