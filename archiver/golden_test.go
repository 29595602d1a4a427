package archiver

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
)

// Every manifest that a pass writes follows the schema and holds the recording as
// Genesys gave it, whatever that is.
func TestManifestsOfPassesFollowTheSchema(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.NewCompiler().Compile("../docs/manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw := `{ "id":"raw", "dateCreated":"2026-01-01T00:00:00.000Z",
		"n":1e400, "n":-0.0, "big":12345678901234567890.10, "html":"<&>", "escaped":"\u0041\ud800", "line":"` + "\u2028" + `", "conversation":{"id":null,"deep":[[[{}]]]} }`
	for _, lock := range []bool{false, true} {
		r := newRig(t, archivertest.Checking, lock)
		r.User.Add(genesystest.Recording{ID: "plain", Duration: 50 * time.Millisecond})
		r.User.Add(genesystest.Recording{ID: "bare", Omit: []string{"name", "dateCreated", "dateModified", "conversation", "contentLength", "durationMilliseconds"}})
		r.User.Add(genesystest.Recording{ID: "old", DateCreated: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Duration: 50 * time.Millisecond}) // its retention has ended
		r.User.Add(genesystest.Recording{ID: "empty", Empty: true})
		r.User.Add(genesystest.Recording{ID: "raw", RawJSON: json.RawMessage(raw)})
		r.passed(func(o *Options) { o.MinAge = 0 })
		for _, id := range []string{"plain", "bare", "old", "empty", "raw"} {
			r.wantSchema(schema, id)
		}
	}
}

func (r *rig) wantSchema(schema *jsonschema.Schema, id string) {
	r.T.Helper()
	text := r.Read(r.WantArchived(id).ManifestKey)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		r.T.Fatal(err)
	}
	if err := schema.Validate(v); err != nil {
		r.T.Errorf("%s: %v", id, err)
	}
	if n := bytes.Count(text, []byte("\n")); n != 1 {
		r.T.Errorf("%s: %d lines", id, n)
	}
	var asGiven bytes.Buffer
	if err := json.Compact(&asGiven, r.User.JSON(id, true)); err != nil {
		r.T.Fatal(err)
	}
	if !bytes.Contains(text, append([]byte(`"recording":`), asGiven.Bytes()...)) {
		r.T.Errorf("%s: the recording in the manifest is not what Genesys gave, which is\n%s\nbut\n%s", id, asGiven.Bytes(), text)
	}
}

// The ledger's word and the manifest's on retention are the store's own.
func TestManifestTellsTheLock(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	r.Add(1)
	r.User.Add(genesystest.Recording{ID: "old", DateCreated: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Duration: 50 * time.Millisecond})
	r.passed()
	created, _ := genesys.ParseTime(r.Entry("rec-01").DateCreated)
	until := created.AddDate(7, 0, 0)
	v := r.WantArchived("rec-01")
	m := r.Manifest(v.ManifestKey)
	if m.Retention == nil || m.Retention.Mode != "GOVERNANCE" || m.Retention.Until.Before(until) || m.Retention.Until.Sub(until) > time.Second || !v.RetainUntil.Equal(*m.Retention.Until) {
		t.Errorf("the manifest says %+v, the ledger %s until %s, want until %s", m.Retention, v.RetentionMode, v.RetainUntil, until)
	}
	for _, key := range []string{v.MediaKey, v.ManifestKey} {
		if o, err := r.Store().Head(t.Context(), key, ""); err != nil || !o.Retention.Until.Equal(v.RetainUntil) {
			t.Errorf("%s is locked until %s: %v", key, o.Retention.Until, err)
		}
	}
	old := r.WantArchived("old")
	if m := r.Manifest(old.ManifestKey); old.RetentionMode != "" || m.Retention == nil || m.Retention.Mode != "" || m.Retention.Note == "" {
		t.Errorf("a retention that has ended: ledger %q, manifest %+v", old.RetentionMode, m.Retention)
	}
}
