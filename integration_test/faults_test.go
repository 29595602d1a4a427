package integration_test

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/integration_test/faults"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestFaultsOfTheBinary runs cells of the table of faults, some of each class, with the real
// binary and a real store. All of the table is run in process, under a clock that jumps:
// see cmd/archiverd.
func TestFaultsOfTheBinary(t *testing.T) {
	cells := map[[2]string]faults.Cell{}
	for _, c := range faults.Cells() {
		cells[[2]string{c.Action.Name, c.Form.Name}] = c
	}
	for _, c := range []struct {
		action, form string
		times        int // how many requests meet it
		code         int
	}{
		{"list the inbox", "400 bad.request", genesystest.Always, 3},
		{"list the inbox", "connection reset", genesystest.Always, 5},
		{"list the inbox", "connection closed in the middle of the reply", genesystest.Always, 5},
		{"list the inbox", "200 with truncated JSON", genesystest.Always, 5},
		{"list the inbox", "429 without Retry-After", 1, 0},
		{"list the inbox", "403 not.authorized", genesystest.Always, 4},
		{"list the inbox", "401 bad.credentials", 1, 0},
		{"list the inbox", "503 service.unavailable", genesystest.Always, 5},
		{"look at a recording", "404 not.found", genesystest.Always, 0},
		{"renew a token", "no reply", 1, 0},
		{"renew a token", "connection reset after the effect", 1, 4},
		{"download media", "200 with a page of HTML", genesystest.Always, 3},
		{"put media", "connection reset after the effect", 1, 0},
		{"put media", "200, and nothing is stored", genesystest.Always, 3},
		{"put media", "403 AccessDenied", genesystest.Always, 2},
		{"find a free key, and prove media", "another size", genesystest.Always, 6},
		{"upload a part", "500 InternalError", 1, 0},
		{"complete a multipart upload", "connection reset after the effect", 1, 0},
		{"complete a multipart upload", "200 with an error in the body", genesystest.Always, 3},
		{"put a manifest", "503 SlowDown", genesystest.Always, 3},
		{"put media", "409 ConditionalRequestConflict", 1, 0},
		{"put a manifest", "409 ConditionalRequestConflict", 4, 0},
		{"complete a multipart upload", "409 ConditionalRequestConflict", 1, 0},
		{"complete a multipart upload", "409 ConditionalRequestConflict", 3, 0}, // as often as the upload lives
	} {
		cell, ok := cells[[2]string{c.action, c.form}]
		if !ok {
			t.Errorf("the table has no %q, %q", c.action, c.form)
			continue
		}
		t.Run(c.action+"/"+c.form, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, cell.World)
			if cell.On == faults.Storage {
				f.store.Inject(faults.StoreFault{Op: cell.Op, Times: c.times, Effect: cell.Effect(f.cloud)})
			} else {
				f.cloud.Inject(genesystest.Fault{Op: cell.Op, Times: c.times, Effect: cell.Effect(f.cloud)})
			}
			f.once(c.code)
			f.cloud.ClearFaults()
			f.store.ClearFaults()
			if cell.Login {
				f.login(state.Token{}, f.inbox)
			}
			f.repairs()
		})
	}
}

// faulty is a world with one user's inbox and a store that can be made to fail.
type faulty struct {
	*world
	inbox *genesystest.Inbox
	store *faults.Store
	ids   []string
}

func newFaulty(t *testing.T, of faults.World) *faulty {
	t.Helper()
	f := &faulty{world: newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})}
	f.org["grant"] = "authorization_code"
	f.deleting()
	f.between(func(next http.Handler) http.Handler {
		f.store = faults.NewStore(next)
		return f.store
	})
	f.inbox = f.cloud.AddUser("ada", "Ada", "ada@example.com")
	f.inbox.Add(genesystest.Recording{ID: "small", Size: 1000})
	f.inbox.Add(genesystest.Recording{ID: "large", Size: 9 << 20})
	f.ids = f.inbox.IDs()
	token := state.Token{Access: f.inbox.IssueAccessToken(time.Hour), Refresh: f.inbox.IssueRefreshToken(), Expiry: time.Now().Add(time.Hour)}
	if of.Renew {
		token = state.Token{}
	}
	f.login(token, f.inbox)
	t.Cleanup(func() {
		for _, v := range f.store.Violations() {
			t.Errorf("violation: %s", v)
		}
	})
	return f
}

// repairs wants everything archived exactly and all originals gone after the next runs.
func (f *faulty) repairs() {
	f.Helper()
	for range 3 {
		f.run("run", "--once")
	}
	if left := f.inbox.IDs(); len(left) > 0 {
		f.Errorf("not deleted: %q", left)
	}
	f.wantState(state.StateDeleted, f.inbox, f.ids...)
	a := f.archive()
	for _, id := range f.ids {
		f.wantRecording(a, f.inbox, id)
	}
	if left := f.uploads(); len(left) > 0 {
		f.Errorf("the ledger still knows the uploads %v", left)
	}
}

// TestDiskFull takes the disk away from a running archiverd at each of its writes to the
// store: from then on no file of its can grow or be written, the ledger among them.
func TestDiskFull(t *testing.T) {
	for _, at := range []string{"put owners", "put media", "create upload", "upload part", "complete upload", "put manifests", "put journal"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			f := newFaulty(t, faults.World{})
			started := make(chan *process, 1)
			f.store.Inject(faults.StoreFault{Op: at, Times: 1, Effect: genesystest.Effect{Before: func(http.ResponseWriter, *http.Request) bool {
				p := <-started
				started <- p
				if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}, nil); err != nil {
					t.Error(err)
				}
				return false
			}}})
			p := f.start("run", "--once")
			started <- p
			if r := p.wait(); r.code != 1 {
				t.Errorf("want exit code 1: %s", r)
			}
			f.store.ClearFaults()
			f.repairs()
		})
	}
}
