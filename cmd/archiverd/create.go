package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/archiverd/archiverd/service/control"
)

// createFile makes a file that appears at path when it is kept.
func createFile(path string) (control.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*")
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return &newFile{f, path}, nil
}

// newFile is a file under a temporary name, until it is kept.
type newFile struct {
	*os.File
	path string
}

// Keep makes the file durable and moves it to its place.
func (f *newFile) Keep() error {
	err := errors.Join(f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return errors.Join(err, f.Drop())
	}
	return nil
}

// Drop removes the file.
func (f *newFile) Drop() error {
	err := f.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	return errors.Join(err, os.Remove(f.Name()))
}
