package rebuild

import (
	"testing"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/record"
)

// Only what can be a recording of the organization keeps a new ledger from beginning,
// not whatever a stranger left below the prefix.
func TestHoldsRecordings(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	wantHeld := func(want bool) {
		t.Helper()
		if held, err := record.HoldsRecordings(t.Context(), r.Store(), "genesys", org); err != nil || held != want {
			t.Errorf("holds recordings: %v, %v, want %v", held, err, want)
		}
	}
	day := "/org=" + org + "/inbox=" + user + "/year=2026/month=11/day=23/"
	for _, stranger := range []string{
		"genesys/media/org=" + org + "/notes.txt", "genesys/media" + day + "a.wav.part", "genesys/media" + day + "a b.wav", "genesys/media" + day + "sub/a.wav",
		"genesys/manifests" + day + "a.wav", "genesys/manifests/org=" + org + "/a.json", "genesys/media/org=" + org + "2/inbox=u/undated/a.wav",
	} {
		r.Overwrite(stranger, []byte("hello"))
	}
	wantHeld(false)
	r.Add(1)
	r.Passed()
	wantHeld(true)
	v := r.Entry("rec-01").Versions[0]
	r.Remove(v.MediaKey)
	wantHeld(true)
	r.Remove(v.ManifestKey)
	wantHeld(false)
}
