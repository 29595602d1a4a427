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

// openBucket opens the bucket and checks that it can be used.
func openBucket(ctx context.Context, c *config.Config) (*storage.Bucket, error) {
	return openObservedBucket(ctx, c, nil, nil)
}

// openObservedBucket calls observe after every request, and moved whenever bytes move.
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

// binding returns the bucket and the organizations that a ledger of the configuration
// is bound to.
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

// retention returns the configured retention, in S3's terms.
func retention(c *config.Config) archiver.Retention {
	r := archiver.Retention{Until: c.Storage.ObjectLock.RetainFor.After}
	if mode := c.Storage.ObjectLock.Mode; mode != "none" {
		r.Mode = strings.ToUpper(mode)
	}
	return r
}

// fleet holds every inbox of a configuration, the clients that reach them, and the
// archiver. It outlives a run, so that the next run has the same tokens, connections,
// budgets and canary. Its methods are for one caller at a time.
type fleet struct {
	config   *config.Config
	ledger   *bolt.Ledger
	archiver *archiver.Archiver
	metrics  *watch.Metrics
	log      *slog.Logger
	started  time.Time
	hosts    map[string]*hosts            // of each organization
	known    map[[2]string]archiver.Inbox // by organization and id
	moved    func()                       // called whenever bytes move; may be nil

	sending     sync.WaitGroup // the heartbeat after a run; the caller of run waits for it
	noDeletions atomic.Bool    // deletions were turned off while a run is under way
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

// run makes one pass over every selected inbox and returns the exit code. follow shows
// the progress until the function that it returns is called. A run over all inboxes is
// recorded in the ledger when it starts and when it ends: the schedule continues from
// the recorded start. The end of stop ends the run within the grace; ctx must outlive it.
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

// collectRarely lets the garbage collector run less often until restore is called: each
// recording leaves only little garbage, but there are many recordings. Above memory
// bytes the collector runs as often as needed. GOGC or GOMEMLIMIT in the environment
// take precedence.
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

// The memory of a run besides its buffers, in bytes.
const (
	heapRoom   = 32 << 20
	listedRoom = 64 // for each recording in the ledger that the run remembers
)

// failures returns the failed recordings of each inbox of the report, by the ledger, and
// logs what went wrong.
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
			log.Warn("recordings have failed for a week and need a person: archiverd ls --state failed shows why", "count", n)
		}
	}
	return failing, nil
}

// inboxes returns the selected inboxes with their clients. It looks for new inboxes at
// each call.
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
	return fail(exitUsage, fmt.Errorf("no such inbox: --org %q --inbox %q; archiverd inboxes lists all of them", only.org, only.inbox))
}

// hosts holds the connections to one organization.
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
	// Links come from replies, so they must not lead to a private address, unless the
	// API is at that address or the configuration allows it.
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

// inbox makes the client of one inbox. It assumes that the rate budget was empty when
// this process started, because the previous process may have spent it; the budget is
// full again within a second. A Retry-After of an earlier process still holds.
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

// identity combines what is known of the token's user with a request that asks again.
type identity struct {
	*genesys.Tokens
	*genesys.Client
}

// tokenStore keeps one inbox's token in the ledger. A renewed token replaces only the
// token from which it was made, so a login or logout in the meantime is not undone.
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
