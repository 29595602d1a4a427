// Package durable puts a file in its place whole, and so that it survives a loss of power.
//
// A file is built under another name in the same directory. Then, in this order:
//
//	sync the file       a crash before the move leaves nothing under the name, or what was there
//	move it             the file is whole from the first moment that the name shows it
//	sync the directory  only from now on is the name sure to survive a loss of power
//
// A crash before the move leaves the file under its other name.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is a file without its name yet. End it with exactly one call of Keep or Drop. It
// is for one goroutine.
type File struct {
	*os.File
	path string
}

// Create makes an empty file, of mode 0600, that Keep puts at path. Until then its name is
// path with ".part" and a random number.
func Create(path string) (*File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &File{f, path}, nil
}

// Keep puts the file at path, durably, in the place of any file there. If Keep fails,
// path holds the earlier file or this one, whole, and this one's temporary name is gone.
func (f *File) Keep() error {
	// A failed write is reported to the descriptor that wrote.
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = Replace(f.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, f.Drop())
	}
	return nil
}

// Drop removes the file.
func (f *File) Drop() error {
	err := f.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	if removeErr := os.Remove(f.Name()); !errors.Is(removeErr, fs.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// Replace moves the complete file at from to path, durably, in the place of any file
// there. Both are in one directory.
func Replace(from, path string) error { return move(from, path, os.Rename, Sync) }

// Place moves the complete file at from to path, durably. It fails with fs.ErrExist if
// there is a file at path already. Both are in one directory.
func Place(from, path string) error {
	return move(from, path, func(from, path string) error {
		if err := os.Link(from, path); err != nil { // unlike a rename, a link replaces nothing
			return err
		}
		return os.Remove(from)
	}, Sync)
}

// move is the order of the package comment.
func move(from, path string, rename func(from, path string) error, sync func(path string) error) error {
	err := sync(from)
	if err == nil {
		err = rename(from, path)
	}
	if err == nil {
		err = sync(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("put %s durably in its place: %w", path, err)
	}
	return nil
}

// Sync makes the bytes of a file, or the names in a directory, durable.
func Sync(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
