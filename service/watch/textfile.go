package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
)

// A TextfileError says why a metrics file can't be written, and what to do about it.
type TextfileError struct{ Path, Cause, Remedy string }

func (e *TextfileError) Error() string { return e.Path + ": " + e.Cause + ": " + e.Remedy }

// WriteTextfile writes the metrics to the file, for node_exporter's textfile collector,
// which runs as another user. The file is replaced as a whole or stays as it was. Every
// failure is a *TextfileError.
func (m *Metrics) WriteTextfile(path string) error {
	return textfileError(path, prometheus.WriteToTextfile(path, m.Registry))
}

// textfileRoom is what TryTextfile writes: more than the metrics of most installations.
const textfileRoom = 64 << 10

// TryTextfile returns why the file could not be written, or nil. It does not change the
// file.
func TryTextfile(path string) error {
	err := writable(path)
	if err == nil {
		err = replaceable(path)
	}
	return textfileError(path, err)
}

// writable writes a temporary file into the folder, as WriteTextfile does first.
func writable(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, textfileRoom))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// replaceable returns why a rename could not replace path, or nil: a rename can't replace
// a folder, nor another user's file in a folder like /tmp.
func replaceable(path string) error {
	file, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	folder, folderErr := os.Stat(filepath.Dir(path))
	if err := errors.Join(err, folderErr); err != nil {
		return err
	}
	if file.IsDir() {
		return syscall.EISDIR
	}
	me := uint32(os.Geteuid())
	if folder.Mode()&fs.ModeSticky != 0 && me != 0 && owner(file) != me && owner(folder) != me {
		return syscall.EPERM
	}
	return nil
}

func owner(i fs.FileInfo) uint32 { return i.Sys().(*syscall.Stat_t).Uid }

// textfileError explains an error of the file or its folder.
func textfileError(path string, err error) error {
	if err == nil {
		return nil
	}
	e := &TextfileError{Path: path, Cause: err.Error(), Remedy: "remove the cause, or name another file in metrics.textfile"}
	is, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return e
	}
	switch e.Cause = is.Error(); is {
	case syscall.ENOENT, syscall.ENOTDIR:
		e.Cause, e.Remedy = "its folder does not exist", "make the folder, or name another file in metrics.textfile"
	case syscall.EACCES, syscall.EPERM:
		e.Cause, e.Remedy = "its folder, or the file that is there, belongs to another user", "let the user that archiverd runs as write to both"
	case syscall.EROFS:
		e.Cause, e.Remedy = "its folder is read-only", "under systemd name the folder in ReadWritePaths of the unit; else name another file in metrics.textfile"
	case syscall.ENOSPC, syscall.EDQUOT:
		e.Cause, e.Remedy = "the disk is full", "make room there"
	case syscall.EISDIR, syscall.EEXIST:
		e.Cause, e.Remedy = "the path is a folder", "name a file in metrics.textfile"
	}
	return e
}
