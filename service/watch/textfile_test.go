package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestTextfileErrors wants words for what a folder or a disk may do to the file, by the
// error that comes of it.
func TestTextfileErrors(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.ENOENT: "its folder does not exist: make the folder", syscall.EACCES: "belongs to another user: let the user", syscall.EPERM: "belongs to another user: let the user",
		syscall.EROFS: "its folder is read-only: under systemd", syscall.ENOSPC: "the disk is full: make room", syscall.EDQUOT: "the disk is full: make room",
		syscall.EISDIR: "the path is a folder: name a file", syscall.EIO: "input/output error: remove the cause",
	} {
		err := textfileError("/m/archiverd.prom", fmt.Errorf("w: %w", &os.PathError{Op: "write", Path: "/m/archiverd.prom123", Err: errno}))
		if err == nil || !strings.HasPrefix(err.Error(), "/m/archiverd.prom: ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "123") {
			t.Errorf("%d: %v, want %q", errno, err, want)
		}
	}
	if err := textfileError("/m/archiverd.prom", errors.New("collected twice")); !strings.Contains(err.Error(), "collected twice: remove the cause") {
		t.Error(err)
	}
}

// TestTryTextfile leaves the folder as it was.
func TestTryTextfile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "archiverd.prom")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, filepath.Join(dir, "new.prom")} {
		if err := TryTextfile(path); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(path)
	found, globErr := filepath.Glob(filepath.Join(dir, "*"))
	if string(text) != "old" || len(found) != 1 || errors.Join(err, globErr) != nil {
		t.Errorf("the folder has %q, the file %q: %v", found, text, errors.Join(err, globErr))
	}
}
