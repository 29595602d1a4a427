package export

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/archiverd/archiverd/durable"
)

// ErrOccupied says that the destination holds something else than this export.
var ErrOccupied = errors.New("it is not empty, and not an interrupted export of the same selection")

// ErrComplete says that the destination holds this export already, complete.
var ErrComplete = errors.New("it holds this export already, complete")

const (
	pageName      = "index.html"
	tableName     = "index.csv"
	statementName = "statement.txt"
	selectionName = "selection.txt"
	sumsName      = "SHA256SUMS"
)

// unfinished is the name of a file that an attempt was writing when it was killed.
var unfinished = regexp.MustCompile(`\.part[0-9]+$`)

// Destination is where the files of an export go: a Folder or a Zip. create may be called
// by several goroutines, and several files may be open. Names are slash-separated and
// relative.
type Destination interface {
	// begin makes the destination ready for the export of a selection.
	begin(selection string) error
	// has reports whether the file is there with this SHA-256 in hex, and its size.
	has(name, sha256 string) (size int64, ok bool, err error)
	create(name string) (file, error)
	// only removes what an earlier attempt left in a folder, except the named files.
	only(folder string, names ...string) error
	// clean removes the recordings of an earlier attempt for whose folder only was not called.
	clean() error
	// end completes the destination, or leaves it after an error.
	end(complete bool) error
}

// file appears under its name after Keep, whole. End it with exactly one call of Keep or
// Drop.
type file interface {
	io.Writer
	Keep() error
	Drop() error
}

// Folder is a Destination below one directory.
type Folder struct {
	path   string
	kept   map[string]bool // folders of exported recordings; nil: no attempt was made before
	making sync.Mutex
}

// NewFolder returns the Destination at a path, which need not exist.
func NewFolder(path string) *Folder { return &Folder{path: path} }

func (d *Folder) at(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

func (d *Folder) begin(selection string) error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	there, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	// A kill right after the folder was made may have left selection.txt unfinished, alone.
	if len(there) == 1 && strings.HasPrefix(there[0].Name(), selectionName) && unfinished.MatchString(there[0].Name()) {
		if err := os.Remove(d.at(there[0].Name())); err != nil {
			return err
		}
		there = nil
	}
	if len(there) == 0 {
		f, err := d.create(selectionName)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(f, selection); err != nil {
			return errors.Join(err, f.Drop())
		}
		return f.Keep()
	}
	text, err := os.ReadFile(d.at(selectionName))
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && string(text) != selection:
		return ErrOccupied
	case err != nil:
		return err
	}
	if _, err := os.Lstat(d.at(sumsName)); err == nil {
		return ErrComplete
	}
	d.kept = map[string]bool{}
	return d.remove(".", func(name string) bool {
		return unfinished.MatchString(name) || name == pageName || name == tableName || name == statementName
	})
}

// remove removes the files below a folder that f names.
func (d *Folder) remove(folder string, f func(name string) bool) error {
	err := filepath.WalkDir(d.at(folder), func(at string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(d.path, at)
		if err == nil && f(filepath.ToSlash(name)) {
			err = os.Remove(at)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) { // the folder, which no attempt came to
		return nil
	}
	return err
}

func (d *Folder) has(name, sum string) (int64, bool, error) {
	if d.kept == nil {
		return 0, false, nil
	}
	f, err := os.Open(d.at(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, err == nil && hex.EncodeToString(h.Sum(nil)) == sum, err
}

func (d *Folder) create(name string) (file, error) {
	at := d.at(name)
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return nil, err
	}
	f, err := durable.Create(at)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *Folder) only(folder string, names ...string) error {
	if d.kept == nil {
		return nil
	}
	there, err := os.ReadDir(d.at(folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[path.Base(n)] = true
	}
	for _, e := range there {
		if !wanted[e.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(d.at(folder), e.Name())))
		}
	}
	d.making.Lock()
	defer d.making.Unlock()
	d.kept[folder] = true
	return err
}

func (d *Folder) clean() error {
	if d.kept == nil {
		return nil
	}
	return d.remove("recordings", func(name string) bool { return !d.kept[path.Dir(name)] })
}

// end leaves what is whole for the next attempt.
func (d *Folder) end(bool) error { return nil }

// Zip is a Destination in one file. Each file passes through a temporary file beside the
// zip file, so that only whole ones get in.
type Zip struct {
	path    string
	at      time.Time
	out     *durable.File
	writing sync.Mutex
	w       *zip.Writer
}

// NewZip returns the Destination in a file, which must not exist. Its files are dated at.
func NewZip(path string, at time.Time) *Zip { return &Zip{path: path, at: at} }

func (z *Zip) begin(selection string) error {
	if _, err := os.Lstat(z.path); err == nil {
		return ErrOccupied
	}
	out, err := durable.Create(z.path)
	if err != nil {
		return err
	}
	z.out, z.w = out, zip.NewWriter(out)
	return z.add(selectionName, strings.NewReader(selection))
}

func (z *Zip) has(string, string) (int64, bool, error) { return 0, false, nil }

func (z *Zip) only(string, ...string) error { return nil }

// create makes a temporary file without a name.
func (z *Zip) create(name string) (file, error) {
	f, err := os.CreateTemp(filepath.Dir(z.path), filepath.Base(z.path)+".part*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &zipped{File: f, zip: z, name: name}, nil
}

func (z *Zip) add(name string, r io.Reader) error {
	z.writing.Lock()
	defer z.writing.Unlock()
	method := zip.Deflate
	if strings.HasPrefix(name, "recordings/") {
		method = zip.Store // media do not get smaller
	}
	w, err := z.w.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: z.at})
	if err == nil {
		_, err = io.Copy(w, r)
	}
	return err
}

func (z *Zip) clean() error { return nil }

func (z *Zip) end(complete bool) error {
	if z.out == nil {
		return nil
	}
	if !complete {
		return z.out.Drop()
	}
	if err := z.w.Close(); err != nil {
		return errors.Join(err, z.out.Drop())
	}
	if err := z.out.Keep(); err != nil {
		return fmt.Errorf("write %s: %w", z.path, err)
	}
	return nil
}

// zipped is a file on its way into a zip file.
type zipped struct {
	*os.File
	zip  *Zip
	name string
}

func (f *zipped) Keep() error {
	_, err := f.Seek(0, io.SeekStart)
	if err == nil {
		err = f.zip.add(f.name, f.File)
	}
	return errors.Join(err, f.Close())
}

func (f *zipped) Drop() error { return f.Close() }
