package bolt

import (
	"os"
	"path/filepath"
	"testing"
)

func TestExamine(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "ledger.db")
	p, err := Examine(path) // the directory is made by Open
	if err != nil || p.Exists || p.Size != 0 || p.Free <= 0 || p.Shared {
		t.Errorf("before the first run: %+v, %v", p, err)
	}
	if _, err := Examine(filepath.Join(dir, "mis", "spelt", "ledger.db")); err == nil {
		t.Error("a directory that Open would not make passes")
	}
	l, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err = Examine(path) // while the ledger is open
	if err != nil || !p.Exists || p.Mode != 0o600 || p.Size != info.Size() || p.Shared {
		t.Errorf("with a ledger: %+v, %v", p, err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o770); err != nil {
		t.Fatal(err)
	}
	if p, err := Examine(path); err != nil || !p.Shared {
		t.Errorf("a directory that a group may write to: %+v, %v", p, err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat("/dev/shm"); err == nil { // on Linux it is a tmpfs
		if p, err := Examine("/dev/shm/archiverd.db"); err != nil || p.Kind != Memory {
			t.Errorf("in memory: %+v, %v", p, err)
		}
	}
}

// TestMedium has the numbers of linux/magic.h that statfs(2) lists.
func TestMedium(t *testing.T) {
	for number, want := range map[int64]Medium{
		0x6969: Network, 0xff534d42: Network, -0xacb2be: Network, // CIFS as a 32-bit system gives it
		0x65735546: Userspace, 0x01021994: Memory, 0x794c7630: Container,
		0xef53: LocalDisk, 0x58465342: LocalDisk, 0x9123683e: LocalDisk, // ext4, XFS, Btrfs
	} {
		if got := medium(number); got != want {
			t.Errorf("%#x is %s, want %s", number, got, want)
		}
	}
}
