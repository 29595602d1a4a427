package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/archiverd/archiverd/durable"
	"github.com/archiverd/archiverd/state"
)

// lockFile opens and locks the file: shared with ReadOnly, else exclusively. Without
// ReadOnly it creates a missing file, empty. If the file at path was replaced before the
// lock was granted, it returns errAgain. The returned path has no symbolic links, so that
// the file itself can be replaced.
func lockFile(path string, o Options) (*os.File, string, error) {
	flag, how := os.O_RDWR|os.O_CREATE, syscall.LOCK_EX
	if o.ReadOnly {
		flag, how = os.O_RDONLY, syscall.LOCK_SH
	} else if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, "", err
	}
	f, err := os.OpenFile(path, flag, 0o600)
	if o.ReadOnly && errors.Is(err, fs.ErrNotExist) {
		return nil, "", fmt.Errorf("%w: the first run makes it", state.ErrNoLedger)
	}
	if err != nil {
		return nil, "", err
	}
	real, err := func() (string, error) {
		if err := lock(f, how, o.Timeout); err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			return "", err
		}
		return real, sameFile(f, real)
	}()
	if err != nil {
		f.Close()
		return nil, "", err
	}
	return f, real, nil
}

// lock polls, because a blocking flock cannot be cancelled.
func lock(f *os.File, how int, timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock: %w", err)
		case time.Now().After(deadline):
			return fmt.Errorf("%w: stop that one, or set another state.path", ErrHeld)
		}
	}
}

// sameFile returns errAgain if f is no longer the file at path.
func sameFile(f *os.File, path string) error {
	is, err := os.Stat(path)
	if err != nil {
		return err
	}
	have, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(is, have) {
		return errAgain
	}
	if !have.Mode().IsRegular() {
		return fmt.Errorf("%w: not a regular file: set another state.path", ErrNotLedger)
	}
	return nil
}

// makeDir makes the directory, but not its parents: a misspelt path should fail.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		if _, statErr := os.Stat(dir); statErr == nil {
			return nil // e.g. on a read-only disk
		}
		return err
	}
	return durable.Sync(filepath.Dir(dir))
}

// header is bbolt's meta record in each of the first two pages, after the page's own
// header of 16 bytes, in the machine's byte order. Transactions write the two in turn; a
// transaction is complete once its record is written.
type header struct {
	Magic, Version, PageSize, Flags uint32
	Root, Sequence, Freelist        uint64
	Pages, Tx                       uint64 // Pages: number of pages up to the last used page
	Sum                             uint64 // FNV-1a of the 56 bytes before
}

const headerSize = 64

// readHeader returns the header of the newest transaction; the zero header if there is
// none.
func readHeader(f *os.File) (newest header, err error) {
	for at := int64(0); at <= 16<<20; at = max(1<<10, 2*at) { // bbolt knows pages of 1 KiB to 16 MiB
		var buf [headerSize]byte
		if _, err := f.ReadAt(buf[:], at+16); err != nil {
			break // too short
		}
		var h header
		if _, err := binary.Decode(buf[:], binary.NativeEndian, &h); err != nil {
			return newest, err
		}
		sum := fnv.New64a()
		sum.Write(buf[:headerSize-8])
		if h.Magic == 0xED0CDAED && h.Version == 2 && h.Sum == sum.Sum64() &&
			(at == 0 || at == int64(h.PageSize)) && h.Tx >= newest.Tx {
			newest = h
		}
	}
	return newest, nil
}

// checkHeader checks the file's size before bbolt opens it: bbolt trusts the size in the
// header and crashes if a page is missing.
func checkHeader(f *os.File, size int64) error {
	newest, err := readHeader(f)
	if err != nil {
		return err
	}
	want := int64(newest.Pages) * int64(newest.PageSize)
	switch {
	case newest.Magic == 0:
		return fmt.Errorf("%w: set another state.path, or move the file away", ErrNotLedger)
	case size < want:
		return damaged(fmt.Errorf("%d bytes, its header counts %d", size, want))
	}
	return nil
}
