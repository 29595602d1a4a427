package durable

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var errPower = errors.New("no power")

// disk does the steps of a move on a real directory, until it loses power.
type disk struct {
	steps []string // done
	last  int      // how many steps it does
}

func (d *disk) do(step string, f func() error) error {
	if len(d.steps) == d.last {
		return errPower
	}
	d.steps = append(d.steps, step)
	return f()
}

func (d *disk) rename(from, path string) error {
	return d.do("move to "+filepath.Base(path), func() error { return os.Rename(from, path) })
}

func (d *disk) sync(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	step := "sync " + filepath.Base(path)
	if info.IsDir() {
		step = "sync directory"
	}
	return d.do(step, func() error { return Sync(path) })
}

func TestAMoveLosesNothingAtAnyStep(t *testing.T) {
	order := []string{"sync new", "move to file", "sync directory"}
	for last, want := range []map[string]string{
		{"file": "old", "new": "whole"},
		{"file": "old", "new": "whole"},
		{"file": "whole"}, // but a loss of power may bring "old" back
		{"file": "whole"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "file"), "old")
		write(t, filepath.Join(dir, "new"), "whole")
		d := &disk{last: last}
		err := move(filepath.Join(dir, "new"), filepath.Join(dir, "file"), d.rename, d.sync)
		if crashed := last < len(order); crashed != errors.Is(err, errPower) {
			t.Errorf("%d steps: %v", last, err)
		}
		if !slices.Equal(d.steps, order[:last]) {
			t.Errorf("did %q, want %q", d.steps, order[:last])
		}
		expect(t, dir, want)
	}
}

func TestKeepReplacesAndDropLeavesNoTrace(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		text string
		end  func(*File) error
		want map[string]string
	}{
		{"1", (*File).Drop, nil},
		{"2", (*File).Keep, map[string]string{"file": "2"}},
		{"3", (*File).Drop, map[string]string{"file": "2"}},
		{"4", (*File).Keep, map[string]string{"file": "4"}},
	} {
		f, err := Create(filepath.Join(dir, "file"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(c.text); err != nil {
			t.Fatal(err)
		}
		if err := c.end(f); err != nil {
			t.Error(err)
		}
		expect(t, dir, c.want)
	}
}

func TestAFailedKeepLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.Mkdir(path, 0o700); err != nil { // a rename can't replace a directory
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Keep(); err == nil {
		t.Error("kept in the place of a directory")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v are there; want the directory alone", entries, err)
	}
}

func TestPlaceReplacesNothing(t *testing.T) {
	dir := t.TempDir()
	from, path := filepath.Join(dir, "new"), filepath.Join(dir, "file")
	write(t, from, "whole")
	write(t, path, "somebody's")
	if err := Place(from, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v, want that the file exists", err)
	}
	expect(t, dir, map[string]string{"file": "somebody's", "new": "whole"})
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := Place(from, path); err != nil {
		t.Error(err)
	}
	expect(t, dir, map[string]string{"file": "whole"})
}

func TestCreateNamesTheFileThatItCannotMake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "file")
	if _, err := Create(path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// expect compares the files of a directory, by name, with their texts.
func expect(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		have[e.Name()] = string(text)
	}
	if !maps.Equal(have, want) {
		t.Errorf("the directory holds %q, want %q", have, want)
	}
}
