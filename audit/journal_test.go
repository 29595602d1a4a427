package audit

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
)

// Whatever is done to a journal's objects is found.
func TestBrokenJournals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breakIt func(r *rig, keys []string)
		want    func(keys []string) []record.JournalFault
	}{
		"first taken out": {
			func(r *rig, keys []string) { r.Remove(keys[0]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultMissing, Key: keys[0]}}
			},
		},
		"middle taken out": {
			func(r *rig, keys []string) { r.Remove(keys[1]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultMissing, Key: keys[1]}}
			},
		},
		"newest taken out": {
			func(r *rig, keys []string) { r.Remove(keys[2]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultMissing, Key: keys[2]}}
			},
		},
		"altered": {
			func(r *rig, keys []string) {
				r.Overwrite(keys[1], bytes.Replace(r.Read(keys[1]), []byte("rec-02"), []byte("rec-09"), 1))
			},
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultAltered, Key: keys[1]}}
			},
		},
		"newest altered": {
			func(r *rig, keys []string) {
				r.Overwrite(keys[2], bytes.Replace(r.Read(keys[2]), []byte("rec-03"), []byte("rec-09"), 1))
			},
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultAltered, Key: keys[2]}}
			},
		},
		"torn": {
			func(r *rig, keys []string) { r.Overwrite(keys[1], r.Read(keys[1])[:100]) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultAltered, Key: keys[1]}}
			},
		},
		"forked": {
			func(r *rig, keys []string) { r.Overwrite(archivertest.Later(keys[2]), r.Read(keys[2])) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultForked, Key: archivertest.Later(keys[2])}}
			},
		},
		"begun again": {
			func(r *rig, keys []string) { r.Overwrite(archivertest.Later(keys[2]), r.Read(keys[0])) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultForked, Key: archivertest.Later(keys[2])}}
			},
		},
		"foreign": {
			func(r *rig, keys []string) { r.Overwrite(keys[1]+".txt", []byte("hello")) },
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultForeign, Key: keys[1] + ".txt"}}
			},
		},
		"another inbox's": {
			func(r *rig, keys []string) {
				r.Overwrite(archivertest.Later(keys[2]), bytes.Replace(r.Read(keys[2]), []byte(user), []byte("another"), 1))
			},
			func(keys []string) []record.JournalFault {
				return []record.JournalFault{{Kind: record.FaultForeign, Key: archivertest.Later(keys[2])}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, false)
			for n := range 3 {
				r.User.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n+1), Duration: 100 * time.Millisecond})
				r.Passed()
			}
			keys := r.Objects("journal")
			if len(keys) != 3 {
				t.Fatalf("three passes wrote %q", keys)
			}
			c.breakIt(r, keys)
			_, faults := r.Journal0()
			for i, f := range faults {
				if f.Detail == "" || (f.SHA256 == "") != (f.Kind == record.FaultMissing) {
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
	r.T.Helper()
	before := len(r.Objects("journal"))
	for _, want := range [][]string{{key}, nil} {
		faults, err := r.accept()
		if err != nil {
			r.T.Fatal(err)
		}
		archivertest.WantSame(r.T, "accepted", faultKeys(faults), want)
	}
	r.User.Add(genesystest.Recording{ID: "rec-04", Duration: 100 * time.Millisecond})
	if report := r.Passed(); len(report.Foreign)+len(report.Corrupt) > 0 {
		r.T.Errorf("a pass reports what was accepted: %q, %q", report.Foreign, report.Corrupt)
	}
	if n := len(r.Objects("journal")); n != before+1 {
		r.T.Errorf("%d journal objects, want one more than %d", n, before)
	}
	r.wantFaults(nil, []string{key})
	newest, told := "", []string(nil)
	for _, o := range r.Objects("journal") {
		j, err := record.DecodeJournal(r.Read(o))
		if err != nil {
			continue
		}
		for _, e := range j.Events {
			if e.Accepted != nil {
				newest, told = o, append(told, e.Accepted.Key)
			}
		}
	}
	archivertest.WantSame(r.T, "told as accepted", told, []string{key})
	r.Overwrite(newest, append(r.Read(newest), ' '))
	r.wantFaults([]string{newest}, []string{key})
}

// wantFaults reconciles, and wants these objects of the journal to be faults, and
// those to be accepted.
func (r *rig) wantFaults(faults, accepted []string) {
	r.T.Helper()
	got, err := r.auditor().Reconcile(r.T.Context(), r.In.Listed(), nil, Span{}, deaf{})
	if err != nil {
		r.T.Fatal(err)
	}
	archivertest.WantSame(r.T, "faults", faultKeys(got.Journal.Faults), faults)
	archivertest.WantSame(r.T, "accepted faults", faultKeys(got.Journal.Accepted), accepted)
	if got.Clean() != (len(faults) == 0) {
		r.T.Errorf("clean: %v, with the faults %q", got.Clean(), faults)
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

func (deaf) Object(Unnamed) error { return nil }

// A fault is accepted as it stood: the same object altered once more, or another one in
// the place of a missing one, is a fault again. A ledger that was made from the archive
// has accepted nothing.
func TestAcceptedFaultThatChangesIsOneAgain(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(r *rig, key string){
		"altered": func(r *rig, key string) { r.Overwrite(key, append(r.Read(key), ' ')) },
		"torn":    func(r *rig, key string) { r.Overwrite(key, r.Read(key)[:100]) },
		"missing": func(r *rig, key string) { r.Remove(key) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, false)
			for n := range 3 {
				r.User.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n+1), Duration: 100 * time.Millisecond})
				r.Passed()
			}
			key := r.Objects("journal")[1]
			breakIt(r, key)
			accept := func() {
				t.Helper()
				if _, err := r.accept(); err != nil {
					t.Fatal(err)
				}
				r.wantFaults(nil, []string{key})
			}
			r.wantFaults([]string{key}, nil)
			accept()
			r.Overwrite(key, []byte("another"))
			r.wantFaults([]string{key}, nil)
			accept()
			r.Passed() // tells it
			r.rebuilt()
			r.Login(r.User)
			r.wantFaults([]string{key}, nil)
			accept()
		})
	}
}

// A lock of the journal is held to what the store showed of it when the object was
// added, whatever is configured now.
func TestJournalLocksAreAsRecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	year := func(n int) func(*archiver.Options) {
		return func(o *archiver.Options) {
			o.Retention.Until = func(from time.Time) time.Time { return from.AddDate(n, 0, 0) }
		}
	}
	unlocked := func(o *archiver.Options) { o.Retention.Mode = "" }
	for n, retention := range []func(*archiver.Options){unlocked, year(1), year(7), unlocked, year(7)} {
		r.User.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n), Duration: 100 * time.Millisecond})
		r.Passed(retention)
	}
	r.Options.Retention.Mode = ""
	keys := r.Objects("journal")
	if _, faults := r.Journal(); len(keys) != 5 || len(faults) != 0 {
		t.Fatalf("journal %q, faults %+v", keys, faults)
	}
	r.Retain(keys[1], time.Now().AddDate(9, 0, 0))
	if _, faults := r.Journal(); len(faults) != 0 {
		t.Errorf("a longer lock: %+v", faults)
	}
	var want []record.JournalFault
	for _, key := range []string{keys[1], keys[2], keys[4]} { // the newest is told of by the ledger alone
		r.Retain(key, time.Now().AddDate(0, 1, 0))
		want = append(want, record.JournalFault{Kind: record.FaultLock, Key: key})
		_, faults := r.Journal()
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
	if accepted, err := r.accept(); err != nil || len(accepted) != 0 {
		t.Errorf("locks can be repaired, and were accepted: %+v, %v", accepted, err)
	}
}

// That another fault of the newest object was accepted hides none of its lock.
func TestLockOfAcceptedHead(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, true)
	for n := range 3 {
		r.User.Add(genesystest.Recording{ID: fmt.Sprintf("rec-%02d", n), Duration: 100 * time.Millisecond})
		r.Passed()
	}
	keys := r.Objects("journal")
	start, _ := record.JournalStart(keys[1])
	fork := strings.Replace(keys[1], start.Format(record.JournalTime), start.Add(1).Format(record.JournalTime), 1) // it and the newest follow what others do
	r.Overwrite(fork, r.Read(keys[1]))
	accepted, err := r.accept()
	archivertest.WantSame(t, "accepted", faultKeys(accepted), []string{fork, keys[2]})
	if err != nil {
		t.Fatal(err)
	}
	r.wantFaults(nil, []string{fork, keys[2]})
	r.Retain(keys[2], time.Now().AddDate(0, 1, 0))
	r.wantFaults([]string{keys[2]}, []string{fork, keys[2]})
}
