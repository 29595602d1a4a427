package integration_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

var (
	kills = flag.Int("kills", 15, "how often TestCrashes kills archiverd, for each store")
	seed  = flag.Uint64("seed", 1, "of the moments at which TestCrashes kills")
)

// TestCrashes kills archiverd at random moments of its write order, with deletions on,
// while recordings arrive, change and disappear, and starts it again until all is done.
// make soak does so for long, with another seed each time.
func TestCrashes(t *testing.T) {
	for name, store := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("%d kills with seed %d", *kills, *seed)
			w := newWorldOn(t, store(t), genesystest.Options{DeletedListings: 2})
			w.deleting()
			c := &crashes{world: w, inbox: w.cloud.ClientInbox(), tap: w.tapped(), r: rand.New(rand.NewPCG(*seed, 1)), known: map[string]bool{}}
			for runs := 0; c.killed < *kills; runs++ {
				if runs > 5**kills {
					t.Fatalf("only %d of %d runs were killed", c.killed, runs)
				}
				c.live()
				c.killOnce()
			}
			c.finish()
		})
	}
}

// crashes is an inbox in use and an archiverd that dies.
type crashes struct {
	*world
	inbox   *genesystest.Inbox
	tap     *tap
	r       *rand.Rand
	added   int
	present []string // not removed by their user
	moved   []string // changed or removed: what was stored of them before may be described by nothing
	killed  int
	known   map[string]bool // ids of uploads that were in the ledger after a kill
}

// live is what happens in an inbox between two runs, and once more during the listing.
func (c *crashes) live() {
	change := func() {
		for range 1 + c.r.IntN(3) {
			c.add()
		}
		if c.r.IntN(2) == 0 {
			c.pick(c.inbox.Change)
		}
		if c.r.IntN(6) == 0 {
			c.pick(func(id string) {
				c.inbox.Remove(id)
				c.present = slices.DeleteFunc(c.present, func(s string) bool { return s == id })
			})
		}
	}
	change()
	during := c.r.IntN(3) == 0
	c.cloud.Configure(func(o *genesystest.Options) {
		o.OnPage = func(*genesystest.Inbox, int) {
			if during {
				during = false
				change()
			}
		}
	})
}

func (c *crashes) add() {
	c.added++
	r := genesystest.Recording{ID: fmt.Sprintf("rec-%05d", c.added), Size: 16 + c.r.Int64N(100<<10)}
	if c.r.IntN(8) == 0 {
		r.Size = 9<<20 + c.r.Int64N(9<<20)
	}
	c.inbox.Add(r)
	c.present = append(c.present, r.ID)
}

// pick does something to a recording whose deletion nobody asked for.
func (c *crashes) pick(do func(id string)) {
	left := slices.Clone(c.present)
	for _, e := range c.cloud.Events() {
		if e.Op == opDelete {
			left = slices.DeleteFunc(left, func(id string) bool { return id == e.Recording })
		}
	}
	if len(left) > 0 {
		id := left[c.r.IntN(len(left))]
		c.moved = append(c.moved, id)
		do(id)
	}
}

// killOnce starts a run and kills it at a request, counted from its start: at the store
// or at Genesys, before its effect or after. A run that ends before was not so long.
func (c *crashes) killOnce() {
	c.Helper()
	started := make(chan *process, 1)
	kill := func() {
		p := <-started
		p.kill()
		started <- p
	}
	n, after := 1+c.r.IntN(18), c.r.IntN(2) == 0
	if c.r.IntN(3) == 0 {
		c.cloud.Inject(genesystest.Fault{Skip: n - 1, Effect: killing(kill, after)})
	} else {
		c.tap.watch(func(at int, _ *http.Request, done bool) {
			if at == n && done == after {
				kill()
			}
		})
	}
	p := c.start("run", "--once")
	started <- p
	switch r := p.wait(); r.code {
	case -1:
		c.killed++
	case 0:
	default:
		c.Fatalf("run %d ended with %s", c.killed, r)
	}
	c.tap.watch(nil)
	c.cloud.ClearFaults()
	for _, u := range c.uploads() {
		c.known[u.ID] = true
	}
}

// killing kills before a request of Genesys has an effect, or after.
func killing(kill func(), after bool) genesystest.Effect {
	if !after {
		return genesystest.Effect{Name: "kill", Before: func(http.ResponseWriter, *http.Request) bool {
			kill()
			return false
		}}
	}
	return genesystest.Effect{Name: "kill", Wrap: func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
		return &lastWords{w, kill}
	}}
}

// lastWords calls kill when a reply begins.
type lastWords struct {
	http.ResponseWriter
	kill func()
}

func (l *lastWords) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l *lastWords) WriteHeader(status int) {
	l.kill()
	l.ResponseWriter.WriteHeader(status)
}

// finish lets archiverd run in peace, and looks at everything.
func (c *crashes) finish() {
	c.Helper()
	c.cloud.Configure(func(o *genesystest.Options) { o.OnPage = nil })
	for range 5 {
		c.once(0)
		c.cloud.Settle()
	}
	entries := c.entries(c.inbox)
	for _, id := range c.inbox.IDs() { // killed before the request was sent, it waits for a day
		if entries[id].State != state.StateDeleteRequested {
			c.Errorf("the original of %s is left, and %s in the ledger", id, entries[id].State)
		}
	}
	for id, e := range entries {
		if slices.Contains([]state.State{state.StateListed, state.StateFailed, state.StateArchived}, e.State) {
			c.Errorf("%s is %s: %s", id, e.State, e.LastError)
		}
	}
	c.wantExactOnce()
	for _, u := range c.uploads() {
		c.Errorf("the ledger still knows an upload of %s", u.Key)
	}
	for _, id := range c.unfinishedIDs() {
		if c.known[id] {
			c.Errorf("upload %s was known, and is still under way", id)
		}
	}
	c.Logf("%d recordings, %d runs killed", c.added, c.killed)
}

// unfinishedIDs gives the uploads under way in the whole bucket.
func (c *crashes) unfinishedIDs() (ids []string) {
	c.Helper()
	if c.s3.Name != "minio" { // which lists those of one key alone
		return c.unfinished("")
	}
	for key := range c.archive().media {
		ids = append(ids, c.unfinished(key)...)
	}
	return ids
}

// wantExactOnce wants the newest media of each recording that its user did not remove, once,
// with one manifest; and nothing that no manifest describes, but for what Genesys took back.
func (c *crashes) wantExactOnce() {
	c.Helper()
	a := c.archive()
	described := map[string]bool{}
	for _, m := range a.manifests {
		if described[m.Media.Key] {
			c.Errorf("two manifests describe %s", m.Media.Key)
		}
		described[m.Media.Key] = true
		if a.media[m.Media.Key] != (media{m.Media.Size, m.Media.SHA256}) {
			c.Errorf("%s is not what its manifest says", m.Media.Key)
		}
	}
	for _, id := range c.present {
		want, err := c.inbox.Media(id, "WAV")
		if err != nil {
			c.Fatal(err)
		}
		var now struct{ DateModified string }
		if err := json.Unmarshal(c.inbox.JSON(id, false), &now); err != nil {
			c.Fatal(err)
		}
		// One that changed between listing and download is there with its old date, too.
		exact := slices.DeleteFunc(a.of(c.inbox, id), func(m manifest) bool { return m.DateModified != now.DateModified })
		if len(exact) != 1 || exact[0].Media.SHA256 != fmt.Sprintf("%x", want.SHA256) {
			c.Errorf("%s is not exactly once in the archive, with %s: %+v", id, now.DateModified, exact)
		}
	}
	for key := range a.media {
		if !described[key] && !slices.ContainsFunc(c.moved, func(id string) bool { return strings.Contains(key, id) }) {
			c.Errorf("no manifest describes %s", key)
		}
	}
}
