package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/integration_test/faults"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
	"github.com/archiverd/archiverd/tally"
)

const (
	faultOrg    = "acme"
	faultUser   = "9a1f3f0e-5d55-4d0a-8a5e-2f6f2d6f0001"
	faultBucket = "recordings"
)

// faultWorld is an organization with one user's inbox, a store and a ledger, on a network
// in memory and with a clock that jumps. Each run is wired as in a process, except for how
// it dials and what it logs.
type faultWorld struct {
	*testing.T
	of     faults.World
	net    *faults.Network
	cloud  *genesystest.Cloud
	user   *genesystest.Inbox
	store  *faults.Store
	server *storagetest.Server
	path   string       // of the ledger
	ledger *ledgerFault // nil: none
	ids    []string
}

// newFaultWorld makes one inside a synctest bubble.
func newFaultWorld(t *testing.T, of faults.World) *faultWorld {
	t.Helper()
	time.Sleep(time.Until(time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC))) // bubbles begin in the year 2000
	w := &faultWorld{T: t, of: of, net: faults.NewNetwork(), path: filepath.Join(fastDir(t), "ledger.db")}
	var err error
	if w.cloud, err = genesystest.New(genesystest.Options{Listen: w.net.Listen, Reencode: of.Fresh}); err != nil {
		t.Fatal(err)
	}
	l, err := w.net.Listen()
	if err != nil {
		t.Fatal(err)
	}
	w.server = storagetest.ServeFake(l, w.net.Dial, func(h http.Handler) http.Handler {
		if !of.ReadAll {
			h = faults.Checking(h)
		}
		w.store = faults.NewStore(h)
		w.store.Locked = true
		return w.store
	})
	if err := w.server.CreateBucket(t.Context(), faultBucket, true); err != nil {
		t.Fatal(err)
	}
	guard := &faults.Guard{Cloud: w.cloud, Format: func() string { return "WAV" }, Keys: w.keys, Read: w.read}
	w.cloud.Configure(func(o *genesystest.Options) { o.OnDelete = guard.Check })
	w.user = w.cloud.AddUser(faultUser, "Ada", "ada@example.com")
	w.ids = []string{"rec-1", "rec-2"}
	w.user.Add(genesystest.Recording{ID: "rec-1", Duration: 100 * time.Millisecond})
	if of.Large {
		w.user.Add(genesystest.Recording{ID: "rec-1", Size: archiver.PartSize + 1000})
	}
	w.user.Add(genesystest.Recording{ID: "rec-2", Duration: 100 * time.Millisecond})
	life := 24 * time.Hour
	if of.Renew {
		life = time.Nanosecond
	}
	w.login(life)
	if of.Left {
		w.leaveUpload()
	}
	return w
}

// leaveUpload leaves an unfinished upload, as a killed process does.
func (w *faultWorld) leaveUpload() {
	w.Helper()
	key := "genesys/media/org=acme/inbox=" + faultUser + "/left.wav"
	u, err := w.server.Client().CreateMultipartUpload(w.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(faultBucket), Key: &key})
	if err != nil {
		w.Fatal(err)
	}
	w.withLedger(func(l *bolt.Ledger) error {
		return l.AddUpload(w.Context(), state.UploadRef{Key: key, ID: *u.UploadId, Started: time.Now()})
	})
}

// fastDir is a directory in memory where there is one: a ledger on disk would spend most
// of a cell's time waiting for the disk.
func fastDir(t *testing.T) string {
	const shm = "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(shm, "archiverd-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (w *faultWorld) close() {
	w.cloud.Close()
	if err := w.server.Close(); err != nil {
		w.Error(err)
	}
}

// login stores a token in the ledger, as the user's login does.
func (w *faultWorld) login(life time.Duration) {
	w.Helper()
	w.withLedger(func(l *bolt.Ledger) error {
		err := l.EditInbox(w.Context(), faultOrg, w.user.ID, func(i *state.Inbox) { i.Name, i.Email = w.user.Name, w.user.Email })
		if err != nil {
			return err
		}
		t := state.Token{Access: w.user.IssueAccessToken(life), Refresh: w.user.IssueRefreshToken(), Expiry: time.Now().Add(life)}
		return l.Login(w.Context(), faultOrg, w.user.ID, t, nil)
	})
}

func (w *faultWorld) withLedger(f func(*bolt.Ledger) error) {
	w.Helper()
	l, err := bolt.Open(w.path, bolt.Options{})
	if err != nil {
		w.Fatal(err)
	}
	if err := errors.Join(f(l), l.Close()); err != nil {
		w.Fatal(err)
	}
}

// entries returns the ledger's entries of the recordings.
func (w *faultWorld) entries() map[string]state.Entry {
	w.Helper()
	all := map[string]state.Entry{}
	w.withLedger(func(l *bolt.Ledger) error {
		return errors.Join(l.Check(), l.Scan(w.Context(), faultOrg, w.user.ID, func(k state.Key, e *state.Entry) error {
			all[k.Recording] = *e
			return nil
		}))
	})
	return all
}

// keys and read read the bucket without any fault.
func (w *faultWorld) keys(prefix string) (keys []string, err error) {
	pages := s3.NewListObjectsV2Paginator(w.server.Client(), &s3.ListObjectsV2Input{Bucket: aws.String(faultBucket), Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.Background())
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys, nil
}

func (w *faultWorld) read(key string) ([]byte, error) {
	out, err := w.server.Client().GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String(faultBucket), Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// faultOutcome is the result of a run, as its user sees it.
type faultOutcome struct {
	code   int
	report string // the inbox's message, else a recording's
}

// reach is a process's access to the network and the bucket.
func (w *faultWorld) reach() (*network.Transport, *storage.Bucket) {
	w.Helper()
	transport, err := network.NewTransport(network.Options{Dial: w.net.Dial})
	if err != nil {
		w.Fatal(err)
	}
	o := w.server.Options(faultBucket)
	o.Transport, o.UserAgent = transport, userAgent()
	b, err := storage.Open(w.Context(), o)
	if err != nil {
		w.Fatal(err)
	}
	return transport, b
}

// run makes one run in a process of its own.
func (w *faultWorld) run() faultOutcome {
	w.Helper()
	transport, b := w.reach()
	defer transport.CloseIdleConnections()
	if err := b.Check(w.Context()); err != nil {
		return faultOutcome{codeOf(err), err.Error()}
	}
	l, err := bolt.Open(w.path, bolt.Options{})
	if err != nil {
		w.Fatal(err)
	}
	r := runFlags{only: &fleet.Selection{}}.request(nil, nil)
	r.Follow = unseen
	done, err := w.fleet(transport, b, l).Run(w.Context(), context.Background(), r)
	failed := int64(0)
	if known, e := l.Inbox(w.Context(), faultOrg, w.user.ID); e != nil {
		w.Fatal(e)
	} else {
		failed = known.Counts[state.StateFailed]
	}
	if e := l.Close(); e != nil {
		w.Fatal(e)
	}
	switch {
	case err != nil:
		return faultOutcome{exitUnexpected, err.Error()}
	case done.Inboxes[0].Err != nil:
		return faultOutcome{done.ExitCode, done.Inboxes[0].Err.Error()}
	case failed > 0:
		return faultOutcome{done.ExitCode, w.failure()}
	}
	return faultOutcome{done.ExitCode, result(done.Inboxes[0], done.Failures[0])}
}

// unseen shows no progress.
func unseen(*tally.Tally) (finish func()) { return func() {} }

// fleet is wired as it always is, but for how it dials.
func (w *faultWorld) fleet(transport *network.Transport, b *storage.Bucket, l *bolt.Ledger) *fleet.Fleet {
	w.Helper()
	c := w.config()
	log := slog.New(slog.NewTextHandler(w.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	f := opened{c, b, l}.newFleet(log, hooks{metrics: watch.NewMetrics("test")})
	links := genesys.NewLinks(genesys.LinksOptions{Transport: transport, AllowHTTP: true, UserAgent: userAgent()})
	if w.ledger != nil {
		failing := failingLedger{l, w.ledger}
		f.Archiver.Ledger, f.Archiver.Journal.Ledger, f.Archiver.Uploads.Ledger = failing, failing, failing
	}
	f.Hosts = func(o config.Organization) (*fleet.Hosts, error) {
		return &fleet.Hosts{Org: o, API: transport, Links: links, UserAgent: userAgent()}, nil
	}
	return f
}

func (w *faultWorld) config() *config.Config {
	w.Helper()
	api := "transcoding"
	if w.of.Media {
		api = "media"
	}
	text := fmt.Sprintf(`
organizations:
  - {name: %s, api_url: %q, login_url: %q, client_id: client, client_secret: secret, grant: authorization_code, format: WAV, download_api: %s}
storage: {endpoint: %q, region: us-east-1, bucket: %s, prefix: genesys, object_lock: {mode: governance, retain_for: 7y}}
state: {path: %q}
transfer: {min_age: 0s, workers: 2, memory: 16MiB}
delete_originals: {enabled: true, after: 0s}
`, faultOrg, w.cloud.APIURL(), w.cloud.LoginURL(), api, w.server.Endpoint, faultBucket, w.path)
	path := filepath.Join(filepath.Dir(w.path), "archiverd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.Fatal(err)
	}
	c, err := config.Load(path, func(string) (string, bool) { return "", false })
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// failure is the first failed recording's message.
func (w *faultWorld) failure() string {
	all := w.entries()
	for _, id := range w.ids {
		if e := all[id]; e.State == state.StateFailed {
			return id + ": " + e.LastError
		}
	}
	return ""
}

// settled tells whether everything is archived, deleted and known to be.
func (w *faultWorld) settled() bool {
	w.Helper()
	all := w.entries()
	for _, id := range w.ids {
		if all[id].State != state.StateDeleted {
			return false
		}
	}
	return len(w.user.IDs()) == 0
}

// wantExact checks that the bucket holds every recording's bytes exactly once under the
// keys that the ledger names, and nothing else but the leftovers that allowed names.
func (w *faultWorld) wantExact() {
	w.Helper()
	all := w.entries()
	exact := map[string]int{}
	keys, err := w.keys("genesys/media/")
	if err != nil {
		w.Fatal(err)
	}
	for _, key := range keys {
		if slices.ContainsFunc(w.ids, func(id string) bool { return slices.Contains(all[id].BadKeys, key) }) {
			continue // known not to be trusted
		}
		body, err := w.read(key)
		if err != nil {
			w.Fatal(err)
		}
		for _, id := range w.ids {
			want, err := w.user.Media(id, "WAV")
			if err != nil {
				w.Fatal(err)
			}
			if fmt.Sprintf("%x", sha256.Sum256(body)) == fmt.Sprintf("%x", want.SHA256) {
				exact[id]++
			} else if strings.Contains(key, id) {
				w.Errorf("%s holds other bytes than Genesys served, and nobody knows", key)
			}
		}
	}
	for _, id := range w.ids {
		if e := all[id]; len(e.Versions) != 1 {
			w.Errorf("%s has %d versions in the ledger", id, len(e.Versions))
		}
		if exact[id] != 1 {
			w.Errorf("%s is %d times in the bucket: %q", id, exact[id], keys)
		}
	}
}
