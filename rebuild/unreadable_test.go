package rebuild

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// An object that the store can't give is found, once, and all else comes back.
func TestRebuildFindsTheUnreadable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		prepare func(r *rig)
		lost    func(r *rig) string
		state   state.State // of rec-01, whose original is gone
	}{
		"manifest":                 {nil, func(r *rig) string { return r.Entry("rec-01").Versions[0].ManifestKey }, state.StateGone},
		"first journal object":     {nil, func(r *rig) string { return r.Objects("journal")[0] }, state.StateGone},
		"journal object between":   {nil, func(r *rig) string { return r.Objects("journal")[1] }, state.StateGone},
		"newest journal object":    {nil, func(r *rig) string { k := r.Objects("journal"); return k[len(k)-1] }, state.StateArchived},
		"media without a journal":  {func(r *rig) { r.RemoveAll("journal") }, func(r *rig) string { return r.Objects("media")[0] }, state.StateArchived},
		"media without a manifest": {func(r *rig) { r.RemoveAll("journal"); r.Remove(r.Objects("manifests")[0]) }, func(r *rig) string { return r.Objects("media")[0] }, ""},
		"media of a lost manifest": {func(r *rig) { r.Remove(r.Objects("manifests")[0]) }, func(r *rig) string { return r.Objects("media")[0] }, state.StateGone},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, false)
			r.Add(3)
			r.Passed()
			r.User.Add(genesystest.Recording{ID: "rec-04", Duration: 100 * time.Millisecond})
			r.Passed()
			r.User.Remove("rec-01")
			r.Passed()
			r.Passed()
			r.WantState("rec-01", state.StateGone)
			lost, before := c.lost(r), ledgerEntries(t, r.Ledger)
			if c.prepare != nil {
				c.prepare(r)
			}
			stored := r.Objects("manifests")
			r.Wire.Use(archivertest.Refusing(lost))
			_, found := r.rebuilt()
			r.Wire.Use(nil)
			found = slices.DeleteFunc(found, func(f proof.Finding) bool { return f.Fault == record.FaultManifest }) // lost before
			if len(found) != 1 || found[0].Fault != record.FaultUnreadable || found[0].Key != lost || !strings.Contains(found[0].Detail, "400") {
				t.Errorf("found %+v, want %s", found, lost)
			}
			after := ledgerEntries(t, r.Ledger)
			e := after[r.Key("rec-01")]
			if e.State != c.state {
				t.Errorf("rec-01 is %+v", e)
			}
			for _, v := range e.Versions { // which of nothing would be long ago, and the original due
				if v.ArchivedAt.IsZero() {
					t.Errorf("rec-01 was archived at no time: %+v", v)
				}
			}
			delete(before, r.Key("rec-01"))
			delete(after, r.Key("rec-01"))
			wantRestored(t, after, before)
			archivertest.WantSame(t, "manifests", r.Objects("manifests"), stored)
			r.Login(r.User)
			downloads := len(r.Requests(opLink))
			r.Passed()
			if n := len(r.Requests(opLink)); n != downloads {
				t.Errorf("%d downloads more", n-downloads)
			}
			if _, faults := r.Journal(); len(faults) > 0 && c.prepare == nil {
				t.Errorf("the journal is broken: %+v", faults)
			}
		})
	}
}

// Media in cold storage are found, however many they are: the store works.
func TestRebuildPastColdStorage(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(proof.MaxUnreadable + 2)
	r.Passed()
	cold := r.Objects("manifests")[1:]
	r.Wire.Use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		for _, key := range cold {
			if n == "GET manifests" && strings.HasSuffix(req.URL.Path, key) {
				return archivertest.Answer(req, http.StatusForbidden, `<Error><Code>InvalidObjectState</Code></Error>`), nil
			}
		}
		return send()
	})
	_, found := r.rebuilt()
	r.Wire.Use(nil)
	var keys []string
	for _, f := range found {
		if f.Fault == record.FaultUnreadable {
			keys = append(keys, f.Key)
		}
	}
	slices.Sort(keys)
	archivertest.WantSame(t, "unreadable", keys, cold)
}

// A store that refuses, has no bucket any more or fails for one object after the other
// ends a rebuild, and so does a stop.
func TestRebuildEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		broken string // requests
		reply  func(*http.Request) *http.Response
		want   string
	}{
		"forbidden": {"GET manifests", func(req *http.Request) *http.Response {
			return archivertest.Answer(req, http.StatusForbidden, `<Error><Code>AccessDenied</Code></Error>`)
		}, "access refused"},
		"no bucket": {"", func(req *http.Request) *http.Response {
			return archivertest.Answer(req, http.StatusNotFound, `<Error><Code>NoSuchBucket</Code></Error>`)
		}, "no such bucket"},
		"one after the other": {"GET manifests", archivertest.Refuse, "one recording after the other failed"},
		"stopped":             {"GET manifests", nil, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, false)
			r.Add(proof.MaxUnreadable)
			r.Passed()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var begun atomic.Bool
			r.Wire.Use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if n == "GET manifests" {
					begun.Store(true)
				}
				switch {
				case !begun.Load() || c.broken != "" && n != c.broken:
					return send()
				case c.reply == nil:
					stop()
					return nil, context.Canceled
				}
				return c.reply(req), nil
			})
			_, found, err := r.rebuild(ctx)
			r.Wire.Use(nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(found) > 0 {
				t.Errorf("ended with %v, found %+v", err, found)
			}
		})
	}
}
