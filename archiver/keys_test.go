package archiver

import (
	"regexp"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys"
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
		got := escapeID(c.id)
		if len(c.id) == 201 { // a hash: what matters is its form, and that another id has another
			if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(got) || got == escapeID(c.id[:200]+"y") {
				t.Errorf("a long id became %q", got)
			}
			continue
		}
		if got != c.want {
			t.Errorf("escapeID(%q) = %q, want %q", c.id, got, c.want)
		}
	}
}

// FuzzEscapeID looks for an id that breaks out of its place in a key.
func FuzzEscapeID(f *testing.F) {
	f.Add("plain")
	f.Add("../../~2.wav")
	f.Add(strings.Repeat("%", 70))
	safe := regexp.MustCompile(`^[A-Za-z0-9_%-]*$`)
	f.Fuzz(func(t *testing.T, id string) {
		if got := escapeID(id); !safe.MatchString(got) || len(got) > maxPlainID {
			t.Errorf("escapeID(%q) = %q", id, got)
		}
		if len(id) > 0 && escapeID(id) == escapeID(id+"x") {
			t.Errorf("%q and %q share a key", id, id+"x")
		}
	})
}

func TestKeys(t *testing.T) {
	k := keyspace{"genesys", "acme", "user/1"}
	first := k.media("r.1", "2026-01-01T00:30:00.000+01:00", genesys.FormatWAV)
	day := "/org=acme/inbox=user%2F1/year=2025/month=12/day=31/r%2E1"
	for _, c := range []struct{ got, want string }{
		{first, "genesys/media" + day + ".wav"},
		{nth(first, 1, genesys.FormatWAV), "genesys/media" + day + ".wav"},
		{nth(first, 2, genesys.FormatWAV), "genesys/media" + day + "~2.wav"},
		{nth(first, 3, genesys.FormatMP3), "genesys/media" + day + "~3.mp3"}, // the format changed since
		{k.manifest(first, 1), "genesys/manifests" + day + ".json"},
		{k.manifest(first, 2), "genesys/manifests" + day + "~2.json"},
		{k.owner(), "genesys/owners/org=acme/inbox=user%2F1.json"},
		{k.media("r", "", genesys.FormatNone), "genesys/media/org=acme/inbox=user%2F1/undated/r.bin"},
		{k.media("r", "yesterday", genesys.FormatWEBM), "genesys/media/org=acme/inbox=user%2F1/undated/r.webm"},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
}

// TestMetadataFit holds metadata to the 2 KB that S3 allows, whatever the API gives.
func TestMetadataFit(t *testing.T) {
	long := strings.Repeat("\U0001F600", 500)
	size := 0
	for name, value := range (keyspace{"", strings.Repeat("a", 63), long}).metadata(long, long, genesys.FormatOggVorbis) {
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
