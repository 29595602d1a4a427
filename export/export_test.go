package export

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/archiver/archivertest/passes"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"github.com/archiverd/archiverd/tally"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

type rig struct{ *passes.Rig }

// newRig has an archive of n recordings, and what edit adds to the inbox.
func newRig(t *testing.T, n int, edit ...func(*rig)) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{passes.New(t, archivertest.Checking, false)}
	r.Options.MinAge = 0
	r.Add(n)
	for _, f := range edit {
		f(r)
	}
	r.Passed()
	return r
}

func (r *rig) options(s state.Selection) Options {
	return Options{
		Bucket: r.Store(), Prefix: "genesys", Workers: 1, Selection: fmt.Sprintf("%+v", s), Source: "a test", By: "ann",
		At: time.Date(2026, 11, 28, 5, 0, 0, 0, time.UTC), Version: "test", Log: r.Log, Tally: &tally.Tally{},
		Search: func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
			return r.Ledger.Search(ctx, state.Query{Selection: s}, f)
		},
	}
}

func (r *rig) export(s state.Selection, to Destination) (*Result, error) {
	return Run(context.Background(), r.options(s), to)
}

// do does an act on a recording, and then perhaps moves it to another state.
func (r *rig) do(id string, kind state.ActKind, to state.State) {
	r.T.Helper()
	from := r.Entry(id).State
	act := statetest.Act(kind).Do
	if kind == state.ActWaive {
		if _, err := r.Ledger.Move(r.T.Context(), r.Key(id), from, to, act); err != nil {
			r.T.Fatal(err)
		}
		return
	}
	_, err := r.Ledger.Move(r.T.Context(), r.Key(id), from, from, act)
	if err == nil && to != from {
		_, err = r.Ledger.Move(r.T.Context(), r.Key(id), from, to, nil)
	}
	if err != nil {
		r.T.Fatal(err)
	}
}

// files reads a folder: what is in it, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// wantSums wants SHA256SUMS to name every other file, and rightly.
func wantSums(t *testing.T, all map[string]string) {
	t.Helper()
	var want []string
	for name, text := range all {
		if name != sumsName {
			sum := sha256.Sum256([]byte(text))
			want = append(want, hex.EncodeToString(sum[:])+"  "+name+"\n")
		}
	}
	have := slices.Collect(strings.Lines(all[sumsName]))
	slices.Sort(want)
	slices.Sort(have)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("SHA256SUMS: %s", diff)
	}
}

// The media of a recording that a case holds are in the export of the case, and no others.
func TestCase(t *testing.T) {
	r := newRig(t, 3)
	r.do("rec-02", state.ActHold, state.StateArchived)
	dir := t.TempDir()
	got, err := r.export(state.Selection{Case: "case-1"}, NewFolder(dir))
	if err != nil || got.Selected != 1 || got.Exported != 1 || got.Files != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	all := files(t, dir)
	wantSums(t, all)
	folder := "recordings/acme/" + archivertest.UserID + "/rec-02/"
	if all[folder+"1.wav"] != string(r.Read(r.Entry("rec-02").Versions[0].MediaKey)) || len(all) != 8 {
		t.Errorf("the files are %q", slices.Sorted(maps.Keys(all)))
	}
	if !strings.Contains(all["index.html"], "held by case-1") || !strings.Contains(all["index.csv"], ",case-1,") {
		t.Errorf("the case is not named: %s", all["index.csv"])
	}
}

// What the archive does not have is told with its reason, and none of what was erased is
// in the export.
func TestNotArchived(t *testing.T) {
	r := newRig(t, 3, func(r *rig) {
		for _, id := range []string{"waived", "failed", "vanished"} {
			r.User.Add(genesystest.Recording{ID: id, Duration: 100 * time.Millisecond})
			r.Cloud.Inject(genesystest.Fault{Op: archivertest.OpLink, Recording: id, Times: genesystest.Always, Effect: genesystest.HTML(200)})
		}
	})
	r.do("rec-01", state.ActErase, state.StateErased)
	r.do("rec-02", state.ActExpire, state.StateExpired)
	r.do("rec-03", state.ActErase, state.StateArchived) // the removal is under way
	r.do("waived", state.ActWaive, state.StateWaived)
	r.User.Remove("vanished")
	r.Passed()
	r.Passed()
	dir := t.TempDir()
	got, err := r.export(state.Selection{All: true}, NewFolder(dir))
	if err != nil || got.Selected != 6 || got.Lacking != 6 || got.Files != 0 || got.Damaged != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	all := files(t, dir)
	wantSums(t, all)
	rows, err := csv.NewReader(strings.NewReader(all["index.csv"])).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, row := range rows[1:] {
		have[row[0]] = row[len(row)-1]
	}
	removed := func(of string) string {
		e := r.Entry(of)
		act := e.Disposal()
		return "removed from the archive on " + act.At.Format(time.DateOnly) + ": " + act.Reason
	}
	want := map[string]string{
		"rec-01": removed("rec-01") + " (court order 7)", "rec-02": removed("rec-02"), "rec-03": removed("rec-03") + " (court order 7)",
		"waived": "not archived, and a person accepts that: she asked", "failed": "could not be archived yet: " + r.Entry("failed").LastError,
		"vanished": "deleted in Genesys before it could be archived",
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("reasons: %s", diff)
	}
	for id, why := range want {
		if !strings.Contains(all["statement.txt"], id+": "+why+"\n") {
			t.Errorf("the statement does not say of %s %q: %s", id, why, all["statement.txt"])
		}
	}
}

// power is a Folder that loses power after some steps: nothing works from then on.
type power struct {
	*Folder
	left int
}

var errPower = errors.New("no power")

func (p *power) step() error {
	if p.left--; p.left < 0 {
		return errPower
	}
	return nil
}

func (p *power) create(name string) (file, error) {
	if err := p.step(); err != nil {
		return nil, err
	}
	f, err := p.Folder.create(name)
	return &powered{f, p}, err
}

func (p *power) only(folder string, names ...string) error {
	return errors.Join(p.step(), p.Folder.only(folder, names...))
}

func (p *power) clean() error {
	if err := p.step(); err != nil {
		return err
	}
	return p.Folder.clean()
}

type powered struct {
	file
	p *power
}

func (f *powered) Keep() error {
	if err := f.p.step(); err != nil {
		return err // and the unfinished file stays
	}
	return f.file.Keep()
}

func (f *powered) Drop() error {
	if f.p.left < 0 {
		return errPower
	}
	return f.file.Drop()
}

// An export that loses power at any step has no SHA256SUMS, unless it is whole, and goes on
// to what an undisturbed one gives. In between a recording is erased: it leaves no file.
func TestGoesOnFromAnyStep(t *testing.T) {
	r := newRig(t, 3)
	all := state.Selection{All: true}
	for steps := 0; ; steps++ {
		if steps == 1 {
			r.do("rec-03", state.ActErase, state.StateErased)
		}
		dir := filepath.Join(t.TempDir(), "export")
		o := r.options(all)
		if steps > 0 { // as it was before
			o.Search = func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
				return r.Ledger.Search(ctx, state.Query{Selection: all}, func(k state.Key, e *state.Entry) error {
					e.Acts, e.State, e.Name = nil, state.StateArchived, "call with Ann Smith"
					return f(k, e)
				})
			}
		}
		_, err := Run(context.Background(), o, &power{NewFolder(dir), steps})
		if _, whole := files(t, dir)[sumsName]; whole != (err == nil) {
			t.Fatalf("after %d steps: %v, and SHA256SUMS is there: %t", steps, err, whole)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errPower) {
			t.Fatalf("after %d steps: %v", steps, err)
		}
		if _, err := r.export(state.Selection{IDs: []string{"rec-01"}}, NewFolder(dir)); !errors.Is(err, ErrOccupied) {
			t.Fatalf("after %d steps another export gets %v", steps, err)
		}
		if steps > 0 { // interrupted once more, right at its beginning
			if _, err := Run(context.Background(), r.options(all), &power{NewFolder(dir), 0}); !errors.Is(err, errPower) {
				t.Fatal(err)
			}
			wantNoName(t, files(t, dir))
		}
		if _, err := r.export(all, NewFolder(dir)); err != nil {
			t.Fatalf("after %d steps: %v", steps, err)
		}
		have := files(t, dir)
		wantSums(t, have)
		if steps > 0 {
			wantNoName(t, have)
		}
		if _, left := have["recordings/acme/"+archivertest.UserID+"/rec-03/1.wav"]; left != (steps == 0) {
			t.Fatalf("after %d steps, erased media are in the export: %t", steps, left)
		}
		if _, err := r.export(all, NewFolder(dir)); !errors.Is(err, ErrComplete) {
			t.Fatalf("again: %v", err)
		}
	}
}

// wantNoName wants Ann Smith in no page, table or statement, and in no journal.
func wantNoName(t *testing.T, all map[string]string) {
	t.Helper()
	for name, text := range all {
		if !strings.Contains(name, ".part") && strings.Contains(text, "Ann Smith") {
			t.Errorf("%s names a person of whom all was erased: %s", name, text)
		}
	}
}

// What the journal told of an erased recording while its transfer failed names nobody in the
// export.
func TestErasedNamesNobody(t *testing.T) {
	r := newRig(t, 0, func(r *rig) {
		r.User.Add(genesystest.Recording{ID: "rec", Name: "call with Ann Smith", ConversationID: "Ann Smith's", Duration: 100 * time.Millisecond})
		r.Cloud.Inject(genesystest.Fault{Op: archivertest.OpLink, Times: 1, Effect: genesystest.HTML(200)})
		r.Pass()
	})
	for _, to := range []state.State{state.StateArchived, state.StateErased} { // under way, then done
		if e := r.Entry("rec"); e.Disposal() == nil {
			r.do("rec", state.ActErase, to)
		} else if _, err := r.Ledger.Move(t.Context(), r.Key("rec"), e.State, to, nil); err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if got, err := r.export(state.Selection{All: true}, NewFolder(dir)); err != nil || got.Lacking != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		all := files(t, dir)
		wantSums(t, all)
		wantNoName(t, all)
		if journal := all["recordings/acme/"+archivertest.UserID+"/rec/journal.jsonl"]; !strings.Contains(journal, `"to":"failed"`) {
			t.Errorf("the journal does not tell of the failure: %s", journal)
		}
	}
}

// A zip file appears only whole, and nothing else stays beside it.
func TestZipAppearsWhole(t *testing.T) {
	r := newRig(t, 2)
	dir := t.TempDir()
	path := filepath.Join(dir, "export.zip")
	ctx, cancel := context.WithCancel(t.Context())
	o := r.options(state.Selection{All: true})
	search := o.Search
	o.Search = func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
		return search(ctx, func(k state.Key, e *state.Entry) error { defer cancel(); return f(k, e) })
	}
	if _, err := Run(ctx, o, NewZip(path, o.At)); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if have := files(t, dir); len(have) != 0 {
		t.Errorf("a stopped export left %d files", len(have))
	}
	if _, err := r.export(state.Selection{All: true}, NewZip(path, o.At)); err != nil {
		t.Fatal(err)
	}
	if have := files(t, dir); len(have) != 1 {
		t.Errorf("the folder has %d files", len(have))
	}
	if _, err := r.export(state.Selection{All: true}, NewZip(path, o.At)); !errors.Is(err, ErrOccupied) {
		t.Errorf("over another file: %v", err)
	}
}

// Media of which it is not sure that they are whole are in the export, with the doubt.
func TestDoubtIsTold(t *testing.T) {
	r := newRig(t, 0, func(r *rig) {
		r.User.Add(genesystest.Recording{ID: "short", Duration: 10 * time.Second, MediaDuration: 100 * time.Millisecond})
	})
	r.Passed()
	r.Passed()
	dir := t.TempDir()
	if got, err := r.export(state.Selection{All: true}, NewFolder(dir)); err != nil || got.Exported != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	all := files(t, dir)
	doubt := r.Entry("short").Versions[0].Suspect
	if doubt == "" || !strings.Contains(all["index.html"], "Perhaps not whole: "+doubt) || !strings.Contains(all["index.csv"], doubt) {
		t.Errorf("the doubt %q is not told: %s", doubt, all["index.csv"])
	}
}
