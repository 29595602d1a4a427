package codec

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
)

// full returns an entry with every field set.
func full() state.Entry {
	v := statetest.Version(1)
	v.DateModified, v.Format, v.MediaVersionID, v.ManifestVersionID = "m0", "WAV", "v1", "v2"
	v.Checksum, v.ManifestSize, v.ManifestSHA256 = "CRC32:3q2+7w==", 9, v.SHA256
	v.RetentionMode, v.RetainUntil, v.Suspect = "COMPLIANCE", statetest.Now, "short <&>"
	v.Fingerprint, v.ManifestModified, v.Unproved, v.Whole = "f1", "d0", "open", true
	v.Held = true
	return state.Entry{
		State: state.StateListed, Name: "naïve <name>", ConversationID: "c", DateCreated: "d", DateModified: "m",
		ListedAt: statetest.Now, Expanded: true, MediaKey: "k", Versions: []state.Version{v, v}, BadKeys: []string{"b1", "b2"},
		Attempts: 1, LastError: "e\n", NeedsPerson: true, FailedSince: statetest.Now, NextAttempt: statetest.Now, Mismatches: 2,
		Fingerprint: "f2", Changes: 4, Twin: v.SHA256, TwinAsked: true,
		MissingSince: statetest.Now, DeleteRequestedAt: statetest.Now, DeleteAttempts: 3, Acts: []state.Act{statetest.Act(state.ActHold)},
		Milliseconds: 7, Participants: []state.Participant{{UserID: "u", Name: "n", Address: "a"}},
	}
}

func TestCodec(t *testing.T) {
	var c Entries
	e := full()
	for _, v := range []reflect.Value{reflect.ValueOf(e), reflect.ValueOf(e.Versions[0])} {
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Raw" && name != "Why" {
				t.Errorf("the test leaves %s zero", name)
			}
		}
	}
	for _, e := range []state.Entry{e, {State: state.StateListed}, {State: state.StateArchived, Versions: []state.Version{statetest.Version(1)}}} {
		data, err := c.Encode(&e)
		statetest.Must(t, err)
		got, err := c.Decode(data)
		statetest.Must(t, err)
		statetest.Same(t, *got, e)
		for n := range data {
			if got, err := c.Decode(data[:n]); err == nil {
				t.Fatalf("%d of %d bytes give %v", n, len(data), got)
			}
		}
		if _, err := c.Decode(append(data, 0)); err == nil {
			t.Error("a byte more is taken")
		}
	}
}

// TestDictionary: entries written with schema 1 must stay readable.
func TestDictionary(t *testing.T) {
	data, err := os.ReadFile("testdata/entry-schema1")
	statetest.Must(t, err)
	got, err := new(Entries).Decode(data)
	statetest.Must(t, err)
	want := full()
	want.NeedsPerson = false // the following fields were added later
	want.Fingerprint, want.Changes, want.Twin, want.TwinAsked, want.Acts = "", 0, "", false, nil
	want.Milliseconds, want.Participants = 0, nil
	for i := range want.Versions {
		v := &want.Versions[i]
		v.Fingerprint, v.ManifestModified, v.Unproved, v.Whole, v.Held = "", "", "", false, false
	}
	statetest.Same(t, *got, want)
}

// FuzzEntry: decoding any bytes gives an error, or an entry that is the same after
// encoding and decoding.
func FuzzEntry(f *testing.F) {
	var c Entries
	f.Fuzz(func(t *testing.T, data []byte) {
		c.Decode(data)
		e, err := parseEntry(data)
		if err != nil {
			return
		}
		if _, err := json.Marshal(e.ListedAt); err != nil {
			t.Fatalf("read a time that can't be written: %v", err)
		}
		again, err := c.Encode(e)
		statetest.Must(t, err)
		got, err := c.Decode(again)
		statetest.Must(t, err)
		statetest.Same(t, got, e)
	})
}

func TestFuzzCorpus(t *testing.T) {
	files, err := os.ReadDir("testdata/fuzz/FuzzEntry")
	statetest.Must(t, err)
	if len(files) < 5 {
		t.Errorf("%d files", len(files))
	}
	for _, f := range files {
		data, err := os.ReadFile("testdata/fuzz/FuzzEntry/" + f.Name())
		statetest.Must(t, err)
		if !bytes.HasPrefix(data, []byte("go test fuzz v1\n")) {
			t.Errorf("%s is not a corpus file", f.Name())
		}
	}
}
