package bolt

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/archiverd/archiverd/durable"
)

// Place describes the file system at a ledger's path.
type Place struct {
	Exists bool        // the file exists; else Mode and Size are zero
	Mode   fs.FileMode // of the file
	Size   int64
	Shared bool   // users other than the directory's owner may write to it, and so replace the file
	Kind   Medium // of the file system
	Free   int64  // bytes, for users other than root
}

// Medium is the kind of storage below a file system.
type Medium string

// The media that archiverd distinguishes. All other file systems count as local disks.
const (
	LocalDisk Medium = "local disk"
	Network   Medium = "network"              // locks and fsync are only as good as the server's
	Userspace Medium = "FUSE"                 // locks and fsync are only as good as the program's
	Memory    Medium = "memory"               // lost at the machine's next start
	Container Medium = "container's own disk" // lost with the container
)

// medium returns the medium for the number that statfs(2) gives a file system on Linux.
func medium(number int64) Medium {
	switch uint32(number) {
	case 0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x00c36400, 0x5346414f, 0x01021997: // NFS, SMB, CIFS, SMB2, Ceph, AFS, 9P
		return Network
	case 0x65735546:
		return Userspace
	case 0x01021994, 0x858458f6: // tmpfs, ramfs
		return Memory
	case 0x794c7630: // overlayfs
		return Container
	}
	return LocalDisk
}

// Examine examines a ledger's path without opening the ledger, and tests that a file
// beside it can be made durable. If the directory is missing, Examine takes its parent,
// because Open makes the directory.
func Examine(path string) (Place, error) {
	var p Place
	dir := filepath.Dir(path)
	info, err := os.Stat(path)
	switch {
	case err == nil:
		p.Exists, p.Mode, p.Size = true, info.Mode(), info.Size()
	case !errors.Is(err, fs.ErrNotExist):
		return p, fmt.Errorf("examine ledger %s: %w", path, remedy(err))
	}
	in, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		dir = filepath.Dir(dir)
		in, err = os.Stat(dir)
	}
	if err != nil {
		return p, fmt.Errorf("examine ledger %s: %w", path, remedy(err))
	}
	p.Shared = in.Mode().Perm()&0o022 != 0 && in.Mode()&fs.ModeSticky == 0
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return p, fmt.Errorf("examine ledger %s: statfs: %w", path, err)
	}
	p.Kind, p.Free = medium(int64(s.Type)), int64(s.Bavail)*int64(s.Bsize)
	if err := tryDurable(dir); err != nil {
		return p, fmt.Errorf("examine ledger %s: make a file durable beside it: %w", path, remedy(err))
	}
	return p, nil
}

// tryDurable makes a file durable in the directory, and removes it.
func tryDurable(dir string) error {
	path := filepath.Join(dir, ".archiverd-doctor-"+rand.Text())
	f, err := durable.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.WriteString("archiverd doctor\n"); err != nil {
		return errors.Join(err, f.Drop())
	}
	if err := f.Keep(); err != nil {
		return err
	}
	return os.Remove(path)
}
