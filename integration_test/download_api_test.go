package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// fill adds n small recordings, r000 and on.
func fill(inbox *genesystest.Inbox, n int) {
	for i := range n {
		inbox.Add(genesystest.Recording{ID: recordingID(i)})
	}
}

func recordingID(n int) string { return fmt.Sprintf("r%03d", n) }

// downloadAPIs are the two download operations, each on a platform that lacks the other.
var downloadAPIs = []struct {
	name, other string
	op, absent  string
	cloud       func(genesystest.Absence) genesystest.Options
}{
	{"transcoding", "media", opTranscoding, opMedia, func(a genesystest.Absence) genesystest.Options {
		return genesystest.Options{Media: a, Queued: 1, Running: 1}
	}},
	{"media", "transcoding", opMedia, opTranscoding, func(a genesystest.Absence) genesystest.Options {
		return genesystest.Options{Transcoding: a, Queued: 1, Running: 1}
	}},
}

func TestDownloadAPI(t *testing.T) {
	t.Parallel()
	for _, api := range downloadAPIs {
		t.Run(api.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, api.cloud(genesystest.AbsentCoded))
			w.org["download_api"] = api.name
			inbox := w.cloud.ClientInbox()
			fill(inbox, 5)
			w.once(0)
			w.wantArchived(all(inbox))
			if n := w.cloud.Requests(api.absent); n > 0 {
				t.Errorf("the other operation was asked %d times", n)
			}
		})
	}
}

// TestWrongDownloadAPI wants a wrong download_api told from 500 broken recordings.
func TestWrongDownloadAPI(t *testing.T) {
	t.Parallel()
	for _, api := range downloadAPIs {
		for _, absence := range []genesystest.Absence{genesystest.AbsentCoded, genesystest.AbsentUncoded} {
			t.Run(fmt.Sprintf("%s %d", api.other, absence), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, api.cloud(absence))
				w.org["download_api"] = api.other
				inbox := w.cloud.ClientInbox()
				fill(inbox, manyRecordings)
				r := w.once(3)
				for _, out := range []string{r.stdout, r.stderr} {
					if !strings.Contains(out, "try download_api: "+api.name) {
						t.Errorf("the remedy is not named: %s", r)
					}
				}
				// Three make it sure, and each worker may have begun one more.
				if n := w.cloud.Requests(api.absent); n < 3 || n > 3+8 {
					t.Errorf("the absent operation was asked %d times", n)
				}
				w.wantArchived()
			})
		}
	}
}
