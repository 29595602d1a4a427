package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// clientInbox is the one inbox of an organization that uses client credentials.
const clientInbox = "client"

// openBucket reaches for the bucket before anything is created or started.
func openBucket(ctx context.Context, c *config.Config) (*storage.Bucket, error) {
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile})
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	b, err := storage.Open(ctx, storage.Options{
		Endpoint:        c.Storage.Endpoint,
		Region:          c.Storage.Region,
		Bucket:          c.Storage.Bucket,
		PathStyle:       c.Storage.PathStyle,
		AccessKeyID:     c.Storage.AccessKeyID,
		SecretAccessKey: c.Storage.SecretAccessKey.Reveal(),
		Encryption:      c.Storage.Encryption.Mode,
		KMSKeyID:        c.Storage.Encryption.KMSKeyID,
		StorageClass:    c.Storage.StorageClass,
		Checksum:        c.Storage.Checksum,
		Transport:       transport,
		UserAgent:       userAgent(),
	})
	if err != nil {
		return nil, fail(exitUsage, err)
	}
	return b, storageFailure(b.Check(ctx))
}

// storageFailure gives an error of the store its exit code.
func storageFailure(err error) error {
	var s *storage.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storage.ErrNoBucket), errors.Is(err, storage.ErrAccess):
		return fail(exitUsage, err)
	case errors.As(err, &s) && s.Temporary():
		return fail(exitTemporary, err)
	}
	return fail(exitUnexpected, err)
}

// openLedger opens the ledger that belongs to the configuration.
func openLedger(c *config.Config, readOnly bool) (*state.Ledger, error) {
	b := state.Binding{
		Endpoint:      c.Storage.Endpoint,
		Bucket:        c.Storage.Bucket,
		Prefix:        c.Storage.Prefix,
		Organizations: map[string]state.OrgBinding{},
	}
	for _, o := range c.Organizations {
		b.Organizations[o.Name] = state.OrgBinding{APIHost: host(o.APIURL), ClientID: o.ClientID}
	}
	l, err := state.Open(c.State.Path, state.Options{Binding: b, SealKey: c.State.SealKey, ReadOnly: readOnly})
	if errors.Is(err, state.ErrHeld) {
		return nil, fail(exitHeld, err)
	}
	return l, fail(exitUsage, err)
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

func newArchiver(c *config.Config, b *storage.Bucket, l *state.Ledger, log *slog.Logger) *archiver.Archiver {
	return archiver.New(archiver.Options{
		Bucket:    b,
		Ledger:    l,
		Prefix:    c.Storage.Prefix,
		Workers:   c.Transfer.Workers,
		Memory:    c.Transfer.Memory,
		Bandwidth: c.Transfer.Bandwidth,
		MinAge:    c.Transfer.MinAge,
		Delete: archiver.Deletion{
			Enabled:    c.DeleteOriginals.Enabled,
			After:      c.DeleteOriginals.After,
			MaxPerPass: c.DeleteOriginals.MaxPerPass,
		},
		Retention: archiver.Retention{Mode: lockMode(c.Storage.ObjectLock.Mode), Until: c.Storage.ObjectLock.RetainFor.After},
		Version:   version(),
		Log:       log,
	})
}

// lockMode is S3's word for the configured one.
func lockMode(mode string) string {
	if mode == "none" {
		return ""
	}
	return strings.ToUpper(mode)
}

// inbox is one inbox ready for a pass.
type inbox struct {
	archiver.Inbox
	close func() error // keeps what is left of the rate budget for the next process
}

// openInboxes gives every inbox of the selected organizations its own client.
func openInboxes(c *config.Config, l *state.Ledger, only selection, log *slog.Logger) ([]inbox, error) {
	var all []inbox
	for _, o := range c.Organizations {
		if only.org != "" && only.org != o.Name {
			continue
		}
		known, err := knownInboxes(l, o)
		if err != nil {
			return nil, err
		}
		if len(known) == 0 {
			log.Warn("no inbox of this organization is authorized yet", "org", o.Name)
		}
		hosts, err := newHosts(c, o)
		if err != nil {
			return nil, fail(exitUsage, err)
		}
		for _, i := range known {
			if only.inbox != "" && only.inbox != i.ID {
				continue
			}
			in, err := hosts.inbox(l, i, log)
			if err != nil {
				return nil, err
			}
			all = append(all, in)
		}
	}
	if len(all) == 0 && only != (selection{}) {
		return nil, fail(exitUsage, fmt.Errorf("no such inbox: --org %q --inbox %q; archiverd status lists those there are", only.org, only.inbox))
	}
	return all, nil
}

// knownInboxes are those in the ledger. The client's own inbox needs nobody's login,
// so it is entered here.
func knownInboxes(l *state.Ledger, o config.Organization) ([]state.Inbox, error) {
	if o.Grant == genesys.GrantClientCredentials {
		if err := l.EditInbox(o.Name, clientInbox, func(*state.Inbox) {}); err != nil {
			return nil, err
		}
		i, err := l.Inbox(o.Name, clientInbox)
		return []state.Inbox{i}, err
	}
	return l.Inboxes(o.Name)
}

// hosts are how one organization is reached.
type hosts struct {
	org   config.Organization
	api   http.RoundTripper
	links *genesys.Links
}

func newHosts(c *config.Config, o config.Organization) (*hosts, error) {
	api, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile})
	if err != nil {
		return nil, err
	}
	// Links come out of replies: they lead nowhere private unless the API is there
	// itself or the configuration allows it.
	media, err := network.NewTransport(network.Options{
		CAFile:     c.Network.CAFile,
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
	})
	return &hosts{o, api, links}, nil
}

// inbox makes the client of one inbox. The rate budget goes on where the last
// process left it; after one that did not end properly it begins empty.
func (h *hosts) inbox(l *state.Ledger, known state.Inbox, log *slog.Logger) (inbox, error) {
	tokens := genesys.NewTokens(genesys.TokensOptions{
		LoginURL:     h.org.LoginURL,
		ClientID:     h.org.ClientID,
		ClientSecret: h.org.ClientSecret.Reveal(),
		Grant:        h.org.Grant,
		UserID:       known.ID,
		Store:        tokenStore{l, known.Org, known.ID},
		Transport:    h.api,
	})
	budget := genesys.NewBudget(h.org.RequestsPerMinute, resumeBudget(known.Budget))
	keep := func(s state.Budget) error {
		return l.EditInbox(known.Org, known.ID, func(i *state.Inbox) { i.Budget = s })
	}
	budget.OnHold(func(until time.Time) {
		log.Warn("Genesys limits the requests of this inbox", "org", known.Org, "inbox", known.ID, "until", until)
		if err := keep(state.Budget{Tokens: budgetInUse, NotBefore: until}); err != nil {
			log.Error("the wait is not kept for the next start", "error", err)
		}
	})
	if err := keep(state.Budget{Tokens: budgetInUse, NotBefore: known.Budget.NotBefore}); err != nil {
		return inbox{}, err
	}
	client := genesys.NewClient(genesys.ClientOptions{
		APIURL: h.org.APIURL, Transport: h.api, Tokens: tokens, Budget: budget, UserAgent: userAgent(),
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
	return inbox{in, func() error { return keep(leftBudget(budget.State())) }}, nil
}

// identity joins what the token is known to be with asking anew.
type identity struct {
	*genesys.Tokens
	*genesys.Client
}

// budgetInUse marks a budget whose process has not ended yet, or not properly.
const budgetInUse = -1

func resumeBudget(b state.Budget) genesys.BudgetState {
	if b.Tokens == budgetInUse {
		return genesys.BudgetState{At: time.Now(), NotBefore: b.NotBefore}
	}
	return genesys.BudgetState(b)
}

// leftBudget never takes a bucket that ran into debt for one in use.
func leftBudget(s genesys.BudgetState) state.Budget {
	s.Tokens = max(0, s.Tokens)
	return state.Budget(s)
}

// tokenStore keeps one inbox's token in the ledger.
type tokenStore struct {
	ledger     *state.Ledger
	org, inbox string
}

func (s tokenStore) LoadToken() (genesys.Token, error) {
	t, err := s.ledger.Token(s.org, s.inbox)
	return genesys.Token(t), err
}

func (s tokenStore) SaveToken(t genesys.Token) error {
	return s.ledger.SetToken(s.org, s.inbox, state.Token(t))
}
