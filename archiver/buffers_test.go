package archiver

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
)

func TestBuffersAreAsManyAsTheMemoryHolds(t *testing.T) {
	for memory, want := range map[int64]int{0: 1, PartSize - 1: 1, PartSize: 1, 2*PartSize - 1: 1, 3*PartSize + 5: 3} {
		synctest.Test(t, func(t *testing.T) {
			b := newBuffers(memory, 0)
			seen := map[*byte]bool{}
			var held [][]byte
			for range want {
				buf, err := b.get(t.Context())
				if err != nil || len(buf) != PartSize {
					t.Fatalf("a buffer of %d bytes, %v", len(buf), err)
				}
				seen[&buf[0]] = true
				held = append(held, buf)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { _, err := b.get(ctx); done <- err }()
			synctest.Wait()
			select {
			case err := <-done:
				t.Fatalf("memory of %d bytes gave buffer %d: %v", memory, want+1, err)
			default:
			}
			cancel()
			if err := <-done; err != context.Canceled {
				t.Errorf("a wait that was called off: %v", err)
			}
			b.put(held[0])
			if again, err := b.get(t.Context()); err != nil || !seen[&again[0]] {
				t.Errorf("a buffer given back is not used again: %v", err)
			}
		})
	}
}

// Promise 9: more workers than buffers, recordings longer than one buffer, and
// memory for exactly one. All are archived, and never two buffers are made.
func TestMemoryForOneBufferServesManyWorkers(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	ids := r.Add(6, func(rec *genesystest.Recording) { rec.Duration, rec.Size = 0, PartSize/2 })
	r.User.Add(genesystest.Recording{ID: "rec-06", Size: PartSize + 1})
	r.User.Add(genesystest.Recording{ID: "rec-05", Size: 2*PartSize - 44}) // ends with its buffer
	var a *Archiver
	made := map[*byte]bool{}
	a = r.archiver(func(o *Options) {
		o.Workers, o.Memory = 4, PartSize
		o.Observer = passEnded(func() {
			for _, buf := range a.buffers.large {
				made[&buf[0]] = true
			}
		})
	})
	report := a.Run(t.Context(), t.Context(), []Inbox{r.in}).Inboxes[0]
	if report.Err != nil || report.Pass.Archived != int64(len(ids)) {
		t.Fatalf("%d archived, %v", report.Pass.Archived, report.Err)
	}
	for _, id := range ids {
		r.WantArchived(id)
	}
	if len(made) != 1 {
		t.Errorf("%d buffers were made", len(made))
	}
	if len(a.buffers.large)+len(a.buffers.small) > 0 {
		t.Error("buffers are held although the run is over")
	}
	if n := r.Uploads(); n != 0 {
		t.Errorf("%d uploads are under way", n)
	}
}

// passEnded is an Observer that is called when a pass has given all back.
type passEnded func()

func (f passEnded) PassEnded(InboxReport) { f() }
func (f passEnded) Retried()              {}
