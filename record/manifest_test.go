package record

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func fullManifest(raw string) *Manifest {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	return &Manifest{
		SchemaVersion: ManifestVersion, Organization: "acme", User: ManifestUser{"u", "Ada", "ada@example.com"},
		RecordingID: "r", DateModified: "2026-11-23T09:00:00.000Z", Recording: json.RawMessage(raw),
		Media: ManifestMedia{
			Key: "genesys/media/r.wav", VersionID: "v", Format: "WAV", Size: 1, SHA256: strings.Repeat("0", 64), ContentType: "audio/wav",
			Checks: []string{"whole body"}, Suspect: "why", Checksum: &ManifestChecksum{"CRC32", "AAAAAA=="},
		},
		Retention: &ManifestRetention{Mode: "GOVERNANCE", Until: &at, Note: "none"},
		Times:     ManifestTimes{at, &at, at}, CorrelationIDs: []string{"c"}, Adopted: true, Ledger: "L", Archiverd: "v1",
	}
}

func TestManifestKeepsTheRecordingAsItCame(t *testing.T) {
	raw := `{"id":"r","n":1e400,"big":12345678901234567890.10,"s":"a\u0041<&>` + "\u2028" + `","x":1,"x":2,"deep":{"null":null}}`
	text, err := fullManifest("{\n  " + raw[1:]).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(`"recording":`+raw+`,`)) {
		t.Errorf("the recording is not in the manifest as it came:\n%s", text)
	}
	if n := bytes.Count(text, []byte("\n")); n != 1 || text[len(text)-1] != '\n' {
		t.Errorf("%d line ends", n)
	}
}

func TestManifestFollowsItsSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../docs/manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := fullManifest(`{"id":"r"}`).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, old, new string
		good           bool
	}{
		{"every field", "", "", true},
		{"an unknown field", `"ledger":`, `"extra":1,"ledger":`, false},
		{"no key", `"key":`, `"kee":`, false},
		{"another version", `"schema_version":1`, `"schema_version":2`, false},
	} {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.Replace(string(text), c.old, c.new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestDecodeManifest(t *testing.T) {
	want := fullManifest(`{"id":"r"}`)
	text, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeManifest(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
	for _, bad := range []string{
		"", "null", "[]", "{}", string(text[:len(text)/2]),
		strings.Replace(string(text), `"schema_version":1`, `"schema_version":2`, 1),
		strings.Replace(string(text), strings.Repeat("0", 64), "short", 1),
	} {
		if m, err := DecodeManifest([]byte(bad)); err == nil {
			t.Errorf("%.80q was read as %v", bad, m)
		}
	}
}

// encoding/json's own bound of 10,000 levels refuses a stored manifest that is nested too
// deeply, also if the depth is in the recording.
func TestDecodeDeepManifest(t *testing.T) {
	for _, field := range []string{"recording", "unknown", "media"} {
		text := `{"schema_version":1,"` + field + `":` + strings.Repeat("[", MaxManifest/2)
		if _, err := DecodeManifest([]byte(text)); err == nil || !strings.Contains(err.Error(), "max depth") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// FuzzDecodeManifest: no bytes crash the reader, and an accepted manifest is written as
// one line that decodes to the same manifest.
func FuzzDecodeManifest(f *testing.F) {
	text, err := fullManifest(`{"id":"r"}`).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := DecodeManifest(text)
		if err != nil {
			return
		}
		line, err := m.Encode()
		if err != nil {
			return // a time that JSON cannot hold
		}
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Errorf("not one line: %q", line)
		}
		again, err := DecodeManifest(line)
		if err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if second, err := again.Encode(); err != nil || !bytes.Equal(second, line) {
			t.Errorf("%s\nbecame\n%s, %v", line, second, err)
		}
	})
}
