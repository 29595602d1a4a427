package genesys

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A field of the wrong type is zero, and the recording is kept nevertheless, byte for byte as it came.
func TestParseListingFieldByField(t *testing.T) {
	raws := []string{
		`{"id":"r1", "name":"n","dateCreated":"c","dateModified":"m","contentLength":5,"durationMilliseconds":7,"conversation":{"id":"v"},"later":[1, 2]}`,
		`{"id":"r2","name":{},"dateCreated":1,"dateModified":null,"contentLength":"5","durationMilliseconds":-1,"conversation":"v"}`,
		`{"ID":"x","id":"r3","contentLength":1.5,"conversation":{"id":4}}`,
		`{"id":"r1"}`,
	}
	unreadable := []string{`null`, `7`, `"r"`, `[]`, `{}`, `{"id":null}`, `{"id":""}`, `{"id":7}`, `{"ID":"r"}`, `{"id":"\ud800"}`, "{\"id\":\"\xff\"}"}
	body := `{"entities":[` + strings.Join(append(raws, unreadable...), " ,\n") + `],"pageSize":"25","pageNumber":-1,"pageCount":null,"total":1e2,"nextUri":7}`
	got, err := parseListing([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := &Listing{Unreadable: len(unreadable), Recordings: []Recording{
		{ID: "r1", Name: "n", DateCreated: "c", DateModified: "m", ContentLength: ptr(5), DurationMilliseconds: ptr(7), ConversationID: "v", Raw: []byte(raws[0])},
		{ID: "r2", Raw: []byte(raws[1])},
		{ID: "r3", Raw: []byte(raws[2])},
		{ID: "r1", Raw: []byte(raws[3])},
	}}
	for i := range got.Recordings {
		if got.Recordings[i].Fingerprint == "" {
			t.Errorf("recording %d has no fingerprint", i)
		}
		got.Recordings[i].Fingerprint = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParticipants(t *testing.T) {
	many := strings.Repeat(`{"userId":"u","name":"n"},`, 3)
	for i := range 200 {
		many += fmt.Sprintf(`{"name":"n%d"},`, i)
	}
	for conversation, want := range map[string][]Participant{
		`{"id":"c","address":"tel:+1","participants":[{"id":"p1","userId":"u1","name":"Ann","address":"sip:a"},{"purpose":"acd"},7,{"name":4,"address":"tel:+1"},{"userId":"u1","name":"Ann","address":"sip:a"}]}`: {{"u1", "Ann", "sip:a"}, {"", "", "tel:+1"}},
		`{"address":"tel:+2"}`:                {{"", "", "tel:+2"}},
		`{"participants":{"name":"no list"}}`: nil,
		`"c"`:                                 nil,
		`{"participants":[` + many + `{"name":"last"}]}`: nil,
	} {
		r, err := ParseRecording([]byte(`{"id":"r","conversation":` + conversation + `}`))
		if err != nil {
			t.Fatal(err)
		}
		got := r.Participants()
		if strings.Contains(conversation, "last") {
			if len(got) != maxParticipants {
				t.Errorf("%d participants", len(got))
			}
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", conversation, diff)
		}
	}
}

func TestParseTime(t *testing.T) {
	want := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for s, fraction := range map[string]time.Duration{
		"2026-11-23T01:02:03Z": 0, "2026-11-23T01:02:03.5Z": 500 * time.Millisecond, "2026-11-23T01:02:03.123+0000": 123 * time.Millisecond,
		"2026-11-23T02:02:03+01:00": 0, "2026-11-22T20:02:03-0500": 0,
	} {
		if got, ok := ParseTime(s); !ok || !got.Equal(want.Add(fraction)) {
			t.Errorf("%s: %v %v", s, got, ok)
		}
	}
	for _, s := range []string{"", "2026-11-23", "2026-11-23T01:02:03", "1700000000", "2026-13-23T01:02:03Z"} {
		if got, ok := ParseTime(s); ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		d    Download
		want bool
	}{
		{Download{Status: 200, State: "Completed", Location: "x"}, true},
		{Download{Status: 200, Location: "x"}, true},
		{Download{Status: 200, State: "Running", Location: "x"}, false},
		{Download{Status: 200, State: "Completed"}, false},
		{Download{Status: 202, State: "Completed", Location: "x"}, false},
	} {
		if got := tt.d.Ready(); got != tt.want {
			t.Errorf("%v: %v", tt.d, got)
		}
	}
}

func TestExtension(t *testing.T) {
	for f, want := range map[Format]string{
		FormatWAV: "wav", FormatWEBM: "webm", FormatWAVULAW: "wav", FormatOggVorbis: "ogg", FormatOggOpus: "ogg", FormatMP3: "mp3", FormatNone: "bin", "NEW": "bin",
	} {
		if got := f.Extension(); got != want {
			t.Errorf("%s: %s", f, got)
		}
	}
}

// FuzzListing checks what callers of parseListing rely on: no entity gets lost, and each is kept as it came.
func FuzzListing(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := parseListing(body)
		if err != nil {
			return
		}
		var plain struct {
			Entities []json.RawMessage `json:"entities"`
		}
		var exact map[string]json.RawMessage
		if json.Unmarshal(body, &exact) != nil {
			t.Fatal("parsed bytes that are not a JSON object")
		}
		if raw, ok := exact["entities"]; ok && json.Unmarshal(raw, &plain.Entities) != nil {
			t.Fatal("parsed entities that are not a list")
		}
		if len(l.Recordings)+l.Unreadable != len(plain.Entities) {
			t.Fatalf("%d recordings and %d unreadable of %d", len(l.Recordings), l.Unreadable, len(plain.Entities))
		}
		for _, r := range l.Recordings {
			again, err := ParseRecording(r.Raw)
			if err != nil || r.ID == "" || !bytes.Contains(body, r.Raw) || !cmp.Equal(again, r) {
				t.Fatalf("recording %+v", r)
			}
		}
	})
}

// A corpus that became empty unnoticed would leave FuzzListing testing nothing.
func TestFuzzCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/fuzz/FuzzListing/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files in the corpus of FuzzListing (%v), want 5 at least", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n[]byte(")) {
			t.Errorf("%s is not a corpus file (%v)", name, err)
		}
	}
}
