package integration_test

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// finding is a check as archiverd doctor --json prints it.
type finding struct{ Name, About, Result, Found, Remedy string }

// doctor runs archiverd doctor and gives what it found, by name and inbox. What holds
// of every finding is insisted on here.
func (w *world) doctor(code int, args ...string) map[string]finding {
	w.Helper()
	var out struct {
		Checks   []finding
		ExitCode int `json:"exit_code"`
	}
	r := w.expect(code, append([]string{"doctor", "--json"}, args...)...)
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil || out.ExitCode != code {
		w.Fatalf("%v: %s", err, r)
	}
	found := map[string]finding{}
	for _, f := range out.Checks {
		key := f.Name
		if f.About != "" && f.About != "acme/client" {
			key += " " + f.About
		}
		if _, twice := found[key]; twice {
			w.Errorf("%s was found twice", key)
		}
		found[key] = f
		needs := f.Result == "warn" || f.Result == "fail"
		if f.Found == "" || needs != (f.Remedy != "") {
			w.Errorf("%s: a remedy for each warning and failure, and no other: %+v", key, f)
		}
	}
	return found
}

// wantFound compares results, of the checks that do not depend on the machine.
func (w *world) wantFound(found map[string]finding, want map[string]string) {
	w.Helper()
	for _, name := range []string{"ledger.disk", "ledger.space"} {
		if _, ok := found[name]; !ok {
			w.Errorf("%s is missing", name)
		}
		delete(found, name)
	}
	w.wantResults(found, want)
}

// wantResults insists on these findings and no others.
func (w *world) wantResults(found map[string]finding, want map[string]string) {
	w.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if found[name].Result != want[name] {
			w.Errorf("%s: want %s, got %+v", name, want[name], found[name])
		}
	}
	for name := range found {
		if want[name] == "" {
			w.Errorf("not expected: %+v", found[name])
		}
	}
}

// healthy is what the doctor finds where all is well.
func healthy(edit map[string]string) map[string]string {
	want := map[string]string{
		"configuration": "pass", "ledger.file": "pass", "ledger.content": "pass",
		"store.bucket": "pass", "store.credentials": "pass", "store.clock": "pass", "store.read": "pass", "store.create_only": "pass", "store.checksum": "pass",
		"store.encryption": "pass", "store.versioning": "pass", "store.lock": "pass", "store.hold": "pass", "store.policy": "unchecked",
		"store.delete_right":       "warn", // the servers' root may do anything
		"store.lifecycle":          "pass",
		"store.unfinished_uploads": "warn", // no rule, and MinIO does not list them
		"genesys.token":            "pass", "genesys.user": "unchecked", "genesys.read": "pass",
		"genesys.delete": "pass", "genesys.clock": "pass", "genesys.rate_limit": "unchecked",
	}
	maps.Copy(want, edit)
	return want
}

// spared fails the test if a recording that exists is asked to be deleted.
func (w *world) spared(inbox *genesystest.Inbox) {
	known := inbox.IDs()
	w.cloud.Configure(func(o *genesystest.Options) {
		o.OnDelete = func(_, id string) error {
			if slices.Contains(known, id) {
				return errors.New("the doctor deletes a recording")
			}
			return nil
		}
	})
}

// lockedAs configures a lock of seven years.
func (w *world) lockedAs(mode string) {
	section := w.storageSection()
	section["object_lock"] = map[string]any{"mode": mode, "retain_for": "7y"}
	w.config["storage"] = section
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		start      func(testing.TB) *storagetest.Server
		lifecycle  string // versitygw knows none
		unfinished string
	}{
		"versitygw": {storagetest.Versitygw, "warn", "pass"},
		"minio":     {storagetest.MinIO, "pass", "warn"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := tc.start(t)
			for mode, lock := range map[string]string{"compliance": "pass", "governance": "warn", "none": "unchecked"} {
				t.Run(mode, func(t *testing.T) {
					t.Parallel()
					w := newWorldOn(t, server, genesystest.Options{RateLimit: 1000})
					w.deleting()
					w.lockedAs(mode)
					fill(w.cloud.ClientInbox(), 2)
					w.spared(w.cloud.ClientInbox())
					want := healthy(map[string]string{
						"ledger.content": "unchecked", "store.lock": lock, "store.lifecycle": tc.lifecycle, "genesys.rate_limit": "warn",
						"store.unfinished_uploads": tc.unfinished,
					})
					w.wantFound(w.doctor(0), want) // before the first run
					if out := w.expect(0, "doctor").stdout; !strings.Contains(out, "What to do:\n") || !strings.Contains(out, "genesys.rate_limit acme/client: set requests_per_minute to 1000") {
						t.Errorf("the table is\n%s", out)
					}
				})
			}
		})
	}
}
