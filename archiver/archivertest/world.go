// Package archivertest is everything that a pass, an audit or a rebuild works with in tests:
// a simulated Genesys with one user's inbox, a bucket of a real server, a ledger in a file,
// and the real clients. It makes no Archiver, so that the archiver's own tests can use it.
package archivertest

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
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
	"github.com/archiverd/archiverd/twins"
	"github.com/archiverd/archiverd/uploads"
)

const (
	Org    = "acme"
	UserID = "9a1f3f0e-5d55-4d0a-8a5e-2f6f2d6f0001"
	// Version and Configuration are what the archive says of archiverd.
	Version       = "v0.0.0-test"
	Configuration = "cafe0000000000000000000000000000000000000000000000000000000000ab"
	// The operations as the simulation counts them.
	OpList, OpGet, OpDelete = "get_userrecordings", "get_userrecording", "delete_userrecording"
	OpDownload, OpLink      = "get_userrecording_transcoding", "media_link"
)

// World is one test's. Its methods end the test if they fail.
type World struct {
	T      *testing.T
	Cloud  *genesystest.Cloud
	User   *genesystest.Inbox
	Server *storagetest.Server
	Bucket string         // its name
	Path   string         // of the ledger
	Ledger *bolt.Ledger   // open
	Format genesys.Format // in which media are archived
	Log    *slog.Logger   // shown if the test fails
	Wire   Wire           // to the store
}

// New makes a world on a server. It ends with the test, and fails the test if the client
// broke a rule of Genesys or the ledger broke one of its own.
func New(t *testing.T, on *Server, lock bool) *World {
	t.Helper()
	r := &World{
		T: t, Server: on.get(t), Path: filepath.Join(t.TempDir(), "ledger.db"), Format: genesys.FormatWAV,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	var err error
	if r.Cloud, err = genesystest.New(genesystest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Cloud.Close()
		for _, v := range r.Cloud.Violations() {
			t.Errorf("violation: %s", v)
		}
	})
	r.User = r.Cloud.AddUser(UserID, "Ada", "ada@example.com")
	r.Bucket = r.Server.NewBucket(t, lock)
	r.OpenLedger()
	t.Cleanup(r.CloseLedger)
	r.Login(r.User)
	return r
}

// Login makes a user's inbox known to the ledger, as archiverd login does.
func (r *World) Login(u *genesystest.Inbox) {
	r.T.Helper()
	err := r.Ledger.EditInbox(context.Background(), Org, u.ID, func(i *state.Inbox) { i.Name, i.Email = u.Name, u.Email })
	if err != nil {
		r.T.Fatal(err)
	}
}

func (r *World) OpenLedger() {
	r.T.Helper()
	var err error
	if r.Ledger, err = bolt.Open(r.Path, bolt.Options{}); err != nil {
		r.T.Fatal(err)
	}
}

func (r *World) CloseLedger() {
	if err := r.Ledger.Check(); err != nil {
		r.T.Errorf("check the ledger: %v", err)
	}
	if err := r.Ledger.Close(); err != nil {
		r.T.Error(err)
	}
}

// Clients reach one user's inbox.
type Clients struct {
	API      *genesys.Client
	Links    *genesys.Links
	Identity Identity
}

// Identity knows whose token a client uses.
type Identity struct {
	*genesys.Tokens
	*genesys.Client
}

// Clients makes the clients of one user's inbox, as the service does.
func (r *World) Clients(u *genesystest.Inbox) Clients {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	r.T.Cleanup(transport.CloseIdleConnections)
	store := &tokenStore{token: genesys.Token{
		Access: u.IssueAccessToken(24 * time.Hour), Refresh: u.IssueRefreshToken(), Expiry: time.Now().Add(24 * time.Hour),
	}}
	tokens := genesys.NewTokens(genesys.TokensOptions{
		LoginURL: r.Cloud.LoginURL(), ClientID: "client", ClientSecret: "secret",
		Grant: genesys.GrantAuthorizationCode, UserID: u.ID, Store: store, Transport: transport,
	})
	client := genesys.NewClient(genesys.ClientOptions{
		APIURL: r.Cloud.APIURL(), Transport: transport, Tokens: tokens,
		Budget: genesys.NewBudget(1e8, genesys.BudgetState{}), UserAgent: "archiverd/test",
	})
	links := genesys.NewLinks(genesys.LinksOptions{Transport: transport, AllowHTTP: true, UserAgent: "archiverd/test"})
	return Clients{client, links, Identity{tokens, client}}
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

// Store opens the bucket over the rig's wire.
func (r *World) Store() *storage.Bucket {
	r.T.Helper()
	o := r.Server.Options(r.Bucket)
	r.Wire.base = o.Transport
	o.Transport = &r.Wire
	b, err := storage.Open(context.Background(), o)
	if err != nil {
		r.T.Fatal(err)
	}
	return b
}

// Parts makes what an Archiver works with beside the bucket and the ledger.
func (r *World) Parts(b *storage.Bucket, kept proof.Retention) (*proof.Prover, *journal.Writer, *uploads.Uploader, twins.Finder) {
	prover := &proof.Prover{Bucket: b, Prefix: "genesys", Ledger: r.Ledger.ID(), Log: r.Log}
	w := &journal.Writer{
		Bucket: b, Ledger: r.Ledger, Prover: prover, Prefix: "genesys", Retention: kept,
		Configuration: Configuration, Version: Version, Log: r.Log,
	}
	return prover, w, &uploads.Uploader{Bucket: b, Ledger: r.Ledger, Prefix: "genesys", Log: r.Log}, twins.Finder{Ledger: r.Ledger}
}

// Add puts n recordings, rec-01 and so on, into the inbox and returns their ids.
func (r *World) Add(n int, edit ...func(*genesystest.Recording)) (ids []string) {
	for i := range n {
		rec := genesystest.Recording{ID: fmt.Sprintf("rec-%02d", i+1), Duration: 100 * time.Millisecond}
		for _, f := range edit {
			f(&rec)
		}
		r.User.Add(rec)
		ids = append(ids, rec.ID)
	}
	return ids
}

// FirstKey is the key that a recording's media get if nothing is in the way.
func (r *World) FirstKey(id string) string {
	r.T.Helper()
	rec, err := genesys.ParseRecording(r.User.JSON(id, false))
	if err != nil {
		r.T.Fatal(err)
	}
	return record.Keys{Prefix: "genesys", Org: Org, Inbox: r.User.ID}.Media(id, rec.DateCreated, r.Format)
}

func (r *World) Key(id string) state.Key { return state.Key{Org: Org, Inbox: r.User.ID, Recording: id} }

func (r *World) Entry(id string) state.Entry {
	r.T.Helper()
	e, err := r.Ledger.Entry(context.Background(), r.Key(id))
	if err != nil {
		r.T.Fatal(err)
	}
	return e
}

func (r *World) WantState(id string, want state.State) state.Entry {
	r.T.Helper()
	e := r.Entry(id)
	if e.State != want {
		r.T.Errorf("%s is %s (%s), want %s", id, e.State, e.LastError, want)
	}
	return e
}

// Edit changes an entry within its state.
func (r *World) Edit(id string, f func(*state.Entry)) {
	r.T.Helper()
	e := r.Entry(id)
	if _, err := r.Ledger.Move(context.Background(), r.Key(id), e.State, e.State, f); err != nil {
		r.T.Fatal(err)
	}
}

// Objects are the keys below a kind of object ("media", "manifests").
func (r *World) Objects(kind string) (keys []string) {
	r.T.Helper()
	for o, err := range r.Store().List(context.Background(), "genesys/"+kind+"/") {
		if err != nil {
			r.T.Fatal(err)
		}
		keys = append(keys, o.Key)
	}
	return keys
}

func (r *World) Read(key string) []byte {
	r.T.Helper()
	body, _, err := r.Store().Get(context.Background(), key, "")
	if err != nil {
		r.T.Fatal(err)
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		r.T.Fatal(err)
	}
	return text
}

func (r *World) Manifest(key string) *record.Manifest {
	r.T.Helper()
	m, err := record.DecodeManifest(r.Read(key))
	if err != nil {
		r.T.Fatal(err)
	}
	return m
}

// WantArchived checks the whole chain of one recording: the ledger's newest
// version, the manifest it names, the media that names, and the bytes of Genesys.
func (r *World) WantArchived(id string) state.Version {
	r.T.Helper()
	e := r.WantState(id, state.StateArchived)
	if len(e.Versions) == 0 {
		r.T.Fatalf("%s has no version", id)
	}
	v := e.Versions[len(e.Versions)-1]
	want, err := r.User.Media(id, string(r.Format))
	if err != nil {
		r.T.Fatal(err)
	}
	sum := sha256.Sum256(r.Read(v.MediaKey))
	m := r.Manifest(v.ManifestKey)
	for what, got := range map[string]string{"ledger": v.SHA256, "stored": hex.EncodeToString(sum[:]), "manifest": m.Media.SHA256} {
		if got != hex.EncodeToString(want.SHA256[:]) {
			r.T.Errorf("%s: the %s SHA-256 is %s, Genesys served %x", id, what, got, want.SHA256)
		}
	}
	if m.Media.Key != v.MediaKey || m.RecordingID != id || m.Media.Size != want.Size || v.Size != want.Size {
		r.T.Errorf("%s: manifest %+v, ledger %+v, want %d bytes", id, m.Media, v, want.Size)
	}
	return v
}

// WantOnce checks that the archive holds one media object and one manifest, and
// no upload under way.
func (r *World) WantOnce() {
	r.T.Helper()
	if media, manifests := r.Objects("media"), r.Objects("manifests"); len(media) != 1 || len(manifests) != 1 {
		r.T.Errorf("want one media object and one manifest, have %q and %q", media, manifests)
	}
	if n := r.Uploads(); n != 0 {
		r.T.Errorf("%d uploads were left under way", n)
	}
}

func (r *World) Uploads() int {
	r.T.Helper()
	out, err := r.Server.Client().ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: &r.Bucket})
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorCode() == "NoSuchUpload" {
		return 0 // gofakes3's word for none
	}
	if err != nil {
		r.T.Fatal(err)
	}
	return len(out.Uploads)
}

// Exists asks the store past the wire.
func (r *World) Exists(key string) bool {
	r.T.Helper()
	b, err := storage.Open(context.Background(), r.Server.Options(r.Bucket))
	if err != nil {
		r.T.Fatal(err)
	}
	_, err = b.Head(context.Background(), key, "")
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		r.T.Fatal(err)
	}
	return err == nil
}

// Requests are the recordings that an operation was asked for, in order.
func (r *World) Requests(op string) (ids []string) {
	for _, e := range r.Cloud.Events() {
		if e.Op == op && e.Inbox == r.User.ID {
			ids = append(ids, e.Recording)
		}
	}
	return ids
}

func WantErr(t *testing.T, err error, kind failure.Kind, texts ...string) {
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

func WantSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// Put creates an object of plain text.
func (r *World) Put(key string, text []byte) {
	r.T.Helper()
	if _, err := r.Store().Put(context.Background(), NewObject(key), text, sha256.Sum256(text)); err != nil {
		r.T.Fatal(err)
	}
}
