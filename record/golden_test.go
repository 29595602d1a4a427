package record

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The bytes of a manifest are a contract with the users who query the archive: a
// change of the golden file is a change of the schema.
func TestManifestGolden(t *testing.T) {
	full, err := fullManifest(`{"id":"r","name":"<b>&"}`).Encode()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 10, 0, 0, 5, time.UTC)
	small := &Manifest{
		SchemaVersion: ManifestVersion, Organization: "acme", User: ManifestUser{ID: "client"}, RecordingID: "r", Recording: json.RawMessage(`{}`),
		Media: ManifestMedia{Key: "k", Format: "NONE", SHA256: "0", Checks: []string{}}, Times: ManifestTimes{Listed: at, Uploaded: at}, Ledger: "L",
	}
	least, err := small.Encode()
	if err != nil {
		t.Fatal(err)
	}
	file, got := filepath.Join("testdata", "manifests.golden.json"), append(full, least...)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("want - got +\n%s", diff)
	}
}
