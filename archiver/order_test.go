package archiver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
)

// Promise 1. Every step of a pass over one recording fails, before or after its
// effect, and the process goes on or crashes there. Then nothing disturbs the next
// pass, and there is exactly one media object and one manifest, both right, and
// no second download where the first was stored.
func TestWriteOrder(t *testing.T) {
	short := genesystest.Recording{ID: "rec-01", Duration: 100 * time.Millisecond}
	long := genesystest.Recording{ID: "rec-01", Size: PartSize + 1000}
	for name, c := range map[string]orderCase{
		"put, checking store":       {archivertest.Checking, true, short},
		"put, echoing store":        {archivertest.Echoing, false, short},
		"multipart, checking store": {archivertest.Checking, true, long},
		"multipart, echoing store":  {archivertest.Echoing, false, long},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			steps := c.undisturbed(t)
			for n := range steps {
				if !c.concerns(steps, n) {
					continue
				}
				for _, after := range []bool{false, true} {
					for _, crash := range c.ways() {
						t.Run(stepName(n, steps[n], after, crash), func(t *testing.T) {
							c.broken(t, n, after, crash)
						})
					}
				}
			}
		})
	}
}

func stepName(n int, name string, after, crash bool) string {
	when, how := "before", "fails"
	if after {
		when = "after"
	}
	if crash {
		how = "crashes"
	}
	return fmt.Sprintf("%s %s step %02d %s", how, when, n, name)
}

type orderCase struct {
	on        *archivertest.Server
	lock      bool
	recording genesystest.Recording
}

func (c orderCase) rig(t *testing.T) *rig {
	r := newRig(t, c.on, c.lock)
	r.options.Workers, r.options.Memory = 1, PartSize
	r.User.Add(c.recording)
	return r
}

// concerns leaves the steps that a multipart upload has in common with a put to
// the latter: they would only move 8 MiB once more.
func (c orderCase) concerns(steps []string, n int) bool {
	if c.recording.Size <= PartSize {
		return true
	}
	return n >= slices.Index(steps, "POST media create") && n < slices.Index(steps, "HEAD manifests")
}

// ways tells whether a step can go wrong without a crash too. What a multipart
// upload does then is the same on every store.
func (c orderCase) ways() []bool {
	if c.recording.Size > PartSize && c.on == archivertest.Echoing {
		return []bool{true}
	}
	return []bool{false, true}
}

// undisturbed gives the steps of a pass in which nothing fails. What it looks
// for proves that the table of steps is the whole write order.
func (c orderCase) undisturbed(t *testing.T) []string {
	r := c.rig(t)
	s := &stage{failing: -1}
	if err := r.staged(s, context.Background()).Err; err != nil {
		t.Fatal(err)
	}
	r.WantArchived("rec-01")
	r.WantOnce()
	order := []string{"ledger list", "HEAD owners"}
	put := []string{"PUT media"}
	if c.recording.Size > PartSize {
		put = []string{"POST media create", "ledger add upload", "PUT media part", "PUT media part", "POST media complete", "ledger remove upload"}
	}
	switch {
	case c.on == archivertest.Echoing: // each place is looked at
		order = slices.Concat(order, []string{"HEAD media"}, put, []string{"HEAD media", "HEAD manifests"})
	case c.recording.Size > PartSize: // one listing shows what stands where, and a place for parts is looked at
		order = slices.Concat(order, []string{"GET", "HEAD media"}, put, []string{"HEAD media"})
	default:
		order = slices.Concat(order, []string{"GET"}, put, []string{"HEAD media"})
		if heads := slices.DeleteFunc(slices.Clone(s.steps), func(s string) bool { return s != "HEAD media" && s != "HEAD manifests" }); len(heads) != 2 {
			t.Errorf("want one HEAD for media and one for the manifest: %q", s.steps)
		}
	}
	order = append(order, "PUT manifests", "HEAD manifests", "ledger listed→archived", "GET", "PUT journal", "HEAD journal", "ledger journal", "ledger pass")
	rest := s.steps
	for _, want := range order {
		at := slices.Index(rest, want)
		if at < 0 {
			t.Fatalf("no %q in its place among the steps %q", want, s.steps)
		}
		rest = rest[at+1:]
	}
	return s.steps
}

// staged runs one pass on a stage.
func (r *rig) staged(s *stage, ctx context.Context) InboxReport {
	ctx, s.kill = context.WithCancel(ctx)
	defer s.kill()
	r.Wire.Use(s.onWire)
	defer r.Wire.Use(nil)
	a := r.archiver(func(o *Options) { o.Ledger = stagedLedger{r.Ledger, s} })
	return a.Run(ctx, ctx, []Inbox{r.in}).Inboxes[0]
}

func (c orderCase) broken(t *testing.T, n int, after, crash bool) {
	r := c.rig(t)
	s := &stage{failing: n, after: after, crash: crash}
	first := r.staged(s, context.Background())
	if !s.fired {
		t.Fatalf("step %d did not come: %q", n, s.steps)
	}
	if crash && first.Err == nil && !strings.HasPrefix(s.steps[n], "ledger") {
		t.Error("the crash was no error")
	}
	stored := r.Exists(r.FirstKey("rec-01"))
	if crash { // another process opens the same file
		r.CloseLedger()
		r.OpenLedger()
	}
	downloads := len(r.Requests(opLink))
	r.passed()
	r.WantArchived("rec-01")
	if media, manifests := r.Objects("media"), r.Objects("manifests"); len(media) != 1 || len(manifests) != 1 {
		t.Errorf("want one media object and one manifest, have %q and %q", media, manifests)
	}
	if more := len(r.Requests(opLink)) - downloads; stored && more != 0 {
		t.Errorf("%d downloads more of media that were stored already", more)
	}
	// An upload whose id never reached the ledger is nobody's to abort: only the
	// bucket's lifecycle ends it.
	lost := s.steps[n] == "POST media create" && after || s.steps[n] == "ledger add upload" && crash && !after
	if !lost && r.Uploads() != 0 {
		t.Errorf("%d uploads are under way", r.Uploads())
	}
	r.wantToldOnce("rec-01")
	r.wantUploadsForgotten()
}

// wantToldOnce insists on a whole journal that tells just once that the recording
// was archived, whatever else it met.
func (r *rig) wantToldOnce(id string) {
	r.T.Helper()
	objects, faults := r.Journal0()
	told := 0
	for _, c := range archivertest.Changes(objects) {
		if strings.HasPrefix(c, id+" ") && strings.HasSuffix(c, "→archived") {
			told++
		}
	}
	left, err := r.Ledger.Events(context.Background(), org, r.in.ID, 10)
	if told != 1 || len(faults) > 0 || len(left) > 0 || err != nil {
		r.T.Errorf("the journal tells %q, with the faults %+v; the ledger still has %+v, %v", archivertest.Changes(objects), faults, left, err)
	}
}

// A reply that gets lost is repeated by the storage package, which then finds the
// place taken by its own object.
func TestLostReplies(t *testing.T) {
	for _, c := range []struct {
		request string
		size    int64
	}{
		{"PUT media", 1000}, {"PUT manifests", 1000}, {"PUT owners", 1000},
		{"PUT media part", PartSize + 1000}, {"POST media complete", PartSize + 1000},
	} {
		t.Run(c.request, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, archivertest.Checking, true)
			r.User.Add(genesystest.Recording{ID: "rec-01", Size: c.size})
			r.Wire.Use(archivertest.LoseOnce(c.request))
			r.pass()
			r.Wire.Use(nil)
			r.passed()
			r.WantArchived("rec-01")
			r.WantOnce()
			if n := len(r.Requests(opLink)); n != 1 {
				t.Errorf("%d downloads, want 1", n)
			}
		})
	}
}

// An upload that an older process left in the ledger is aborted by the next run
// even though its inbox is not among those of the run.
func TestRunAbortsUploadsLeftUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, archivertest.Checking, false)
	u, err := r.Store().Create(t.Context(), archivertest.NewObject("genesys/media/left"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Ledger.AddUpload(t.Context(), state.UploadRef{Key: u.Key, ID: u.ID, Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r.archiver().Run(t.Context(), t.Context(), nil)
	if n := r.Uploads(); n != 0 {
		t.Errorf("%d uploads are under way", n)
	}
	r.wantUploadsForgotten()
}

// wantUploadsForgotten wants no upload in the ledger once two more runs aborted it.
func (r *rig) wantUploadsForgotten() {
	r.T.Helper()
	for range 2 {
		r.archiver().Run(r.T.Context(), r.T.Context(), nil)
	}
	if left, err := r.Ledger.Uploads(context.Background(), "", ""); err != nil || len(left) != 0 {
		r.T.Errorf("the ledger holds uploads %v, %v", left, err)
	}
}
