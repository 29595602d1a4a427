package archiver

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// journal reads the inbox's journal, with what is wrong with it, and holds every
// object to the published schema.
func (r *rig) journal() (objects []*record.Journal, faults []record.JournalFault) {
	r.t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("../docs/journal.schema.json")
	if err != nil {
		r.t.Fatal(err)
	}
	in, err := r.ledger.Inbox(context.Background(), org, r.in.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	faults, err = record.Chain{Bucket: r.store(), Keys: record.Keys{Prefix: "genesys", Org: org, Inbox: r.in.ID}}.Walk(r.t.Context(), in.Journal, func(at state.JournalHead, j *record.Journal) error {
		objects = append(objects, j)
		text := r.read(at.Key)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err == nil {
			err = schema.Validate(v)
		}
		if err != nil || bytes.Count(text, []byte("\n")) != 1 {
			r.t.Errorf("%s: %v\n%.2000s", at.Key, err, text)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return objects, faults
}

// changes are the journal's events, as "rec-01 listed→archived".
func changes(objects []*record.Journal) (all []string) {
	for _, j := range objects {
		for _, e := range j.Events {
			all = append(all, fmt.Sprintf("%s %s→%s", e.Recording, e.From, e.To))
		}
	}
	return all
}

// wantJournal insists on an unbroken chain that tells these events and no others,
// and on a ledger that has no more to tell.
func (r *rig) wantJournal(want ...string) []*record.Journal {
	r.t.Helper()
	objects, faults := r.journal()
	if len(faults) > 0 {
		r.t.Errorf("the journal is broken: %+v", faults)
	}
	wantSame(r.t, "the journal's events", changes(objects), want)
	if left, err := r.ledger.Events(context.Background(), org, r.in.ID, 10); err != nil || len(left) > 0 {
		r.t.Errorf("the ledger still has events: %+v, %v", left, err)
	}
	return objects
}

// What happens to an inbox over many passes is in its journal, in order and once,
// with what an auditor asks of it.
func TestJournalTellsTheHistory(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, true)
	r.options.Configuration = strings.Repeat("ab", 32)
	r.add(3)
	r.user.Add(genesystest.Recording{ID: "lost", Name: "<lost>", Duration: 10 * time.Second, MediaDuration: 100 * time.Millisecond})
	r.pass(func(o *Options) { o.MinAge = 0 })
	r.pass()
	r.user.Remove("lost")
	r.user.Remove("rec-03")
	r.passed(deleting)
	r.passed()
	want := []string{"lost listed→failed"}
	objects, _ := r.journal()
	got := changes(objects)
	first := slices.Clone(got[:4])
	slices.Sort(first)
	wantSame(t, "the first pass", first, append(want, "rec-01 listed→archived", "rec-02 listed→archived", "rec-03 listed→archived"))
	second := slices.Clone(got[4:6])
	slices.Sort(second)
	wantSame(t, "the pass that deletes", second, []string{"rec-01 archived→delete_requested", "rec-02 archived→delete_requested"})
	last := slices.Clone(got[6:])
	slices.Sort(last)
	wantSame(t, "the last pass", last, []string{"lost failed→vanished", "rec-01 delete_requested→deleted", "rec-02 delete_requested→deleted", "rec-03 archived→gone"})
	r.wantJournal(got...)
	for i, j := range objects {
		if j.Ledger != r.ledger.ID() || j.Configuration != r.options.Configuration || j.Archiverd != r.options.Version || (j.Previous == nil) != (i == 0) {
			t.Errorf("object %d says %+v", i, j)
		}
		for _, e := range j.Events {
			v := state.Version{}
			if entry := r.entry(e.Recording); len(entry.Versions) > 0 {
				v = entry.Versions[0]
			}
			switch {
			case e.To == state.StateArchived && (e.Stored == nil || *e.Stored != record.JournalStored{MediaKey: v.MediaKey, Size: v.Size, SHA256: v.SHA256, ManifestKey: v.ManifestKey, ManifestSHA256: v.ManifestSHA256, Suspect: v.Suspect, Unproved: v.Unproved}):
				t.Errorf("%s was archived as %+v, the journal says %+v", e.Recording, v, e.Stored)
			case e.To == state.StateDeleteRequested && !strings.Contains(e.Why, "complete walk"):
				t.Errorf("the deletion of %s was checked by %q", e.Recording, e.Why)
			case e.Recording == "lost" && (e.Why == "" || e.Listed == nil || e.Listed.Name != "<lost>"):
				t.Errorf("of the lost recording the journal says %q, %+v", e.Why, e.Listed)
			}
		}
	}
	if p := objects[0].Pass; p.Summary == nil || *p.Summary != 4 || p.Total == nil || *p.Total != 4 || p.Listed != 4 || p.Archived != 3 {
		t.Errorf("the first pass is told as %+v", p)
	}
	for _, key := range r.objects("journal") {
		o, err := r.store().Head(t.Context(), key, "")
		if err != nil || o.Retention.Mode != "GOVERNANCE" || o.Retention.Until.Before(time.Now().AddDate(6, 11, 0)) {
			t.Errorf("%s is locked %+v, %v", key, o.Retention, err)
		}
	}
}

// A pass that changes nothing writes the first object of a day, and no other.
func TestJournalOnceADay(t *testing.T) {
	t.Parallel()
	r := newRig(t, &echoing, false)
	r.passed()
	r.passed()
	if got := r.objects("journal"); len(got) != 1 {
		t.Errorf("two passes of a day wrote %q", got)
	}
	p := r.archiver().newPass(t.Context(), r.in)
	p.record.Start = p.record.Start.Add(24 * time.Hour)
	p.end(nil)
	for range 2 {
		if err := p.keepJournal(t.Context()); err != nil || len(r.objects("journal")) != 1 {
			t.Errorf("an inbox that could not be listed: %v, %q", err, r.objects("journal"))
		}
	}
	p.claimed = true
	for range 2 {
		if err := p.keepJournal(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.objects("journal"); len(got) != 2 {
		t.Errorf("with a pass of the next day there are %q", got)
	}
	r.wantJournal()
}

// More events than one object may hold go into several.
func TestJournalIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, &echoing, false)
	const n = 7
	var want []string
	err := r.ledger.List(t.Context(), org, r.in.ID, func(func(string) (state.Entry, bool)) (all []state.Change) {
		for i := range n {
			id := fmt.Sprintf("rec-%05d", i)
			all = append(all, state.Change{Recording: id, To: state.StateListed},
				state.Change{Recording: id, From: state.StateListed, To: state.StateFailed, Edit: func(e *state.Entry) { e.LastError = "x" }})
			want = append(want, id+" listed→failed")
		}
		return all
	})
	if err != nil {
		t.Fatal(err)
	}
	a := r.archiver()
	a.batch = 3
	p := a.newPass(t.Context(), r.in)
	p.end(nil)
	if err := p.keepJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if objects := r.wantJournal(want...); len(objects) != 3 {
		t.Errorf("%d events are in %d objects", n, len(objects))
	}
}

// A long pass writes its journal as it goes, and what can't be written then, at its end.
func TestLongPassKeepsUp(t *testing.T) {
	t.Parallel()
	for _, down := range []bool{false, true} {
		r := newRig(t, &checking, false)
		r.options.Workers = 1
		r.add(40)
		a := r.archiver()
		a.batch = 4
		refused := 0
		if down {
			r.wire.use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if name == "PUT journal" && refused < 5 {
					refused++
					return refuse(req), nil
				}
				return send()
			})
		}
		report := a.Run(t.Context(), t.Context(), []Inbox{r.in}).Inboxes[0]
		r.wire.use(nil)
		if report.Err != nil || report.Pass.Archived != 40 {
			t.Errorf("the pass: %+v", report)
		}
		objects, faults := r.journal()
		early := 0
		for _, j := range objects {
			if j.Pass.Archived < 40 {
				early++
			}
		}
		if len(faults) > 0 || len(changes(objects)) != 40 || early == 0 {
			t.Errorf("%d of %d objects before the end tell %q, faults %+v", early, len(objects), changes(objects), faults)
		}
	}
}

// A journal that can't be written holds nothing up but itself, and is made up for.
func TestJournalDown(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.add(1)
	r.passed()
	r.wire.use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if strings.HasSuffix(name, " journal") {
			return answer(req, http.StatusServiceUnavailable, ""), nil
		}
		return send()
	})
	report := r.pass(deleting)
	r.wire.use(nil)
	wantErr(t, report.Err, failure.KindTemporary, "write the journal")
	if report.Pass.DeleteRequested != 1 {
		t.Errorf("the deletion waited for the journal: %+v", report.Pass)
	}
	r.wantState("rec-01", state.StateDeleteRequested)
	r.passed(deleting)
	r.wantJournal("rec-01 listed→archived", "rec-01 archived→delete_requested", "rec-01 delete_requested→deleted")
}

// A ledger that comes back from an old backup goes on at the chain's end.
func TestJournalAfterAnOldBackup(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.add(1)
	r.passed()
	var backup bytes.Buffer
	if err := r.ledger.Copy(&backup); err != nil {
		t.Fatal(err)
	}
	r.user.Add(genesystest.Recording{ID: "rec-02", Duration: 100 * time.Millisecond})
	r.passed()
	r.closeLedger()
	if err := os.WriteFile(r.path, backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r.openLedger()
	downloads := len(r.requests(opLink))
	r.passed()
	if n := len(r.requests(opLink)); n != downloads {
		t.Errorf("%d downloads more", n-downloads)
	}
	r.wantJournal("rec-01 listed→archived", "rec-02 listed→archived", "rec-02 listed→archived") // by the lost ledger, and adopted by this one
}

// Whatever is done to a journal's objects is found.
func TestBrokenJournals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(r *rig, keys []string)
		want    func(keys []string) []record.JournalFault
	}{
		"first taken out": {
			func(r *rig, keys []string) { r.remove(keys[0]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalMissing, Key: keys[0]}}
			},
		},
		"middle taken out": {
			func(r *rig, keys []string) { r.remove(keys[1]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalMissing, Key: keys[1]}}
			},
		},
		"newest taken out": {
			func(r *rig, keys []string) { r.remove(keys[2]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalMissing, Key: keys[2]}}
			},
		},
		"altered": {
			func(r *rig, keys []string) {
				r.overwrite(keys[1], bytes.Replace(r.read(keys[1]), []byte("rec-02"), []byte("rec-09"), 1))
			},
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalAltered, Key: keys[1]}}
			},
		},
		"newest altered": {
			func(r *rig, keys []string) {
				r.overwrite(keys[2], bytes.Replace(r.read(keys[2]), []byte("rec-03"), []byte("rec-09"), 1))
			},
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalAltered, Key: keys[2]}}
			},
		},
		"torn": {
			func(r *rig, keys []string) { r.overwrite(keys[1], r.read(keys[1])[:100]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalAltered, Key: keys[1]}}
			},
		},
		"forked": {
			func(r *rig, keys []string) { r.overwrite(later(keys[2]), r.read(keys[2])) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalForked, Key: later(keys[2])}}
			},
		},
		"begun again": {
			func(r *rig, keys []string) { r.overwrite(later(keys[2]), r.read(keys[0])) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalForked, Key: later(keys[2])}}
			},
		},
		"foreign": {
			func(r *rig, keys []string) { r.overwrite(keys[1]+".txt", []byte("hello")) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalForeign, Key: keys[1] + ".txt"}}
			},
		},
		"another inbox's": {
			func(r *rig, keys []string) {
				r.overwrite(later(keys[2]), bytes.Replace(r.read(keys[2]), []byte(user), []byte("another"), 1))
			},
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.JournalForeign, Key: later(keys[2])}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, false)
			for n := range 3 {
				r.user.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n+1), Duration: 100 * time.Millisecond})
				r.passed()
			}
			keys := r.objects("journal")
			if len(keys) != 3 {
				t.Fatalf("three passes wrote %q", keys)
			}
			c.breakIt(r, keys)
			_, faults := r.journal0()
			for i, f := range faults {
				if f.Detail == "" || (f.SHA256 == "") != (f.Kind == record.JournalMissing) {
					t.Errorf("%+v says nothing", f)
				}
				faults[i].Detail, faults[i].SHA256 = "", ""
			}
			if !slices.Equal(faults, c.want(keys)) {
				t.Errorf("found %+v, want %+v", faults, c.want(keys))
			}
			r.wantAcceptance(faults[0].Key)
		})
	}
}

// wantAcceptance has a person accept the one fault of a journal, and insists that just
// this one is accepted, for ever, and told.
func (r *rig) wantAcceptance(key string) {
	r.t.Helper()
	before := len(r.objects("journal"))
	for _, want := range [][]string{{key}, nil} {
		faults, err := r.archiver().AcceptJournal(r.t.Context(), org, r.in.ID)
		if err != nil {
			r.t.Fatal(err)
		}
		wantSame(r.t, "accepted", faultKeys(faults), want)
	}
	r.user.Add(genesystest.Recording{ID: "rec-04", Duration: 100 * time.Millisecond})
	if report := r.passed(); len(report.Foreign)+len(report.Corrupt) > 0 {
		r.t.Errorf("a pass reports what was accepted: %q, %q", report.Foreign, report.Corrupt)
	}
	if n := len(r.objects("journal")); n != before+1 {
		r.t.Errorf("%d journal objects, want one more than %d", n, before)
	}
	r.wantFaults(nil, []string{key})
	newest, told := "", []string(nil)
	for _, o := range r.objects("journal") {
		j, err := record.DecodeJournal(r.read(o))
		if err != nil {
			continue
		}
		for _, e := range j.Events {
			if e.Accepted != nil {
				newest, told = o, append(told, e.Accepted.Key)
			}
		}
	}
	wantSame(r.t, "told as accepted", told, []string{key})
	r.overwrite(newest, append(r.read(newest), ' '))
	r.wantFaults([]string{newest}, []string{key})
}

// wantFaults reconciles, and wants these objects of the journal to be faults, and
// those to be accepted.
func (r *rig) wantFaults(faults, accepted []string) {
	r.t.Helper()
	got, err := r.archiver().Reconcile(r.t.Context(), r.in, nil, Span{}, deaf{})
	if err != nil {
		r.t.Fatal(err)
	}
	wantSame(r.t, "faults", faultKeys(got.Journal.Faults), faults)
	wantSame(r.t, "accepted faults", faultKeys(got.Journal.Accepted), accepted)
	if got.Clean() != (len(faults) == 0) {
		r.t.Errorf("clean: %v, with the faults %q", got.Clean(), faults)
	}
}

func faultKeys(faults []record.JournalFault) (keys []string) {
	for _, f := range faults {
		keys = append(keys, f.Key)
	}
	return keys
}

// deaf hears of everything and keeps nothing.
type deaf struct{}

func (deaf) Recording(Reconciled) error { return nil }
func (deaf) Object(Stray) error         { return nil }

// A fault is accepted as it stood: the same object altered once more, or another one in
// the place of a missing one, is a fault again. A ledger that was made from the archive
// has accepted nothing.
func TestAcceptedFaultThatChangesIsOneAgain(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(r *rig, key string){
		"altered": func(r *rig, key string) { r.overwrite(key, append(r.read(key), ' ')) },
		"torn":    func(r *rig, key string) { r.overwrite(key, r.read(key)[:100]) },
		"missing": func(r *rig, key string) { r.remove(key) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, &checking, false)
			for n := range 3 {
				r.user.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n+1), Duration: 100 * time.Millisecond})
				r.passed()
			}
			key := r.objects("journal")[1]
			breakIt(r, key)
			accept := func() {
				t.Helper()
				if _, err := r.archiver().AcceptJournal(t.Context(), org, r.in.ID); err != nil {
					t.Fatal(err)
				}
				r.wantFaults(nil, []string{key})
			}
			r.wantFaults([]string{key}, nil)
			accept()
			r.overwrite(key, []byte("another"))
			r.wantFaults([]string{key}, nil)
			accept()
			r.passed() // tells it
			r.rebuilt()
			r.login(r.user)
			r.wantFaults([]string{key}, nil)
			accept()
		})
	}
}

// A lock of the journal is held to what the store showed of it when the object was
// added, whatever is configured now.
func TestJournalLocksAreAsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, true)
	year := func(n int) func(*Options) {
		return func(o *Options) {
			o.Retention.Until = func(from time.Time) time.Time { return from.AddDate(n, 0, 0) }
		}
	}
	unlocked := func(o *Options) { o.Retention.Mode = "" }
	for n, retention := range []func(*Options){unlocked, year(1), year(7), unlocked, year(7)} {
		r.user.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n), Duration: 100 * time.Millisecond})
		r.passed(retention)
	}
	r.options.Retention.Mode = ""
	keys := r.objects("journal")
	if _, faults := r.journal(); len(keys) != 5 || len(faults) != 0 {
		t.Fatalf("journal %q, faults %+v", keys, faults)
	}
	r.retain(keys[1], time.Now().AddDate(9, 0, 0))
	if _, faults := r.journal(); len(faults) != 0 {
		t.Errorf("a longer lock: %+v", faults)
	}
	var want []record.JournalFault
	for _, key := range []string{keys[1], keys[2], keys[4]} { // the newest is told of by the ledger alone
		r.retain(key, time.Now().AddDate(0, 1, 0))
		want = append(want, record.JournalFault{Kind: record.JournalLock, Key: key})
		_, faults := r.journal()
		for i := range faults {
			if !strings.Contains(faults[i].Detail, "the store shows GOVERNANCE until ") {
				t.Errorf("%+v says nothing", faults[i])
			}
			faults[i].Detail, faults[i].SHA256 = "", ""
		}
		if !slices.Equal(faults, want) {
			t.Errorf("found %+v, want %+v", faults, want)
		}
	}
	if accepted, err := r.archiver().AcceptJournal(t.Context(), org, r.in.ID); err != nil || len(accepted) != 0 {
		t.Errorf("locks can be mended, and were accepted: %+v, %v", accepted, err)
	}
}

// That another fault of the newest object was accepted hides none of its lock.
func TestLockOfAcceptedHead(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, true)
	for n := range 3 {
		r.user.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n), Duration: 100 * time.Millisecond})
		r.passed()
	}
	keys := r.objects("journal")
	start, _ := record.JournalStart(keys[1])
	fork := strings.Replace(keys[1], start.Format(record.JournalTime), start.Add(1).Format(record.JournalTime), 1) // it and the newest follow what others do
	r.overwrite(fork, r.read(keys[1]))
	accepted, err := r.archiver().AcceptJournal(t.Context(), org, r.in.ID)
	wantSame(t, "accepted", faultKeys(accepted), []string{fork, keys[2]})
	if err != nil {
		t.Fatal(err)
	}
	r.wantFaults(nil, []string{fork, keys[2]})
	r.retain(keys[2], time.Now().AddDate(0, 1, 0))
	r.wantFaults([]string{keys[2]}, []string{fork, keys[2]})
}

// retain sets a lock's end, also to an earlier one.
func (r *rig) retain(key string, until time.Time) {
	r.t.Helper()
	_, err := r.server.Client().PutObjectRetention(r.t.Context(), &s3.PutObjectRetentionInput{
		Bucket: &r.bucket, Key: &key, BypassGovernanceRetention: aws.Bool(true),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until},
	})
	if err != nil {
		r.t.Fatal(err)
	}
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
			r := newRig(t, &checking, true)
			r.wire.use(func(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
				if name == "HEAD journal" {
					return refuse(req), nil
				}
				return send()
			})
			if err := r.pass(c.before).Err; err == nil || !strings.Contains(err.Error(), "write the journal") {
				t.Fatalf("the interrupted pass: %v", err)
			}
			r.wire.use(nil)
			r.add(1)
			r.passed()
			keys := r.objects("journal")
			o, err := r.store().Head(t.Context(), keys[0], "")
			if err != nil || len(keys) != 2 || o.Retention.Mode != "GOVERNANCE" || time.Until(o.Retention.Until.AddDate(-c.years, 0, 0)).Abs() > time.Hour {
				t.Errorf("of %q the first is locked %+v, %v", keys, o.Retention, err)
			}
			if objects := r.wantJournal("rec-01 listed→archived"); storage.Retention(objects[1].Previous.Retention) != o.Retention {
				t.Errorf("the next object tells of the lock %+v", objects[1].Previous.Retention)
			}
		})
	}
}

// A pass that finds something wrong at the journal's end says so, and goes on.
func TestPassReportsABrokenJournal(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	r.passed()
	keys := r.objects("journal")
	foreign := later(keys[0])
	r.overwrite(foreign, []byte("hello"))
	r.add(1)
	report := r.passed()
	wantSame(t, "foreign objects", report.Foreign, []string{foreign})
	if _, faults := r.journal(); len(faults) != 1 || faults[0].Kind != record.JournalForeign {
		t.Errorf("the chain is %+v", faults)
	}
	if got := r.objects("journal"); len(got) != 3 {
		t.Errorf("the journal is %q", got)
	}
}

// journal0 reads the journal without holding it to its schema.
func (r *rig) journal0() (all []*record.Journal, faults []record.JournalFault) {
	r.t.Helper()
	in, err := r.ledger.Inbox(context.Background(), org, r.in.ID)
	if err != nil {
		r.t.Fatal(err)
	}
	faults, err = record.Chain{Bucket: r.store(), Keys: record.Keys{Prefix: "genesys", Org: org, Inbox: r.in.ID}}.Walk(r.t.Context(), in.Journal, func(_ state.JournalHead, j *record.Journal) error {
		all = append(all, j)
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all, faults
}

// later is the key of a journal object of an hour later.
func later(key string) string {
	t, _ := record.JournalStart(key)
	return strings.Replace(key, t.Format(record.JournalTime), t.Add(time.Hour).Format(record.JournalTime), 1)
}

func (r *rig) remove(key string) {
	r.t.Helper()
	if _, err := r.server.Client().DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &r.bucket, Key: &key}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) overwrite(key string, text []byte) {
	r.t.Helper()
	_, err := r.server.Client().PutObject(context.Background(), &s3.PutObjectInput{
		Bucket: &r.bucket, Key: &key, Body: bytes.NewReader(text), ContentLength: aws.Int64(int64(len(text))),
	})
	if err != nil {
		r.t.Fatal(err)
	}
}
