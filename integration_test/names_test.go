package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// oddIDs are ids that must neither get lost nor lead anywhere.
var oddIDs = []string{
	"a/b", "/", "..", ".", "../../etc/passwd", "with space", " ", "100%", "%2e%2e", "%2F", "🎙", `quo"te's`, "a;b?c=d&e#f", `back\slash`,
	"new\nline", "\x1b[2J", "-", "--json", "~2", "r000~2", "r000.wav", "=", "é\u0301", "\u202egnirts", "<script>", "{}", "*",
	strings.Repeat("x", 200), strings.Repeat("x", 201), strings.Repeat("x", 2000), strings.Repeat("é", 1000), strings.Repeat("%", 70),
}

// oddNames are what people, and machines, call recordings.
var oddNames = []string{
	"a/b\\c", "../..", "tab\tline\nreturn\r", "\x1b[31mred\x1b[0m", "nul\x00", "\u202ereversed\u2066", "\u2028\u2029", strings.Repeat("🎙", 1024), " ", "</table>&amp;",
}

// oddRecordings are what the API may give besides what it is documented to: the
// fields after the id.
var oddRecordings = map[string]string{
	"bare":      ``,
	"nulls":     `,"name":null,"dateCreated":null,"dateModified":null,"contentLength":null,"durationMilliseconds":null,"conversation":null`,
	"numbers":   `,"name":17,"dateCreated":17,"dateModified":1.5,"conversation":17,"durationMilliseconds":"long","contentLength":"wide"`,
	"lists":     `,"name":[],"dateCreated":[],"dateModified":{},"conversation":[],"durationMilliseconds":[1],"contentLength":{}`,
	"huge":      `,"durationMilliseconds":1e300,"contentLength":99999999999999999999999999`,
	"negative":  `,"durationMilliseconds":-1,"contentLength":-1`,
	"dates":     `,"dateCreated":"yesterday","dateModified":"2026-13-45T99:99:99Z"`,
	"far":       `,"dateCreated":"9999-12-31T23:59:59Z","dateModified":"0000-01-01T00:00:00Z"`,
	"offset":    `,"dateCreated":"2026-11-01T00:30:00.123+0200","dateModified":"2026-11-01T00:30:00+02:00"`,
	"unknown":   `,"futureField":{"deep":[[[{"a":1e-7}]]]},"ключ":"значение","":0,"name":"Größe \u00e9 \ud83c\udf99"`,
	"lone":      `,"name":"half a pair \ud83c"`,
	"duplicate": `,"name":"first","name":"second"`,
	"spaced":    " , \"name\" :\n\t\"spaced\" ",
}

// TestOddRecordings wants no recording lost, no odd key, and metadata and media whole,
// whatever the API says of them.
func TestOddRecordings(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{}) // whose keys are file names
	w.org["page_size"] = 20
	inbox := w.cloud.ClientInbox()
	for _, id := range oddIDs {
		inbox.Add(genesystest.Recording{ID: id})
	}
	for n, name := range oddNames {
		inbox.Add(genesystest.Recording{ID: fmt.Sprintf("name%d", n), Name: name})
	}
	for id, fields := range oddRecordings {
		inbox.Add(genesystest.Recording{ID: id, RawJSON: json.RawMessage(fmt.Sprintf(`{"id":%q%s}`, id, fields))})
	}
	r := w.once(0)
	a := w.wantArchived(all(inbox))
	w.printable(r.stdout)
	for _, id := range []string{"bare", "nulls", "numbers", "lists", "dates"} {
		for _, m := range a.of(inbox, id) {
			if !strings.Contains(m.Media.Key, "/inbox=client/undated/") {
				t.Errorf("%s is at %s", id, m.Media.Key)
			}
		}
	}
	if key := a.of(inbox, "offset")[0].Media.Key; !strings.Contains(key, "/year=2026/month=10/day=31/") {
		t.Errorf("the date of %s is not in UTC", key)
	}
	w.once(0)
	w.wantArchived(all(inbox))
	w.readsOdd(inbox)
}

// readsOdd asks the reading commands about recordings with odd ids and names.
func (w *world) readsOdd(inbox *genesystest.Inbox) {
	w.Helper()
	for _, args := range [][]string{{"ls"}, {"status"}} {
		w.printable(w.expect(0, args...).stdout)
		w.validJSON(w.expect(0, append(args, "--json")...).stdout)
	}
	if n := strings.Count(w.expect(0, "ls", "--json").stdout, "\n"); n != len(inbox.IDs()) {
		w.Errorf("ls --json has %d lines for %d recordings", n, len(inbox.IDs()))
	}
	ids := append([]string{"name0", "name3", "name4", "name5", "name7", "unknown", "lone", "spaced"}, oddIDs...)
	for n, id := range ids {
		w.printable(w.expect(0, "show", "--", id).stdout)
		var shown struct{ Recording string }
		out := w.expect(0, "show", "--json", "--", id).stdout
		if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.Recording != id {
			w.Errorf("show --json of %.60q: %v\n%.300s", id, err, out)
		}
		file := filepath.Join(w.dir, fmt.Sprintf("got%d", n))
		w.printable(w.expect(0, "get", "--output", file, "--", id).stdout)
		w.wantFile(file, inbox, id)
	}
}

// wantFile compares a file with a recording's media.
func (w *world) wantFile(file string, inbox *genesystest.Inbox, id string) {
	w.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		w.Fatal(err)
	}
	w.wantBytes(body, inbox, id)
}

func (w *world) wantBytes(body []byte, inbox *genesystest.Inbox, id string) {
	w.Helper()
	want, err := inbox.Media(id, w.format())
	if err != nil {
		w.Fatal(err)
	}
	if int64(len(body)) != want.Size || hexSum(body) != fmt.Sprintf("%x", want.SHA256) {
		w.Errorf("%d bytes are not the %d of %.60q", len(body), want.Size, id)
	}
}

// printable wants nothing that moves a cursor or turns text around.
func (w *world) printable(out string) {
	w.Helper()
	for _, r := range out {
		if r != '\n' && !unicode.IsPrint(r) {
			w.Errorf("%U in output for a terminal:\n%q", r, tail(out))
			return
		}
	}
}

// validJSON wants JSON on every line.
func (w *world) validJSON(out string) {
	w.Helper()
	for line := range bytes.Lines([]byte(out)) {
		if !json.Valid(line) {
			w.Errorf("not JSON: %.300q", line)
		}
	}
}
