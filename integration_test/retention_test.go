package integration_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// lock is a retention as the plain SDK shows it.
type lock struct {
	mode  string
	until time.Time
}

func (w *world) lockOf(key string) lock {
	w.Helper()
	out, err := w.s3.Client().HeadObject(w.Context(), &s3.HeadObjectInput{Bucket: &w.bucket, Key: &key})
	if err != nil {
		w.Fatalf("head %s: %v", key, err)
	}
	return lock{string(out.ObjectLockMode), aws.ToTime(out.ObjectLockRetainUntilDate).UTC()}
}

// sevenYears is the retention that lockedAs configures, by the words of the
// documentation: calendar years, rounded up to the next midnight UTC.
func sevenYears(from time.Time) time.Time {
	end := from.UTC().AddDate(7, 0, 0)
	day := end.Truncate(24 * time.Hour)
	if day.Before(end) {
		day = day.AddDate(0, 0, 1)
	}
	return day
}

// puts are the headers of requests that made a locked object.
type puts struct {
	mu   sync.Mutex
	seen []http.Header
}

func (p *puts) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		creates := r.Method == http.MethodPut || r.Method == http.MethodPost && r.URL.Query().Has("uploads")
		if creates && r.Header.Get("X-Amz-Object-Lock-Mode") != "" {
			p.mu.Lock()
			p.seen = append(p.seen, r.Header.Clone())
			p.mu.Unlock()
		}
		next.ServeHTTP(rw, r)
	})
}

// TestRetention wants media, manifest and journal locked as configured, counted from the
// recording's creation where that is believable, on real servers in both modes and
// with either checksum.
func TestRetention(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "minio": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t)
			for _, mode := range []string{"governance", "compliance"} {
				for _, checksum := range []string{"auto", "md5"} {
					t.Run(mode+" "+checksum, func(t *testing.T) {
						t.Parallel()
						newWorldOn(t, server, genesystest.Options{}).retains(mode, checksum)
					})
				}
			}
		})
	}
}

func (w *world) retains(mode, checksum string) {
	sent := &puts{}
	w.between(sent.around)
	w.lockedAs(mode)
	w.config["storage"].(map[string]any)["checksum"] = checksum
	inbox := w.cloud.ClientInbox()
	now := time.Now()
	created := map[string]time.Time{ // when the retention begins; zero: when it is archived
		"small":     now.Add(-26 * time.Hour).Truncate(time.Millisecond),
		"large":     now.AddDate(-1, 0, 0).Truncate(time.Millisecond), // in parts
		"century":   {},
		"tomorrow":  {},
		"long past": now.AddDate(-8, 0, 0).Truncate(time.Millisecond),
	}
	inbox.Add(genesystest.Recording{ID: "small", DateCreated: created["small"]})
	inbox.Add(genesystest.Recording{ID: "large", DateCreated: created["large"], Size: 9 << 20})
	inbox.Add(genesystest.Recording{ID: "century", DateCreated: time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)})
	inbox.Add(genesystest.Recording{ID: "tomorrow", DateCreated: now.Add(24 * time.Hour), DateModified: now.Add(-time.Hour).Truncate(time.Millisecond)})
	inbox.Add(genesystest.Recording{ID: "long past", DateCreated: created["long past"]})
	w.once(0)
	a := w.wantArchived(all(inbox))
	for id, from := range created {
		m := a.of(inbox, id)[0]
		ends := []time.Time{sevenYears(from)}
		if from.IsZero() {
			ends = []time.Time{sevenYears(now), sevenYears(time.Now())} // midnight may have passed meanwhile
		}
		want := strings.ToUpper(mode)
		if id == "long past" {
			want, ends = "", []time.Time{{}}
		}
		w.wantLock(m.Media.Key, want, ends...)
		w.wantLock(m.key, want, ends...)
		w.wantSaid(m, want)
	}
	journal := 0
	for _, o := range w.listing() {
		if !strings.HasPrefix(o.Key, "genesys/journal/") {
			continue
		}
		journal++
		if have := w.lockOf(o.Key); have.mode != strings.ToUpper(mode) || have.until.Before(sevenYears(now)) {
			w.Errorf("%s is locked %v", o.Key, have)
		}
	}
	if journal == 0 {
		w.Error("there is no journal")
	}
	w.wantChecksums(sent, checksum)
	w.deletesAll(inbox)
}

func (w *world) wantLock(key, mode string, ends ...time.Time) {
	w.Helper()
	have := w.lockOf(key)
	for _, end := range ends {
		if have == (lock{mode, end}) {
			return
		}
	}
	w.Errorf("%s is locked %v, want %s until one of %v", key, have, mode, ends)
}

// wantSaid wants the manifest to tell the media's lock, or why there is none.
func (w *world) wantSaid(m manifest, mode string) {
	w.Helper()
	body, err := w.read(m.key)
	if err != nil {
		w.Fatal(err)
	}
	var said struct {
		Retention struct {
			Mode, Note string
			Until      time.Time
		}
	}
	if err := json.Unmarshal(body, &said); err != nil {
		w.Fatal(err)
	}
	r := said.Retention
	if (lock{r.Mode, r.Until}) != w.lockOf(m.Media.Key) || (mode == "") != (r.Note != "") {
		w.Errorf("%s says %+v of a lock %v", m.key, r, w.lockOf(m.Media.Key))
	}
}

// wantChecksums wants the checksum on each locked put that the store was said to want:
// one with Object Lock is refused without any.
func (w *world) wantChecksums(sent *puts, checksum string) {
	w.Helper()
	sent.mu.Lock()
	defer sent.mu.Unlock()
	if len(sent.seen) < 8 { // four locked recordings, media and manifest
		w.Errorf("%d locked objects were made", len(sent.seen))
	}
	for _, h := range sent.seen {
		md5, amz := h.Get("Content-MD5") != "", h.Get("X-Amz-Checksum-Sha256") != ""
		start := h.Get("Content-Length") == "0" || h.Get("X-Amz-Checksum-Algorithm") != "" // an upload's begin has no body
		switch {
		case checksum == "auto" && md5, checksum == "md5" && (amz || h.Get("X-Amz-Checksum-Algorithm") != ""):
			w.Errorf("a store of checksum %s was sent %v", checksum, h)
		case !start && h.Get("X-Amz-Content-Sha256") != emptySHA256 && !md5 && !amz:
			w.Errorf("a locked put had no checksum: %v", h)
		}
	}
}

const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// TestLockIgnored has a store that takes the lock's headers and forgets them. Nothing
// counts as archived there, and no original is deleted.
func TestLockIgnored(t *testing.T) {
	t.Parallel()
	forgets := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			for name := range r.Header {
				if strings.HasPrefix(name, "X-Amz-Object-Lock-") {
					r.Header.Del(name)
				}
			}
			next.ServeHTTP(rw, r)
		})
	}
	w := newWorldOn(t, storagetest.Fake(t, forgets), genesystest.Options{})
	w.deleting()
	w.lockedAs("compliance")
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	for range 2 { // the second finds the media of the first
		if r := w.once(2); !strings.Contains(r.stderr, "does not hold the retention asked for") {
			t.Errorf("not said: %s", r)
		}
	}
	if n := w.cloud.Requests(opDelete); n != 0 || len(inbox.IDs()) != 3 {
		t.Errorf("%d deletions were asked for", n)
	}
	for id, e := range w.entries(inbox) {
		if e.State == state.StateArchived {
			t.Errorf("%s counts as archived", id)
		}
	}
	if found := w.doctor(6); found["store.lock"].Result != "fail" || !strings.Contains(found["store.lock"].Found, "ignored it") {
		t.Errorf("the doctor found %+v", found["store.lock"])
	}
}

// TestLockTakenAway has someone with more rights shorten a lock before the original is
// deleted. That one stays and is reported; the others are no worse for it.
func TestLockTakenAway(t *testing.T) {
	t.Parallel()
	server := storagetest.Versitygw(t)
	for name, object := range map[string]func(manifest) string{
		"media":    func(m manifest) string { return m.Media.Key },
		"manifest": func(m manifest) string { return m.key },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server, genesystest.Options{})
			w.lockedAs("governance")
			inbox := w.cloud.ClientInbox()
			fill(inbox, 2)
			w.once(0)
			key := object(w.archive().of(inbox, recordingID(0))[0])
			for _, o := range w.listing() {
				if o.Key == key {
					w.shortenLock(key, o.VersionID)
				}
			}
			w.deleting()
			w.once(6)
			w.wantState(state.StateArchived, inbox, recordingID(0))
			w.wantState(state.StateDeleteRequested, inbox, recordingID(1))
		})
	}
}

// TestClocksApart lets the clock of either service be off while deletions are on: the
// archive goes on, and nothing is deleted.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	const apart = 6 * time.Minute
	for name, skew := range map[string]func(*world){
		"Genesys": func(w *world) { w.cloud.Configure(func(o *genesystest.Options) { o.DateSkew = apart }) },
		"the store": func(w *world) {
			w.changes(func(_ *http.Request, h http.Header) {
				h.Set("Date", time.Now().Add(-apart).UTC().Format(http.TimeFormat))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, genesystest.Options{})
			skew(w)
			w.deleting()
			inbox := w.cloud.ClientInbox()
			fill(inbox, 2)
			if r := w.run("run", "--once"); !strings.Contains(r.stderr, "that of "+name+" differ by") {
				t.Errorf("not said: %s", r)
			}
			w.wantArchived(all(inbox))
			w.wantState(state.StateArchived, inbox)
			if n := w.cloud.Requests(opDelete); n != 0 {
				t.Errorf("%d deletions were asked for", n)
			}
		})
	}
}
