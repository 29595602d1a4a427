package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/service/watch"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/storage"
)

// clientInbox is the one inbox of an organization that uses client credentials.
const clientInbox = "client"

// openBucket reaches for the bucket before anything is created or started.
func openBucket(ctx context.Context, c *config.Config) (*storage.Bucket, error) {
	return openObservedBucket(ctx, c, nil, nil)
}

// openObservedBucket tells observe of every request, and moved whenever bytes move.
func openObservedBucket(ctx context.Context, c *config.Config, observe func(op string, status int), moved func()) (*storage.Bucket, error) {
	b, err := newBucket(ctx, c, observe, moved)
	if err != nil {
		return nil, err
	}
	return b, storageFailure(b.Check(ctx))
}

func newBucket(ctx context.Context, c *config.Config, observe func(op string, status int), moved func()) (*storage.Bucket, error) {
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile, Moved: moved})
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	b, err := storage.Open(ctx, storage.Options{
		Endpoint:        c.Storage.Endpoint,
		Region:          c.Storage.Region,
		Bucket:          c.Storage.Bucket,
		Prefix:          c.Storage.Prefix,
		PathStyle:       c.Storage.PathStyle,
		AccessKeyID:     c.Storage.AccessKeyID,
		SecretAccessKey: c.Storage.SecretAccessKey.Reveal(),
		Again:           storageKeys(c),
		Encryption:      c.Storage.Encryption.Mode,
		KMSKeyID:        c.Storage.Encryption.KMSKeyID,
		StorageClass:    c.Storage.StorageClass,
		Checksum:        c.Storage.Checksum,
		Transport:       transport,
		UserAgent:       userAgent(),
		Observe:         observe,
	})
	return b, fail(exitUsage, err)
}

// storageFailure gives an error of the store its exit code.
func storageFailure(err error) error {
	var s *storage.Error
	switch {
	case err == nil:
		return nil
	case storage.SetUp(err):
		return fail(exitUsage, err)
	case errors.As(err, &s) && s.Temporary():
		return fail(exitTemporary, err)
	}
	return fail(exitUnexpected, err)
}

// openLedger opens the ledger that belongs to the configuration.
func openLedger(c *config.Config, readOnly bool) (*bolt.Ledger, error) {
	l, err := bolt.Open(c.State.Path, bolt.Options{Binding: binding(c), SealKey: c.State.SealKey, ReadOnly: readOnly})
	if errors.Is(err, bolt.ErrHeld) {
		return nil, fail(exitHeld, err)
	}
	return l, fail(exitUsage, err)
}

// binding is what a ledger of the configuration belongs to.
func binding(c *config.Config) state.Binding {
	b := state.Binding{
		Endpoint:      c.Storage.Endpoint,
		Bucket:        c.Storage.Bucket,
		Prefix:        c.Storage.Prefix,
		Organizations: map[string]state.OrgBinding{},
	}
	for _, o := range c.Organizations {
		b.Organizations[o.Name] = state.OrgBinding{APIHost: host(o.APIURL), ClientID: o.ClientID}
	}
	return b
}

// host and hostname take apart a URL that the configuration has validated.
func host(rawURL string) string {
	u, _ := url.Parse(rawURL)
	return u.Host
}

func hostname(rawURL string) string {
	u, _ := url.Parse(rawURL)
	return u.Hostname()
}

func deletion(c *config.Config) archiver.Deletion {
	return archiver.Deletion{
		Enabled:    c.DeleteOriginals.Enabled,
		After:      c.DeleteOriginals.After,
		MaxPerPass: c.DeleteOriginals.MaxPerPass,
		Unproved:   c.DeleteOriginals.Unproved,
		ReadBack:   c.DeleteOriginals.ReadBack,
	}
}

func newArchiver(c *config.Config, b *storage.Bucket, l *bolt.Ledger, log *slog.Logger) *archiver.Archiver {
	return archiver.New(archiver.Options{
		Bucket:    b,
		Ledger:    l,
		Prefix:    c.Storage.Prefix,
		Workers:   c.Transfer.Workers,
		Memory:    c.Transfer.Memory,
		Bandwidth: c.Transfer.Bandwidth,
		MinAge:    c.Transfer.MinAge,
		Delete:    deletion(c),
		Retention: retention(c),
		Version:   version(),
		Log:       log,

		Configuration: c.Hash(),
	})
}

// retention is the one configured, in S3's words.
func retention(c *config.Config) archiver.Retention {
	r := archiver.Retention{Until: c.Storage.ObjectLock.RetainFor.After}
	if mode := c.Storage.ObjectLock.Mode; mode != "none" {
		r.Mode = strings.ToUpper(mode)
	}
	return r
}

// fleet is every inbox of a configuration with the means to reach it, and what
// archives them. It outlives a run: tokens, connections, budgets and the archiver's
// canary are kept for the next one. Its methods are for one caller at a time.
type fleet struct {
	config   *config.Config
	ledger   *bolt.Ledger
	archiver *archiver.Archiver
	metrics  *watch.Metrics
	log      *slog.Logger
	started  time.Time
	hosts    map[string]*hosts            // of each organization
	known    map[[2]string]archiver.Inbox // by organization and id
	moved    func()                       // told whenever bytes move; may be nil

	sending     sync.WaitGroup // the heartbeat after a run: who makes the run waits for it
	noDeletions atomic.Bool    // while a run is under way, deletions were switched off
}

func newFleet(c *config.Config, b *storage.Bucket, l *bolt.Ledger, m *watch.Metrics, log *slog.Logger) *fleet {
	f := &fleet{
		config: c, ledger: l, archiver: newArchiver(c, b, l, log), metrics: m, log: log, started: time.Now(),
		hosts: map[string]*hosts{}, known: map[[2]string]archiver.Inbox{},
	}
	f.archiver.Observer = m
	f.archiver.Delete.Halted = &f.noDeletions
	return f
}

// run makes one pass over every selected inbox and gives its exit code. follow shows
// the progress until the function that it returns is called. A run over all inboxes
// is kept in the ledger, from its start on: the schedule goes by it. stop ends the run
// soon; ctx must outlive it.
func (f *fleet) run(ctx, stop context.Context, flags runFlags, follow func(*archiver.Progress) (finish func())) (report *archiver.Report, code int, err error) {
	kept := state.Run{ID: rand.Text(), Start: time.Now().UTC()}
	if *flags.only == (selection{}) {
		if err := f.ledger.AddRun(ctx, kept); err != nil {
			return nil, 0, err
		}
		defer func() {
			kept.End, kept.ExitCode = time.Now().UTC(), code
			if err != nil {
				kept.ExitCode, kept.Error = codeOf(err), err.Error()
			}
			err = errors.Join(err, f.ledger.AddRun(ctx, kept))
		}()
	}
	defer recovered(os.Stderr, &err)
	if err := f.endWaits(ctx, flags); err != nil {
		return nil, 0, err
	}
	inboxes, err := f.inboxes(ctx, *flags.only)
	if err != nil {
		return nil, 0, err
	}
	before, recordings := map[[2]string]state.Inbox{}, int64(0)
	for _, in := range inboxes {
		known, err := f.ledger.Inbox(ctx, in.Org, in.ID)
		if err != nil {
			return nil, 0, err
		}
		before[[2]string{in.Org, in.ID}] = known
		recordings += known.Counts[state.StateListed] + known.Counts[state.StateFailed] + known.Counts[state.StateArchived]
	}
	abandon, cancel := withGrace(stop, f.config.ShutdownGrace)
	defer cancel()
	defer collectRarely(f.config.Transfer.Memory + recordings*listedRoom + heapRoom)()
	finish := follow(&f.archiver.Progress)
	report = f.archiver.Run(abandon, stop, inboxes)
	finish()
	failing, err := f.failures(ctx, report)
	if err != nil {
		return nil, 0, err
	}
	for _, in := range report.Inboxes {
		p := in.Pass
		kept.Inboxes++
		kept.Archived += p.Archived
		kept.Failed += p.Failed
		kept.DeleteRequested += p.DeleteRequested
		kept.Bytes += p.Bytes
	}
	code = runCode(report, failing, flags.strict)
	f.log.Info("run done", "inboxes", len(inboxes), "exit_code", code, "took", report.End.Sub(report.Start).Round(time.Millisecond).String())
	f.heartbeat(stop, report, before, failing)
	return report, code, nil
}

// collectRarely has the garbage collector work less during a run, until the function
// it returns is called: a recording leaves little behind, but there are many. Where
// the process takes more than so many bytes the collector works as hard as it has to.
// An operator's own GOGC and GOMEMLIMIT hold.
func collectRarely(memory int64) (restore func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(400), debug.SetMemoryLimit(memory)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// What a run takes beside its buffers, in bytes.
const (
	heapRoom   = 32 << 20
	listedRoom = 64 // for each recording that the ledger has in an inbox, and the run remembers
)

// failures looks up what the ledger counts as failed in each inbox of the report.
func (f *fleet) failures(ctx context.Context, report *archiver.Report) ([]failures, error) {
	failing := make([]failures, len(report.Inboxes))
	for i, in := range report.Inboxes {
		known, err := f.ledger.Inbox(ctx, in.Org, in.Inbox)
		if err != nil {
			return nil, err
		}
		failing[i] = failures{known.Counts[state.StateFailed] - known.NeedsPerson, known.NeedsPerson}
		log := f.log.With("org", in.Org, "inbox", in.Inbox)
		if in.Err != nil {
			log.Error("the pass ended early", archiver.ErrorAttr(in.Err))
		}
		if in.Short != "" {
			log.Error("the inbox is short", "reason", in.Short)
		}
		if n := known.NeedsPerson; n > 0 {
			log.Warn("recordings have failed for a week and need a person: archiverd ls --state failed tells why", "count", n)
		}
	}
	return failing, nil
}

// inboxes gives every inbox of the selected organizations its client. Inboxes come
// and go between runs.
func (f *fleet) inboxes(ctx context.Context, only selection) ([]archiver.Inbox, error) {
	var all []archiver.Inbox
	for _, o := range f.config.Organizations {
		if only.org != "" && only.org != o.Name {
			continue
		}
		listed, err := knownInboxes(ctx, f.ledger, o, f.log)
		if err != nil {
			return nil, err
		}
		if len(listed) == 0 {
			f.log.Warn("no inbox of this organization is authorized yet", "org", o.Name)
		}
		if f.hosts[o.Name] == nil {
			if f.hosts[o.Name], err = newHosts(f.config, o, f.metrics.APIRequest(o.Name), f.moved); err != nil {
				return nil, fail(exitUsage, err)
			}
		}
		for _, i := range listed {
			if only.inbox == "" || only.inbox == i.ID {
				all = append(all, f.inbox(o.Name, i))
			}
		}
	}
	if len(all) == 0 && only != (selection{}) {
		return nil, noSuchInbox(only)
	}
	return all, nil
}

func (f *fleet) inbox(org string, i state.Inbox) archiver.Inbox {
	key := [2]string{org, i.ID}
	in, ok := f.known[key]
	if !ok {
		in = f.hosts[org].inbox(f.ledger, i, f.started, f.log)
		f.known[key] = in
	}
	return in
}

func noSuchInbox(only selection) error {
	return fail(exitUsage, fmt.Errorf("no such inbox: --org %q --inbox %q; archiverd inboxes lists those there are", only.org, only.inbox))
}

// hosts are how one organization is reached.
type hosts struct {
	org     config.Organization
	api     http.RoundTripper
	links   *genesys.Links
	observe genesys.Observer
	again   func() (clientSecret string, err error)
}

func newHosts(c *config.Config, o config.Organization, observe genesys.Observer, moved func()) (*hosts, error) {
	api, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile, Moved: moved})
	if err != nil {
		return nil, err
	}
	// Links come out of replies: they lead nowhere private unless the API is there
	// itself or the configuration allows it.
	media, err := network.NewTransport(network.Options{
		CAFile:     c.Network.CAFile,
		Moved:      moved,
		PublicOnly: true,
		Allow:      append([]string{hostname(o.APIURL)}, c.Network.AllowLinksTo...),
	})
	if err != nil {
		return nil, err
	}
	links := genesys.NewLinks(genesys.LinksOptions{
		Transport: media,
		AllowHTTP: strings.HasPrefix(o.APIURL, "http://"),
		UserAgent: userAgent(),
		Observe:   observe,
	})
	return &hosts{o, api, links, observe, clientSecret(c, o)}, nil
}

// inbox makes the client of one inbox. Its rate budget was empty at the given start
// of this process: what the one before spent in its last moments is not known, and a
// full bucket is a second away. A Retry-After outlives the process.
func (h *hosts) inbox(l *bolt.Ledger, known state.Inbox, started time.Time, log *slog.Logger) archiver.Inbox {
	log = log.With("org", known.Org, "inbox", known.ID)
	budget := genesys.NewBudget(h.org.RequestsPerMinute, genesys.BudgetState{EmptyAt: started, NotBefore: known.NotBefore})
	budget.OnHold(keepWait(l, known, log))
	in, _ := h.client(known, &tokenStore{ledger: l, org: known.Org, inbox: known.ID}, budget)
	return in
}

// client makes an inbox's client, which keeps its token in the given store.
func (h *hosts) client(known state.Inbox, store genesys.TokenStore, budget *genesys.Budget) (archiver.Inbox, *genesys.Client) {
	tokens := genesys.NewTokens(genesys.TokensOptions{
		LoginURL:     h.org.LoginURL,
		ClientID:     h.org.ClientID,
		ClientSecret: h.org.ClientSecret.Reveal(),
		Grant:        h.org.Grant,
		UserID:       known.ID,
		Command:      genesys.Command{Argv: h.org.TokenCommand},
		Store:        store,
		Transport:    h.api,
		Again:        h.again,
	})
	client := genesys.NewClient(genesys.ClientOptions{
		APIURL: h.org.APIURL, Transport: h.api, Tokens: tokens, Budget: budget, UserAgent: userAgent(), Observe: h.observe,
	})
	in := archiver.Inbox{
		Org: known.Org, ID: known.ID, API: client, Links: h.links,
		DownloadAPI: genesys.DownloadAPI(h.org.DownloadAPI),
		Format:      genesys.Format(h.org.Format),
		PageSize:    h.org.PageSize,
	}
	if h.org.Grant != genesys.GrantClientCredentials {
		in.Identity = identity{tokens, client}
	}
	return in, client
}

// identity joins what the token is known to be with asking anew.
type identity struct {
	*genesys.Tokens
	*genesys.Client
}

// tokenStore keeps one inbox's token in the ledger. A renewed token takes the place of
// the one that it was made from alone: a login or logout meanwhile stands.
type tokenStore struct {
	ledger     *bolt.Ledger
	org, inbox string
	known      state.Token // what the ledger held when the client last asked or saved
}

func (s *tokenStore) LoadToken(ctx context.Context) (genesys.Token, error) {
	t, err := s.ledger.Token(ctx, s.org, s.inbox)
	if err == nil {
		s.known = t
	}
	return genesys.Token(t), err
}

func (s *tokenStore) SaveToken(ctx context.Context, t genesys.Token) error {
	err := s.ledger.SaveToken(ctx, s.org, s.inbox, s.known, state.Token(t))
	if errors.Is(err, state.ErrTokenMoved) {
		err = fmt.Errorf("%w: %w", genesys.ErrOtherToken, err)
	}
	if err == nil {
		s.known = state.Token(t)
	}
	return err
}
