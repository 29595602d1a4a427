package fleet

import (
	"context"
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
)

// Hosts holds the connections to one organization.
type Hosts struct {
	Org       config.Organization
	API       http.RoundTripper
	Links     *genesys.Links
	UserAgent string
	Observe   genesys.Observer                        // of every request; may be nil
	Again     func() (clientSecret string, err error) // reads a secret that was replaced; may be nil
	Shared    bool                                    // other processes use the ledger too

	alone func(ctx context.Context, renew func() error) error // see genesys.TokensOptions
}

// NewHosts returns the Hosts of an organization as configured. It calls moved whenever
// bytes move; moved may be nil.
func NewHosts(c *config.Config, o config.Organization, userAgent string, observe genesys.Observer, moved func()) (*Hosts, error) {
	api, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile, Moved: moved})
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(o.APIURL)
	if err != nil {
		return nil, err
	}
	// Links come from replies, so they must not lead to a private address, unless the
	// API is at that address or the configuration allows it.
	media, err := network.NewTransport(network.Options{
		CAFile:     c.Network.CAFile,
		Moved:      moved,
		PublicOnly: true,
		Allow:      append([]string{u.Hostname()}, c.Network.AllowLinksTo...),
	})
	if err != nil {
		return nil, err
	}
	links := genesys.NewLinks(genesys.LinksOptions{
		Transport: media,
		AllowHTTP: strings.HasPrefix(o.APIURL, "http://"),
		UserAgent: userAgent,
		Observe:   observe,
	})
	again := func() (string, error) { return c.ClientSecretAgain(o) }
	return &Hosts{Org: o, API: api, Links: links, UserAgent: userAgent, Observe: observe, Again: again, Shared: c.State.URL != ""}, nil
}

// inbox makes the client of one inbox. It assumes that the rate budget was empty when
// this process started, because the previous process may have spent it; the budget is
// full again within a second. A Retry-After of an earlier process still holds.
func (h *Hosts) inbox(l ledger, known state.Inbox, started time.Time, log *slog.Logger) archiver.Inbox {
	log = log.With("org", known.Org, "inbox", known.ID)
	budget := genesys.NewBudget(h.Org.RequestsPerMinute, genesys.BudgetState{EmptyAt: started, NotBefore: known.NotBefore})
	s := &session{ledger: l, org: known.Org, inbox: known.ID, api: h.API, log: log}
	budget.OnHold(s.keepWait)
	claimed := *h
	claimed.API = s
	if h.Shared {
		claimed.alone = s.alone
	}
	in, _ := claimed.Client(known, s, budget)
	in.Under = s.under
	return in
}

// Client makes an inbox's client, which keeps its token in the given store.
func (h *Hosts) Client(known state.Inbox, store genesys.TokenStore, budget *genesys.Budget) (archiver.Inbox, *genesys.Client) {
	tokens := genesys.NewTokens(genesys.TokensOptions{
		LoginURL:     h.Org.LoginURL,
		ClientID:     h.Org.ClientID,
		ClientSecret: h.Org.ClientSecret.Reveal(),
		Grant:        h.Org.Grant,
		UserID:       known.ID,
		Command:      genesys.Command{Argv: h.Org.TokenCommand},
		Store:        store,
		Alone:        h.alone,
		Transport:    h.API,
		Again:        h.Again,
	})
	client := genesys.NewClient(genesys.ClientOptions{
		APIURL: h.Org.APIURL, Transport: h.API, Tokens: tokens, Budget: budget, UserAgent: h.UserAgent, Observe: h.Observe,
	})
	in := archiver.Inbox{
		Org: known.Org, ID: known.ID, API: client, Links: h.Links,
		DownloadAPI: genesys.DownloadAPI(h.Org.DownloadAPI),
		Format:      genesys.Format(h.Org.Format),
		PageSize:    h.Org.PageSize,
	}
	if h.Org.Grant != genesys.GrantClientCredentials {
		in.Identity = identity{tokens, client}
	}
	return in, client
}

// identity combines what is known of the token's user with a request that asks again.
type identity struct {
	*genesys.Tokens
	*genesys.Client
}
