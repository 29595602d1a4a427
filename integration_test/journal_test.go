package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/integration_test/genesyssim"
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
	w := newWorld(t, genesyssim.Options{})
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
			w := newWorldOn(t, store(t), genesyssim.Options{})
			inbox := w.cloud.ClientInbox()
			for n := range 3 {
				inbox.Add(genesyssim.Recording{ID: recordingID(n)})
				w.once(0)
			}
			key := w.journals()[1].key
			text, err := w.read(key)
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.s3.Client().PutObject(t.Context(), &s3.PutObjectInput{
				Bucket: &w.bucket, Key: &key, Body: bytes.NewReader(bytes.Replace(text, []byte("r001"), []byte("r009"), 1)),
			})
			if err != nil {
				t.Fatal(err)
			}
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
