package archiver

import (
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// anyID draws ids that are likely to meet an edge of the escaping.
func anyID() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[a-z./~=%]{0,80}`),
		rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")) }),
		rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.SampledFrom([]string{"a", "/", "ü"}).Draw(t, "of"), rapid.IntRange(60, 210).Draw(t, "length"))
		}),
	)
}

// What is not hashed can be read back, so that no two ids share a key.
func TestEscapeIDCanBeUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := anyID().Draw(t, "id")
		got := record.EscapeID(id)
		if len(got) > 200 {
			t.Fatalf("%d bytes", len(got))
		}
		back, err := url.PathUnescape(got)
		sum, herr := hex.DecodeString(got)
		hashed := herr == nil && len(sum) == 32 && len(url.PathEscape(id)) > 200
		if !hashed && (err != nil || back != id) {
			t.Errorf("%q became %q, which is %q: %v", id, got, back, err)
		}
	})
}

// Every key of a recording names its own place: kind, day, and a stem that the
// n-th key of media and manifest share.
func TestKeysHoldTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := record.Keys{Prefix: "some/prefix", Org: "acme", Inbox: anyID().Draw(t, "inbox")}
		date := rapid.OneOf(rapid.SampledFrom([]string{"", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "2026-11-23T00:30:00+0100", "../../x"}), rapid.String()).Draw(t, "date")
		f := rapid.SampledFrom(formats).Draw(t, "format")
		n := rapid.IntRange(1, record.MaxPlaces).Draw(t, "n")
		first := k.Media(anyID().Draw(t, "id"), date, f)
		media, manifest := record.Nth(first, n, f), k.Manifest(first, n)
		if n == 1 && media != first {
			t.Errorf("the first of %s is %s", first, media)
		}
		want := strings.Replace(record.Stem(media), "/media/", "/manifests/", 1)
		if record.Stem(manifest) != want || !strings.HasSuffix(manifest, ".json") || !strings.HasSuffix(media, "."+f.Extension()) {
			t.Errorf("media %s, manifest %s", media, manifest)
		}
		if parts := strings.Count(media, "/"); parts != 8 && !(parts == 6 && strings.Contains(media, "/undated/")) {
			t.Errorf("%d parts in %s", parts, media)
		}
		if len(manifest) > 1024 || len(media) > 1024 {
			t.Errorf("S3 takes keys of 1,024 bytes, not %d and %d", len(media), len(manifest))
		}
	})
}

func TestYearsOfKeys(t *testing.T) {
	k := record.Keys{Prefix: "p", Org: "acme", Inbox: "u"}
	for date, want := range map[string]string{
		"0000-01-01T00:00:00Z":       "year=0000/month=01/day=01/",
		"0999-03-04T00:00:00Z":       "year=0999/month=03/day=04/",
		"9999-12-31T23:59:59Z":       "year=9999/month=12/day=31/",
		"2026-12-31T23:30:00-01:00":  "year=2027/month=01/day=01/",
		"2024-02-29T00:00:00.000Z":   "year=2024/month=02/day=29/",
		"2026-02-29T00:00:00.000Z":   "undated/", // no such day
		"10000-01-01T00:00:00Z":      "undated/",
		" 2026-01-01T00:00:00Z":      "undated/",
		"2026-01-01":                 "undated/",
		"2026-01-01T00:00:00.00Z/..": "undated/",
	} {
		if got, prefix := k.Media("r", date, genesys.FormatMP3), "p/media/org=acme/inbox=u/"; got != prefix+want+"r.mp3" {
			t.Errorf("%q: %s", date, got)
		}
	}
}

// S3 takes 2 KB of metadata, names included; the storage package escapes '%' once
// more on its way.
func TestMetadataOfHugeIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		huge := func(name string) string {
			return strings.Repeat(rapid.SampledFrom([]string{"a", "%", "ü", "\x00"}).Draw(t, name), rapid.IntRange(1, 2000).Draw(t, name+" length"))
		}
		k := record.Keys{Prefix: "p", Org: strings.Repeat("o", 63), Inbox: huge("inbox")}
		m := k.Metadata(huge("id"), state.Entry{DateModified: huge("date"), Fingerprint: "f"}, genesys.FormatOggVorbis)
		m[record.MetaSHA256] = strings.Repeat("0", 64)
		size := 0
		for name, value := range m {
			size += len("x-amz-meta-") + len(name) + len(value) + 2*strings.Count(value, "%")
		}
		if size > 2048 {
			t.Errorf("%d bytes", size)
		}
	})
}

var formats = []genesys.Format{
	genesys.FormatWAV, genesys.FormatWEBM, genesys.FormatWAVULAW, genesys.FormatOggVorbis,
	genesys.FormatOggOpus, genesys.FormatMP3, genesys.FormatNone,
}
