package integration_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/genesys/genesystest"
)

// TestWorkersWrongClock has one of two workers whose clock is wrong by an hour: claims hold,
// the store takes its requests, nothing is locked for too short a time, and no original is
// deleted too early, neither by this worker nor by the other, for what the first has dated.
func TestWorkersWrongClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"fast": time.Hour, "slow": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMembers(t, 0)
			m.config["delete_originals"] = map[string]any{"enabled": true, "after": "30m"}
			began := time.Now().Truncate(time.Second)
			midnight := began.UTC().Truncate(24 * time.Hour).Add(72 * time.Hour)
			section := m.storageSection() // locks end at midnights, this one soon after
			section["object_lock"] = map[string]any{"mode": "governance", "retain_for": (midnight.Sub(began) + 20*time.Minute).String()}
			m.config["storage"] = section
			m.addCreated("fresh", began.Add(-10*time.Minute))
			wrong := m.startAhead(ahead, "run")
			m.all = append(m.all, wrong)
			m.runs(1)
			m.addCreated("fresher", began.Add(-5*time.Minute))
			m.all = append(m.all, m.start("run"))
			m.runs(2)
			for id, e := range m.databaseEntries() {
				if len(e.Versions) != 1 || e.Versions[0].ArchivedAt.Before(began) {
					t.Errorf("%s has %d versions, the first of %v; the test began at %v", id, len(e.Versions), e.Versions[0].ArchivedAt, began)
				}
			}
			if n := m.cloud.Requests(opDelete); n != 0 {
				t.Errorf("%d originals were deleted after a minute, not after half an hour", n)
			}
			m.wantLocked(midnight)
			for _, p := range m.all {
				m.leaves(p)
			}
			m.wantAllOnce()
			m.wantAlone(m.all)
		})
	}
}

// addCreated adds a recording to each inbox.
func (m *members) addCreated(name string, created time.Time) {
	for _, in := range m.inboxes {
		in.Add(genesystest.Recording{ID: in.ID + "-" + name, DateCreated: created})
	}
}

// wantLocked wants every object that an inbox has in the bucket locked until a midnight, and
// those that count from now, or from some minutes ago, until the next.
func (m *members) wantLocked(midnight time.Time) {
	m.Helper()
	for _, o := range m.listing() {
		want := midnight
		switch {
		case strings.Contains(o.Key, "/doctor/"), strings.Contains(o.Key, "/owners/"):
			continue
		case strings.Contains(o.Key, "-fresh"), strings.Contains(o.Key, "/journal/"):
			want = want.Add(24 * time.Hour)
		}
		lock, err := m.s3.Client().GetObjectRetention(m.Context(), &s3.GetObjectRetentionInput{Bucket: &m.bucket, Key: &o.Key})
		if err != nil {
			m.Errorf("%s: %v", o.Key, err)
		} else if until := *lock.Retention.RetainUntilDate; until.Before(want) {
			m.Errorf("%s is locked until %v, want %v", o.Key, until, want)
		}
	}
}

// startAhead starts archiverd with a clock of its own, ahead of the machine's, or behind it.
// Everything in the process sees that clock.
func (w *world) startAhead(ahead time.Duration, args ...string) *process {
	w.Helper()
	w.writeConfig()
	runtime.LockOSThread() // only the thread that started the process may change it
	defer runtime.UnlockOSThread()
	p := startThen(w.T, w.env, func(c *exec.Cmd) {
		c.Dir = w.dir
		c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	}, func(pid int) error { return setAhead(pid, ahead) }, append([]string{"--config", w.configPath()}, args...)...)
	p.ahead = ahead
	return p
}

// setAhead changes the clock of a traced process that waits for its first instruction, and
// lets it go. The process asks the vDSO for the time, a library that the kernel maps into
// each process: its function is replaced by one that asks the kernel and adds to the answer.
func setAhead(pid int, ahead time.Duration) error {
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("it does not wait: %v, %w", status, err)
	}
	at, err := clockGettime(pid)
	if err != nil {
		return err
	}
	if _, err := syscall.PtracePokeText(pid, at, shifted(ahead)); err != nil {
		return fmt.Errorf("replace clock_gettime: %w", err)
	}
	return syscall.PtraceDetach(pid)
}

// shifted is clock_gettime(clock, *timespec) in machine code.
func shifted(ahead time.Duration) []byte {
	code := []byte{
		0xb8, 228, 0, 0, 0, // mov eax, SYS_clock_gettime
		0x0f, 0x05, // syscall
		0x85, 0xff, // test edi, edi
		0x75, 0x07, // jne to ret, unless it is CLOCK_REALTIME
		0x48, 0x81, 0x06, // add qword ptr [rsi], the seconds
	}
	seconds := uint32(int32(ahead / time.Second)) // little-endian
	code = append(code, byte(seconds), byte(seconds>>8), byte(seconds>>16), byte(seconds>>24))
	return append(code, 0xc3) // ret
}

// clockGettime is the address of that function in a process.
func clockGettime(pid int) (uintptr, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		var from, to uintptr
		if _, err := fmt.Sscanf(line, "%x-%x", &from, &to); err != nil {
			return 0, fmt.Errorf("%q: %w", line, err)
		}
		image := make([]byte, to-from)
		if _, err := syscall.PtracePeekText(pid, from, image); err != nil {
			return 0, fmt.Errorf("read the vDSO: %w", err)
		}
		f, err := elf.NewFile(bytes.NewReader(image))
		if err != nil {
			return 0, err
		}
		symbols, err := f.DynamicSymbols()
		if err != nil {
			return 0, err
		}
		for _, s := range symbols {
			if s.Name == "__vdso_clock_gettime" && s.Size >= uint64(len(shifted(0))) {
				return from + uintptr(s.Value), nil
			}
		}
	}
	return 0, errors.New("no vDSO with the function clock_gettime, or one too short to be replaced")
}
