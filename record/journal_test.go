package record

import (
	"encoding/json"
	"testing"
)

// FuzzDecodeJournal: no bytes crash the reader, and an accepted journal is accepted again
// after encoding.
func FuzzDecodeJournal(f *testing.F) {
	f.Add([]byte(`{"schema_version":1,"organization":"acme","inbox":"u","pass":{"start":"2026-11-23T22:40:12Z"},"events":[],"configuration":"","ledger":"L","archiverd":""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		j, err := DecodeJournal(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(j)
		if err != nil {
			t.Skip(err) // a year that JSON cannot hold
		}
		if _, err := DecodeJournal(again); err != nil {
			t.Errorf("%v\n%s", err, again)
		}
	})
}
