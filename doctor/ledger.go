package doctor

import (
	"errors"
	"fmt"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
)

// spareDisk is the number of bytes that should be free beside the ledger: sealing, migration
// and backups each write a whole copy of it.
const spareDisk = 256 << 20

// LedgerPlace checks where the ledger is kept. It takes the results of bolt.Examine.
func LedgerPlace(p bolt.Place, err error) []Check {
	const file, disk, space = "ledger.file", "ledger.disk", "ledger.space"
	f := &findings{}
	if err != nil {
		f.fail(file, failure.KindConfiguration, "let the user that archiverd runs as write to the directory of state.path, or set another", "%v", err)
		return f.list
	}
	switch {
	case p.Exists && p.Mode.Perm()&0o077 != 0:
		f.fail(file, failure.KindConfiguration, "chmod 600 the ledger, and if others could read it, have its users log in again: it holds their tokens", "the file has mode %04o", p.Mode.Perm())
	case p.Shared:
		f.fail(file, failure.KindConfiguration, "chmod 700 the ledger's directory: who may write there can put another ledger in its place", "others may write to its directory")
	case !p.Exists:
		f.pass(file, "the first run makes it")
	default:
		f.pass(file, "mode %04o", p.Mode.Perm())
	}
	const local = "set state.path to a local disk"
	switch p.Kind {
	case bolt.LocalDisk:
		f.pass(disk, "a local disk, and a file can be made durable on it")
	case bolt.Memory:
		f.fail(disk, failure.KindConfiguration, local, "in memory: the ledger is lost at the machine's next start")
	case bolt.Container:
		f.warn(disk, "mount a volume for the ledger", "in the container's own layer: the ledger is lost with the container")
	default:
		f.warn(disk, local+": on other file systems, locks and durability are only as good as the server's", "on a file system of kind %s", p.Kind)
	}
	if want := max(spareDisk, 2*p.Size); p.Free < want {
		f.warn(space, fmt.Sprintf("make room: %d MiB should be free, because the ledger grows, and is copied beside itself when it is migrated or sealed", want>>20), "%d MiB are free", p.Free>>20)
	} else {
		f.pass(space, "%d MiB are free", p.Free>>20)
	}
	return f.list
}

// LedgerContent checks what the ledger holds. err is the result of opening and checking it.
func LedgerContent(err error) []Check {
	const name = "ledger.content"
	f := &findings{}
	_, bound := errors.AsType[*state.BindingError](err)
	switch {
	case err == nil:
		f.pass(name, "opened and checked")
	case errors.Is(err, state.ErrNoLedger):
		f.unchecked(name, "there is no ledger yet: the first run makes it")
	case errors.Is(err, bolt.ErrHeld):
		f.warn(name, "run archiverd doctor again when that run has ended", "another process holds it")
	case bound:
		f.fail(name, failure.KindConfiguration, "configure again the bucket and the organizations that the ledger belongs to, or set another state.path", "%v", err)
	case errors.Is(err, state.ErrSealKey):
		f.fail(name, failure.KindConfiguration, "set state.key_file to the key that the ledger was sealed with", "%v", err)
	case errors.Is(err, state.ErrNewer):
		f.fail(name, failure.KindConfiguration, "use the newer archiverd again", "%v", err)
	case errors.Is(err, postgres.ErrNoSchema), errors.Is(err, postgres.ErrOlder):
		f.fail(name, failure.KindConfiguration, "run archiverd migrate", "%v", err)
	case errors.Is(err, postgres.ErrFilling):
		f.fail(name, failure.KindConfiguration, "let that end; if it was interrupted, begin anew with an empty database", "%v", err)
	case errors.Is(err, state.ErrUnavailable):
		f.fail(name, failure.KindTemporary, "see that the database can be reached from here", "%v", err)
	default:
		f.fail(name, failure.KindIntegrity, "stop archiverd, keep what is there, and restore a copy or rebuild the ledger from the archive", "%v", err)
	}
	return f.list
}
