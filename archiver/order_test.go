package archiver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
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
		"put, checking store":       {&checking, true, short},
		"put, echoing store":        {&echoing, false, short},
		"multipart, checking store": {&checking, true, long},
		"multipart, echoing store":  {&echoing, false, long},
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
	on        *sharedServer
	lock      bool
	recording genesystest.Recording
}

func (c orderCase) rig(t *testing.T) *rig {
	r := newRig(t, c.on, c.lock)
	r.options.Workers, r.options.Memory = 1, PartSize
	r.user.Add(c.recording)
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
	if c.recording.Size > PartSize && c.on == &echoing {
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
	r.wantArchived("rec-01")
	r.wantOnce()
	order := []string{"ledger list", "HEAD owners"}
	put := []string{"PUT media"}
	if c.recording.Size > PartSize {
		put = []string{"POST media create", "ledger add upload", "PUT media part", "PUT media part", "POST media complete", "ledger remove upload"}
	}
	switch {
	case c.on == &echoing: // each place is looked at
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
	r.wire.use(s.onWire)
	defer r.wire.use(nil)
	a := r.archiver(func(o *Options) { o.Ledger = stagedLedger{r.ledger, s} })
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
	stored := r.exists(c.mediaKey(r))
	if crash { // another process opens the same file
		r.closeLedger()
		r.openLedger()
	}
	downloads := len(r.requests(opLink))
	r.passed()
	r.wantArchived("rec-01")
	if media, manifests := r.objects("media"), r.objects("manifests"); len(media) != 1 || len(manifests) != 1 {
		t.Errorf("want one media object and one manifest, have %q and %q", media, manifests)
	}
	if more := len(r.requests(opLink)) - downloads; stored && more != 0 {
		t.Errorf("%d downloads more of media that were stored already", more)
	}
	// An upload whose id never reached the ledger is nobody's to abort: only the
	// bucket's lifecycle ends it.
	lost := s.steps[n] == "POST media create" && after || s.steps[n] == "ledger add upload" && crash && !after
	if !lost && r.uploads() != 0 {
		t.Errorf("%d uploads are under way", r.uploads())
	}
	r.wantToldOnce("rec-01")
	r.wantUploadsForgotten()
}

// wantToldOnce insists on a whole journal that tells just once that the recording
// was archived, whatever else it met.
func (r *rig) wantToldOnce(id string) {
	r.t.Helper()
	objects, faults := r.journal0()
	told := 0
	for _, c := range changes(objects) {
		if strings.HasPrefix(c, id+" ") && strings.HasSuffix(c, "→archived") {
			told++
		}
	}
	left, err := r.ledger.Events(context.Background(), org, r.in.ID, 10)
	if told != 1 || len(faults) > 0 || len(left) > 0 || err != nil {
		r.t.Errorf("the journal tells %q, with the faults %+v; the ledger still has %+v, %v", changes(objects), faults, left, err)
	}
}

func (c orderCase) mediaKey(r *rig) string {
	rec, err := genesys.ParseRecording(r.user.JSON("rec-01", false))
	if err != nil {
		r.t.Fatal(err)
	}
	return record.Keys{Prefix: "genesys", Org: org, Inbox: user}.Media("rec-01", rec.DateCreated, genesys.FormatWAV)
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
			r := newRig(t, &checking, true)
			r.user.Add(genesystest.Recording{ID: "rec-01", Size: c.size})
			r.wire.use(loseOnce(c.request))
			r.pass()
			r.wire.use(nil)
			r.passed()
			r.wantArchived("rec-01")
			r.wantOnce()
			if n := len(r.requests(opLink)); n != 1 {
				t.Errorf("%d downloads, want 1", n)
			}
		})
	}
}

// An upload that an older process left in the ledger is aborted by the next run
// even though its inbox is not among those of the run.
func TestRunAbortsUploadsLeftUnderWay(t *testing.T) {
	t.Parallel()
	r := newRig(t, &checking, false)
	u, err := r.store().Create(t.Context(), newObject("genesys/media/left"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ledger.AddUpload(t.Context(), state.UploadRef{Key: u.Key, ID: u.ID, Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r.archiver().Run(t.Context(), t.Context(), nil)
	if n := r.uploads(); n != 0 {
		t.Errorf("%d uploads are under way", n)
	}
	r.wantUploadsForgotten()
}

// wantUploadsForgotten wants no upload in the ledger once two more runs aborted it.
func (r *rig) wantUploadsForgotten() {
	r.t.Helper()
	for range 2 {
		r.archiver().Run(r.t.Context(), r.t.Context(), nil)
	}
	if left, err := r.ledger.Uploads(context.Background(), "", ""); err != nil || len(left) != 0 {
		r.t.Errorf("the ledger holds uploads %v, %v", left, err)
	}
}
