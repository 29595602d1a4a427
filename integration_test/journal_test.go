package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// journal is what these tests read of one object, by its published form.
type journal struct {
	key           string
	Previous      *struct{ Key, SHA256 string }
	Configuration string
	Pass          struct {
		Start    time.Time
		Archived int
		Summary  *int
	}
	Events []struct {
		Recording, From, To, Why string
		Stored                   *struct {
			SHA256   string
			MediaKey string `json:"media_key"`
		}
	}
}

// journals reads the client's journal in the order of its names. It insists on the
// published schema and, by its own reckoning, on an unbroken chain.
func (w *world) journals() (all []journal) {
	w.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../docs/journal.schema.json")
	if err != nil {
		w.Fatal(err)
	}
	before := ""
	for _, o := range w.listing() {
		if !strings.HasPrefix(o.Key, "genesys/journal/") {
			continue
		}
		text, err := w.read(o.Key)
		if err != nil {
			w.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		j := journal{key: o.Key}
		if err != nil || json.Unmarshal(text, &j) != nil {
			w.Fatalf("%s: %v\n%.1000s", o.Key, err, text)
		}
		said := ""
		if j.Previous != nil {
			said = j.Previous.Key + " " + j.Previous.SHA256
		}
		if said != before {
			w.Errorf("%s follows %q, but comes after %q", o.Key, said, before)
		}
		sum := sha256.Sum256(text)
		before = o.Key + " " + hex.EncodeToString(sum[:])
		all = append(all, j)
	}
	return all
}

// wantTold insists on a whole journal that tells of each recording once that it went
// into a state.
func (w *world) wantTold(to string, ids []string) {
	w.Helper()
	told := map[string]int{}
	for _, j := range w.journals() {
		for _, e := range j.Events {
			if e.To == to {
				told[e.Recording]++
			}
		}
	}
	for _, id := range ids {
		if told[id] != 1 {
			w.Errorf("the journal tells %d times that %s is %s", told[id], id, to)
		}
	}
	if len(told) != len(ids) {
		w.Errorf("the journal tells that %d recordings are %s, want %d", len(told), to, len(ids))
	}
}

// TestJournal reads what runs left in the journal, and when its configuration changed.
func TestJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	w.once(0)
	ids := inbox.IDs()
	w.wantTold("archived", ids)
	w.deleting()
	w.once(0)
	w.wantTold("delete_requested", ids)
	w.cloud.Settle()
	w.once(0)
	w.wantTold("deleted", ids)
	w.wantTold("archived", ids)
	all := w.journals()
	if len(all) != 3 || all[0].Pass.Archived != 3 || all[0].Pass.Summary == nil || *all[0].Pass.Summary != 3 {
		t.Fatalf("the journal is %+v", all)
	}
	if a, b, c := all[0].Configuration, all[1].Configuration, all[2].Configuration; len(a) != 64 || a == b || b != c {
		t.Errorf("the configuration changed once, before the second run: %s, %s, %s", a, b, c)
	}
	stored := w.archive().media
	for _, e := range all[0].Events {
		if e.Stored == nil || stored[e.Stored.MediaKey].sha256 != e.Stored.SHA256 {
			t.Errorf("%+v is told of %s", e.Stored, e.Recording)
		}
	}
	for _, e := range all[1].Events {
		if !strings.Contains(e.Why, "complete walk") || !strings.Contains(e.Why, "unchanged in Genesys") {
			t.Errorf("the deletion of %s was checked by %q", e.Recording, e.Why)
		}
	}
}

// TestAlteredJournal wants a changed journal object to be found: what it said of an
// auditor's recording is not what archiverd wrote.
func TestAlteredJournal(t *testing.T) {
	t.Parallel()
	for name, store := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, store(t), genesystest.Options{})
			inbox := w.cloud.ClientInbox()
			for n := range 3 {
				inbox.Add(genesystest.Recording{ID: recordingID(n)})
				w.once(0)
			}
			key := w.journals()[1].key
			w.rewrite(key, replacing("r001", "r009"))
			if r := w.expect(6, "reconcile"); !strings.Contains(r.stdout, "altered") || !strings.Contains(r.stdout, key) {
				t.Errorf("reconcile: %s", r)
			}
			if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
				t.Fatal(err)
			}
			if r := w.expect(6, "rebuild"); !strings.Contains(r.stderr, "altered") || !strings.Contains(r.stderr, key) {
				t.Errorf("rebuild: %s", r)
			}
		})
	}
}

// replacing edits an object.
func replacing(from, to string) func([]byte) []byte {
	return func(text []byte) []byte { return bytes.Replace(text, []byte(from), []byte(to), 1) }
}

// TestAcceptedJournal wants a rebuilt inbox whose journal is broken to be deleted from
// once a person has accepted that, and the next fault to be one again.
func TestAcceptedJournal(t *testing.T) {
	t.Parallel()
	for name, served := range map[string]bool{"by itself": false, "in the service": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			w.daily()
			inbox := w.cloud.ClientInbox()
			for n := range 3 {
				inbox.Add(genesystest.Recording{ID: recordingID(n)})
				w.once(0)
			}
			all := w.journals()
			broken, sound := all[0].key, all[1].key
			w.rewrite(broken, replacing(`"archived":1`, `"archived":2`))
			if err := os.Rename(w.ledgerPath(), w.ledgerPath()+".lost"); err != nil {
				t.Fatal(err)
			}
			w.expect(6, "rebuild")
			w.deleting()
			w.once(0)
			if r := w.expect(6, "reconcile"); !strings.Contains(r.stdout, "archiverd retry --accept-journal --org acme --inbox client") {
				t.Errorf("reconcile names no way out: %s", r)
			}
			w.expect(2, "retry", "--accept-journal", "--org", "acme")
			accept := []string{"retry", "--accept-journal", "--org", "acme", "--inbox", "client"}
			var r result
			if served {
				p := w.start("run") // which has missed no run, and so makes none
				w.awaitLog(p, "archiverd starts", 1)
				r = w.expect(0, accept...)
				w.ends(p)
			} else {
				r = w.expect(0, accept...)
			}
			if !strings.Contains(r.stderr, "altered") || !strings.Contains(r.stderr, broken) {
				t.Errorf("it does not say what was accepted: %s", r)
			}
			if n := w.cloud.Requests(opDelete); n != 0 {
				t.Errorf("%d deletions before a clean reconcile", n)
			}
			if r := w.expect(0, "reconcile", "--html", "page.html"); !strings.Contains(r.stdout, "accepted: altered: "+broken) {
				t.Errorf("reconcile does not show what was accepted: %s", r)
			}
			if j := w.reconciled(0).inboxes["client"].Journal; len(j.Faults) != 0 || len(j.Accepted) != 1 || j.Accepted[0].Key != broken {
				t.Errorf("as JSON: %+v", j)
			}
			if page, err := os.ReadFile(filepath.Join(w.dir, "page.html")); err != nil || !strings.Contains(string(page), broken) {
				t.Errorf("the page does not name %s: %v", broken, err)
			}
			w.once(0)
			if n := w.cloud.Requests(opDelete); n != 3 {
				t.Errorf("%d deletions after it, want 3", n)
			}
			w.rewrite(sound, replacing(`"archived":1`, `"archived":2`))
			if r := w.expect(6, "reconcile"); !strings.Contains(r.stdout, "altered: "+sound) {
				t.Errorf("the next fault: %s", r)
			}
		})
	}
}
