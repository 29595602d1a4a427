package archiver

import (
	"bytes"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// What happens to an inbox over many passes is in its journal, in order and once,
// with what an auditor asks of it.
func TestJournalTellsTheHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	r.Add(3)
	r.User.Add(genesystest.Recording{ID: "lost", Name: "<lost>", Duration: 10 * time.Second, MediaDuration: 100 * time.Millisecond})
	r.pass(func(o *Options) { o.MinAge = 0 })
	r.pass()
	r.User.Remove("lost")
	r.User.Remove("rec-03")
	r.passed(deleting)
	r.passed()
	want := []string{"lost listed→failed"}
	objects, _ := r.Journal()
	got := archivertest.Changes(objects)
	first := slices.Clone(got[:4])
	slices.Sort(first)
	archivertest.WantSame(t, "the first pass", first, append(want, "rec-01 listed→archived", "rec-02 listed→archived", "rec-03 listed→archived"))
	second := slices.Clone(got[4:6])
	slices.Sort(second)
	archivertest.WantSame(t, "the pass that deletes", second, []string{"rec-01 archived→delete_requested", "rec-02 archived→delete_requested"})
	last := slices.Clone(got[6:])
	slices.Sort(last)
	archivertest.WantSame(t, "the last pass", last, []string{"lost failed→vanished", "rec-01 delete_requested→deleted", "rec-02 delete_requested→deleted", "rec-03 archived→gone"})
	r.WantJournal(got...)
	for i, j := range objects {
		if j.Ledger != r.Ledger.ID() || j.Configuration != archivertest.Configuration || j.Archiverd != r.options.Version || (j.Previous == nil) != (i == 0) {
			t.Errorf("object %d says %+v", i, j)
		}
		for _, e := range j.Events {
			v := state.Version{}
			if entry := r.Entry(e.Recording); len(entry.Versions) > 0 {
				v = entry.Versions[0]
			}
			name := "" // of what may be archived after all, and erased then, none
			if e.To == state.StateVanished {
				name = "<lost>"
			}
			switch {
			case e.To == state.StateArchived && (e.Stored == nil || *e.Stored != record.JournalStored{MediaKey: v.MediaKey, Size: v.Size, SHA256: v.SHA256, ManifestKey: v.ManifestKey, ManifestSHA256: v.ManifestSHA256, Suspect: v.Suspect, Unproved: v.Unproved}):
				t.Errorf("%s was archived as %+v, the journal says %+v", e.Recording, v, e.Stored)
			case e.To == state.StateDeleteRequested && !strings.Contains(e.Why, "complete walk"):
				t.Errorf("the deletion of %s was checked by %q", e.Recording, e.Why)
			case e.Recording == "lost" && (e.Why == "" || e.Listed == nil || e.Listed.Name != name):
				t.Errorf("of the lost recording the journal says %q, %+v", e.Why, e.Listed)
			}
		}
	}
	if p := objects[0].Pass; p.Summary == nil || *p.Summary != 4 || p.Total == nil || *p.Total != 4 || p.Listed != 4 || p.Archived != 3 {
		t.Errorf("the first pass is told as %+v", p)
	}
	for _, key := range r.Objects("journal") {
		o, err := r.Store().Head(t.Context(), key, "")
		if err != nil || o.Retention.Mode != "GOVERNANCE" || o.Retention.Until.Before(time.Now().AddDate(6, 11, 0)) {
			t.Errorf("%s is locked %+v, %v", key, o.Retention, err)
		}
	}
}

// A pass that changes nothing writes the first object of a day, and no other.
func TestJournalOnceADay(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Echoing, false)
	r.passed()
	r.passed()
	if got := r.Objects("journal"); len(got) != 1 {
		t.Errorf("two passes of a day wrote %q", got)
	}
	p := r.begin(r.archiver())
	p.record.Start = p.record.Start.Add(24 * time.Hour)
	p.end(nil)
	for range 2 {
		if err := p.keepJournal(t.Context()); err != nil || len(r.Objects("journal")) != 1 {
			t.Errorf("an inbox that could not be listed: %v, %q", err, r.Objects("journal"))
		}
	}
	p.ownerKnown = true
	for range 2 {
		if err := p.keepJournal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.Objects("journal"); len(got) != 2 {
		t.Errorf("with a pass of the next day there are %q", got)
	}
	r.WantJournal()
}

// A long pass writes its journal as it goes, and what can't be written then, at its end.
func TestLongPassKeepsUp(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		r := newRig(t, archivertest.Checking, false)
		r.options.Workers = 1
		r.Add(40)
		a := r.archiver()
		a.journalEvery = 4
		refused := 0
		if down {
			r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if name == "PUT journal" && refused < 5 {
					refused++
					return archivertest.Refuse(req), nil
				}
				return send()
			})
		}
		report := a.Run(t.Context(), t.Context(), []Inbox{r.in}).Inboxes[0]
		r.Wire.Use(nil)
		if report.Err != nil || report.Pass.Archived != 40 {
			t.Errorf("the pass: %+v", report)
		}
		objects, faults := r.Journal()
		early := 0
		for _, j := range objects {
			if j.Pass.Archived < 40 {
				early++
			}
		}
		if len(faults) > 0 || len(archivertest.Changes(objects)) != 40 || early == 0 {
			t.Errorf("%d of %d objects before the end tell %q, faults %+v", early, len(objects), archivertest.Changes(objects), faults)
		}
	}
}

// A journal that can't be written holds nothing up but itself, and is made up for.
func TestJournalDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(1)
	r.passed()
	r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasSuffix(name, " journal") {
			return archivertest.Answer(req, http.StatusServiceUnavailable, ""), nil
		}
		return send()
	})
	report := r.pass(deleting)
	r.Wire.Use(nil)
	archivertest.WantErr(t, report.Err, failure.KindTemporary, "write the journal")
	if report.Pass.DeleteRequested != 1 {
		t.Errorf("the deletion waited for the journal: %+v", report.Pass)
	}
	r.WantState("rec-01", state.StateDeleteRequested)
	r.passed(deleting)
	r.WantJournal("rec-01 listed→archived", "rec-01 archived→delete_requested", "rec-01 delete_requested→deleted")
}

// A ledger that comes back from an old backup goes on at the chain's end.
func TestJournalAfterAnOldBackup(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.Add(1)
	r.passed()
	var backup bytes.Buffer
	if err := r.Ledger.Copy(&backup); err != nil {
		t.Fatal(err)
	}
	r.User.Add(genesystest.Recording{ID: "rec-02", Duration: 100 * time.Millisecond})
	r.passed()
	r.CloseLedger()
	if err := os.WriteFile(r.Path, backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.OpenLedger()
	downloads := len(r.Requests(opLink))
	r.passed()
	if n := len(r.Requests(opLink)); n != downloads {
		t.Errorf("%d downloads more", n-downloads)
	}
	r.WantJournal("rec-01 listed→archived", "rec-02 listed→archived", "rec-02 listed→archived") // by the lost ledger, and adopted by this one
}

// A journal object that an interrupted pass left without a lock gets it before the chain
// goes on. One that has a lock keeps it.
func TestJournalLeftBehindIsLocked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(*Options)
		years  int
	}{
		"without a lock":      {func(o *Options) { o.Retention.Mode = "" }, 7},
		"with a shorter lock": {func(o *Options) { o.Retention.Until = func(from time.Time) time.Time { return from.AddDate(1, 0, 0) } }, 1},
		"with its lock":       {func(*Options) {}, 7},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, true)
			r.Wire.Use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if name == "HEAD journal" {
					return archivertest.Refuse(req), nil
				}
				return send()
			})
			if err := r.pass(c.before).Err; err == nil || !strings.Contains(err.Error(), "write the journal") {
				t.Fatalf("the interrupted pass: %v", err)
			}
			r.Wire.Use(nil)
			r.Add(1)
			r.passed()
			keys := r.Objects("journal")
			o, err := r.Store().Head(t.Context(), keys[0], "")
			if err != nil || len(keys) != 2 || o.Retention.Mode != "GOVERNANCE" || time.Until(o.Retention.Until.AddDate(-c.years, 0, 0)).Abs() > time.Hour {
				t.Errorf("of %q the first is locked %+v, %v", keys, o.Retention, err)
			}
			if objects := r.WantJournal("rec-01 listed→archived"); storage.Retention(objects[1].Previous.Retention) != o.Retention {
				t.Errorf("the next object tells of the lock %+v", objects[1].Previous.Retention)
			}
		})
	}
}

// A pass that finds something wrong at the journal's end says so, and goes on.
func TestPassReportsABrokenJournal(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	r.passed()
	keys := r.Objects("journal")
	foreign := archivertest.Later(keys[0])
	r.Overwrite(foreign, []byte("hello"))
	r.Add(1)
	report := r.passed()
	archivertest.WantSame(t, "foreign objects", report.Foreign, []string{foreign})
	if _, faults := r.Journal(); len(faults) != 1 || faults[0].Kind != record.FaultForeign {
		t.Errorf("the chain is %+v", faults)
	}
	if got := r.Objects("journal"); len(got) != 3 {
		t.Errorf("the journal is %q", got)
	}
}
