package record

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Without its committed corpus a fuzz target tests next to nothing in an ordinary run,
// and nobody notices.
func TestFuzzCorpusIsThere(t *testing.T) {
	for target, least := range map[string]int{"FuzzEscapeID": 12, "FuzzParseKey": 6, "FuzzDecodeJournal": 5, "FuzzDecodeManifest": 12} {
		files, err := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) < least {
			t.Errorf("%s has %d files, want %d at least", target, len(files), least)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(text, []byte("go test fuzz v1\n")) {
				t.Errorf("%s is not a fuzz input", file)
			}
		}
	}
}
