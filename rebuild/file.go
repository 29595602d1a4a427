package rebuild

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/archiverd/archiverd/durable"
)

// Free returns an error if there is a file at path, where a new ledger is to be made.
func Free(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, fmt.Errorf("%s exists: rebuild makes a new ledger and never replaces one; move that file away first, if it is really of no use", path))
}

// File makes a new ledger file at path. fill makes it under a temporary name beside path,
// and the file gets its own name only when it is complete: half a ledger would look like a
// whole one. File never replaces a file, and returns once its name is durable.
func File(path string, fill func(temporary string) error) error {
	temporary := path + ".rebuild-" + rand.Text()
	err := fill(temporary)
	if err == nil {
		err = durable.Place(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}
