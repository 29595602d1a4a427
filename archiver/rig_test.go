package archiver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
)

const (
	org  = "acme"
	user = "9a1f3f0e-5d55-4d0a-8a5e-2f6f2d6f0001"
	// The operations as the simulation counts them.
	opList, opGet, opDelete = "get_userrecordings", "get_userrecording", "delete_userrecording"
	opDownload, opLink      = "get_userrecording_transcoding", "media_link"
)

// rig is everything that a pass works with: a simulated Genesys with one user's
// inbox, a bucket of a real server, a ledger in a file, and the real clients.
type rig struct {
	t       *testing.T
	cloud   *genesystest.Cloud
	user    *genesystest.Inbox
	server  *storagetest.Server
	bucket  string
	path    string       // of the ledger
	ledger  *bolt.Ledger // open
	options Options      // of every Archiver that the rig makes
	in      Inbox
	wire    wire // to the store
}

// newRig makes one on a server. It ends with the test, and fails it where the
// client broke a rule of Genesys' or the ledger one of its own.
func newRig(t *testing.T, on *sharedServer, lock bool) *rig {
	t.Helper()
	r := &rig{t: t, server: on.get(t), path: filepath.Join(t.TempDir(), "ledger.db")}
	var err error
	if r.cloud, err = genesystest.New(genesystest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.cloud.Close()
		for _, v := range r.cloud.Violations() {
			t.Errorf("violation: %s", v)
		}
	})
	r.user = r.cloud.AddUser(user, "Ada", "ada@example.com")
	r.bucket = r.server.NewBucket(t, lock)
	r.openLedger()
	t.Cleanup(r.closeLedger)
	r.options = Options{
		Prefix: "genesys", Workers: 2, Memory: 2 * PartSize, Version: "v0.0.0-test",
		Retention: Retention{Until: func(from time.Time) time.Time { return from.AddDate(7, 0, 0) }},
		Delete:    Deletion{MaxPerPass: 1000},
		Log:       slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if lock {
		r.options.Retention.Mode = "GOVERNANCE"
	}
	r.in = r.inboxOf(r.user)
	r.login(r.user)
	return r
}

// login makes a user's inbox known to the ledger, as archiverd login does.
func (r *rig) login(u *genesystest.Inbox) {
	r.t.Helper()
	err := r.ledger.EditInbox(context.Background(), org, u.ID, func(i *state.Inbox) { i.Name, i.Email = u.Name, u.Email })
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) openLedger() {
	r.t.Helper()
	var err error
	if r.ledger, err = bolt.Open(r.path, bolt.Options{}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) closeLedger() {
	if err := r.ledger.Check(); err != nil {
		r.t.Errorf("check the ledger: %v", err)
	}
	if err := r.ledger.Close(); err != nil {
		r.t.Error(err)
	}
}

// inboxOf makes the clients of one user's inbox, as the service does.
func (r *rig) inboxOf(u *genesystest.Inbox) Inbox {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	r.t.Cleanup(transport.CloseIdleConnections)
	store := &tokenStore{token: genesys.Token{
		Access: u.IssueAccessToken(24 * time.Hour), Refresh: u.IssueRefreshToken(), Expiry: time.Now().Add(24 * time.Hour),
	}}
	tokens := genesys.NewTokens(genesys.TokensOptions{
		LoginURL: r.cloud.LoginURL(), ClientID: "client", ClientSecret: "secret",
		Grant: genesys.GrantAuthorizationCode, UserID: u.ID, Store: store, Transport: transport,
	})
	client := genesys.NewClient(genesys.ClientOptions{
		APIURL: r.cloud.APIURL(), Transport: transport, Tokens: tokens,
		Budget: genesys.NewBudget(1e8, genesys.BudgetState{}), UserAgent: "archiverd/test",
	})
	return Inbox{
		Org: org, ID: u.ID, API: client,
		Links:       genesys.NewLinks(genesys.LinksOptions{Transport: transport, AllowHTTP: true, UserAgent: "archiverd/test"}),
		Identity:    confirmer{tokens, client},
		DownloadAPI: genesys.DownloadTranscoding, Format: genesys.FormatWAV, PageSize: 100,
	}
}

type confirmer struct {
	*genesys.Tokens
	*genesys.Client
}

type tokenStore struct {
	mu    sync.Mutex
	token genesys.Token
}

func (s *tokenStore) LoadToken(context.Context) (genesys.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.token, nil
}

func (s *tokenStore) SaveToken(_ context.Context, t genesys.Token) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token = t
	return nil
}

// store opens the bucket over the rig's wire.
func (r *rig) store() *storage.Bucket {
	r.t.Helper()
	o := r.server.Options(r.bucket)
	r.wire.base = o.Transport
	o.Transport = &r.wire
	b, err := storage.Open(context.Background(), o)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

// archiver makes one, as a new process would.
func (r *rig) archiver(edit ...func(*Options)) *Archiver {
	r.t.Helper()
	o := r.options
	o.Bucket, o.Ledger = r.store(), r.ledger
	for _, f := range edit {
		f(&o)
	}
	return New(o)
}

// pass runs one pass over the inbox in a new process.
func (r *rig) pass(edit ...func(*Options)) InboxReport {
	r.t.Helper()
	ctx := context.Background()
	return r.archiver(edit...).Run(ctx, ctx, []Inbox{r.in}).Inboxes[0]
}

// passed runs one pass that must not fail.
func (r *rig) passed(edit ...func(*Options)) InboxReport {
	r.t.Helper()
	report := r.pass(edit...)
	if report.Err != nil {
		r.t.Fatalf("the pass failed: %v", report.Err)
	}
	return report
}

func deleting(o *Options) { o.Delete.Enabled = true }

// add puts n recordings, rec-01 and so on, into the inbox and returns their ids.
func (r *rig) add(n int, edit ...func(*genesystest.Recording)) (ids []string) {
	for i := range n {
		rec := genesystest.Recording{ID: fmt.Sprintf("rec-%02d", i+1), Duration: 100 * time.Millisecond}
		for _, f := range edit {
			f(&rec)
		}
		r.user.Add(rec)
		ids = append(ids, rec.ID)
	}
	return ids
}

func (r *rig) key(id string) state.Key { return state.Key{Org: org, Inbox: r.in.ID, Recording: id} }

func (r *rig) entry(id string) state.Entry {
	r.t.Helper()
	e, err := r.ledger.Entry(context.Background(), r.key(id))
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *rig) wantState(id string, want state.State) state.Entry {
	r.t.Helper()
	e := r.entry(id)
	if e.State != want {
		r.t.Errorf("%s is %s (%s), want %s", id, e.State, e.LastError, want)
	}
	return e
}

// edit changes an entry within its state.
func (r *rig) edit(id string, f func(*state.Entry)) {
	r.t.Helper()
	e := r.entry(id)
	if _, err := r.ledger.Move(context.Background(), r.key(id), e.State, e.State, f); err != nil {
		r.t.Fatal(err)
	}
}

// objects are the keys below a kind of object ("media", "manifests").
func (r *rig) objects(kind string) (keys []string) {
	r.t.Helper()
	for o, err := range r.store().List(context.Background(), "genesys/"+kind+"/") {
		if err != nil {
			r.t.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func (r *rig) read(key string) []byte {
	r.t.Helper()
	body, _, err := r.store().Get(context.Background(), key, "")
	if err != nil {
		r.t.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		r.t.Fatal(err)
	}
	return text
}

func (r *rig) manifest(key string) *record.Manifest {
	r.t.Helper()
	m, err := record.DecodeManifest(r.read(key))
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// wantArchived checks the whole chain of one recording: the ledger's newest
// version, the manifest it names, the media that names, and the bytes of Genesys.
func (r *rig) wantArchived(id string) state.Version {
	r.t.Helper()
	e := r.wantState(id, state.StateArchived)
	if len(e.Versions) == 0 {
		r.t.Fatalf("%s has no version", id)
	}
	v := e.Versions[len(e.Versions)-1]
	want, err := r.user.Media(id, string(r.in.Format))
	if err != nil {
		r.t.Fatal(err)
	}
	sum := sha256.Sum256(r.read(v.MediaKey))
	m := r.manifest(v.ManifestKey)
	for what, got := range map[string]string{"ledger": v.SHA256, "stored": hex.EncodeToString(sum[:]), "manifest": m.Media.SHA256} {
		if got != hex.EncodeToString(want.SHA256[:]) {
			r.t.Errorf("%s: the %s SHA-256 is %s, Genesys served %x", id, what, got, want.SHA256)
		}
	}
	if m.Media.Key != v.MediaKey || m.RecordingID != id || m.Media.Size != want.Size || v.Size != want.Size {
		r.t.Errorf("%s: manifest %+v, ledger %+v, want %d bytes", id, m.Media, v, want.Size)
	}
	return v
}

// wantOnce checks that the archive holds one media object and one manifest, and
// no upload under way.
func (r *rig) wantOnce() {
	r.t.Helper()
	if media, manifests := r.objects("media"), r.objects("manifests"); len(media) != 1 || len(manifests) != 1 {
		r.t.Errorf("want one media object and one manifest, have %q and %q", media, manifests)
	}
	if n := r.uploads(); n != 0 {
		r.t.Errorf("%d uploads were left under way", n)
	}
}

func (r *rig) uploads() int {
	r.t.Helper()
	out, err := r.server.Client().ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &r.bucket})
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "NoSuchUpload" {
		return 0 // gofakes3's word for none
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return len(out.Uploads)
}

// exists asks the store past the wire.
func (r *rig) exists(key string) bool {
	r.t.Helper()
	b, err := storage.Open(context.Background(), r.server.Options(r.bucket))
	if err != nil {
		r.t.Fatal(err)
	}
	_, err = b.Head(context.Background(), key, "")
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// requests are the recordings that an operation was asked for, in order.
func (r *rig) requests(op string) (ids []string) {
	for _, e := range r.cloud.Events() {
		if e.Op == op && e.Inbox == r.in.ID {
			ids = append(ids, e.Recording)
		}
	}
	return ids
}

func wantErr(t *testing.T, err error, kind failure.Kind, texts ...string) {
	t.Helper()
	if failure.KindOf(err) != kind || err == nil {
		t.Errorf("kind %d of error %v, want %d", failure.KindOf(err), err, kind)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
}

func wantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}
