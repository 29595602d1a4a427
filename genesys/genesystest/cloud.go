// Package genesystest is a Genesys Cloud on loopback: its login service, its user recordings API and the storage behind its media links.
//
// It is as strict as the real one is known to be, and can be as awkward. It sends only replies that its openapi.json allows, and
// checks every request and every reply against that file. Violations lists each rule that a client broke, such as a bearer
// token sent to the media host, a request before a Retry-After has passed, or a DELETE while the inbox is being listed.
// Faults can be injected into any request, before or after its effect.
//
// It needs no testing.T, so that a demonstration can run it too, and shares no code with the client under test.
package genesystest

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Order is the order of a listing.
type Order int

// The orders. Genesys does not document its own.
const (
	NewestFirst Order = iota
	OldestFirst
	Shuffled // random, but the same in each request
)

// Absence is the reply to a download operation that the platform lacks.
type Absence int

// The kinds of Absence.
const (
	Present       Absence = iota
	AbsentCoded           // 404 with the ErrorBody that an unknown recording has too
	AbsentUncoded         // 404 from a gateway that knows no such path: not an ErrorBody
)

// Options say how the simulated organization behaves. The zero value is a plain organization. Configure changes them while the
// Cloud runs.
type Options struct {
	ClientID, ClientSecret string // default: "client", "secret"

	// Read by New only.
	BasePath string                       // path of the API, as behind a gateway: "/genesys"
	TLS      bool                         // serve https; CertificatePEM is what to trust
	Listen   func() (net.Listener, error) // called three times; default: a free port on loopback

	Now      func() time.Time // default: time.Now
	DateSkew time.Duration    // added to every Date header

	AccessTokenLife time.Duration // default: 24 h
	NoRefreshTokens bool          // as while an inactivity timeout is set
	RedirectURI     string        // registered for the client: logins lead nowhere else
	RefuseLogin     bool          // the user does not agree to the client
	Scopes          []string      // of the client; nil: all
	RefuseMe        bool          // users/me: 403
	RefuseClient    bool          // recordings with client credentials: 403

	MaxPageSize     int // larger pages are cut to this silently; default: 100
	MaxExpanded     int // larger pages with expand=conversation: 400 response.entity.too.large; 0: no limit
	Order           Order
	PageSize        func(page, asked int) int             // overrides MaxPageSize
	PhantomPages    int                                   // added to a listing's pageCount
	TotalOffset     int                                   // added to a listing's total, not to the summary's
	Depth           int                                   // pages that reach beyond so many recordings show none; 0: no limit
	SummaryOffset   int                                   // added to the summary's total
	MaxEntities     int                                   // a page shows at most so many of its recordings, and the rest on no other; 0: no limit
	Broken          map[string]int                        // recordings whose pages are answered with this status
	RepeatAcross    bool                                  // each page but the first starts with the recording that ended the one before
	DeletedListings int                                   // listings in which a deleted recording still shows; -1: all until Settle
	OnPage          func(inbox *Inbox, page int)          // runs when a page is ready to be sent: its changes show on the next page
	OnDelete        func(inbox, recordingID string) error // runs when a DELETE arrives, before any effect; an error is a violation

	Transcoding     Absence                  // of GET …/transcoding
	Media           Absence                  // of GET …/media
	Queued          int                      // 202 replies before a download is ready
	Running         int                      // then 200 replies with state Running
	WithoutLocation int                      // then 200 replies with state Completed, but no link
	LinkLife        time.Duration            // default: 1 h
	RewriteLink     func(link string) string // returns the link that is handed out instead
	Reencode        bool                     // each fresh link has other bytes
	Links           LinkMode
	Serve           func(inbox, recordingID string) []byte // returns what a link serves instead of the recording's media; nil: the media
	OnDownload      func(inbox *Inbox, recordingID string) // runs when media were sent

	RateLimit       int  // requests in any 60 s for one token; 0: none
	HideRateHeaders bool // no inin-ratelimit-*
}

func (o *Options) setDefaults() {
	setDefault(&o.ClientID, "client")
	setDefault(&o.ClientSecret, "secret")
	setDefault(&o.AccessTokenLife, 24*time.Hour)
	setDefault(&o.MaxPageSize, 100)
	setDefault(&o.LinkLife, time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Listen == nil {
		o.Listen = func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }
	}
}

func setDefault[T comparable](v *T, value T) {
	if *v == *new(T) {
		*v = value
	}
}

// Cloud is a running simulation. All methods are safe for concurrent use.
type Cloud struct {
	spec                    *spec
	linkKey                 []byte
	certificate             []byte // PEM of keyPair
	keyPair                 tls.Certificate
	apiURL, login, mediaURL string
	servers                 []*http.Server
	serving                 sync.WaitGroup // listeners and requests
	stop                    context.CancelFunc

	mu         sync.Mutex
	closed     bool
	opts       Options
	inboxes    map[string]*Inbox
	client     *Inbox
	access     map[string]*accessToken
	refresh    map[string]*refreshToken
	codes      map[string]*authCode
	links      []link
	faults     []*Fault
	holds      map[string]hold
	released   chan struct{} // closed by Release
	requests   map[string]int
	arrival    chan struct{} // closed at the next request
	events     []Event
	violations []string
}

// New starts a Cloud. Close ends it.
func New(o Options) (*Cloud, error) {
	o.setDefaults()
	s, err := loadSpec()
	if err != nil {
		return nil, err
	}
	c := &Cloud{
		spec: s, opts: o, linkKey: make([]byte, 32), released: make(chan struct{}), arrival: make(chan struct{}),
		inboxes: map[string]*Inbox{}, access: map[string]*accessToken{}, refresh: map[string]*refreshToken{},
		codes: map[string]*authCode{}, holds: map[string]hold{}, requests: map[string]int{},
	}
	_, _ = rand.Read(c.linkKey)
	c.client = c.AddUser("client", "client", "")
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	for _, l := range []struct {
		url   *string
		serve http.HandlerFunc
	}{{&c.apiURL, c.serveAPI}, {&c.login, c.serveLogin}, {&c.mediaURL, c.serveMedia}} {
		if *l.url, err = c.listen(ctx, l.serve, o.TLS); err != nil {
			c.Close()
			return nil, err
		}
	}
	c.apiURL += o.BasePath
	return c, nil
}

func (c *Cloud) listen(ctx context.Context, serve http.HandlerFunc, secure bool) (string, error) {
	l, err := c.opts.Listen()
	if err != nil {
		return "", fmt.Errorf("genesystest: listen: %w", err)
	}
	scheme := "http://"
	if secure {
		scheme = "https://"
		if l, err = c.listenTLS(l); err != nil {
			return "", err
		}
	}
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !c.enter() {
				panic(http.ErrAbortHandler)
			}
			defer c.serving.Done()
			serve(w, r)
		}),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	c.servers = append(c.servers, s)
	c.serving.Go(func() { _ = s.Serve(l) })
	return scheme + l.Addr().String(), nil
}

// Close closes every connection and waits for the requests under way.
func (c *Cloud) Close() {
	c.stop()
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	for _, s := range c.servers {
		_ = s.Close()
	}
	c.serving.Wait()
}

func (c *Cloud) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.serving.Add(1)
	}
	return !c.closed
}

// APIURL is the base of the API.
func (c *Cloud) APIURL() string { return c.apiURL }

// LoginURL is the base of the login service.
func (c *Cloud) LoginURL() string { return c.login }

// MediaURL is the base of all media links.
func (c *Cloud) MediaURL() string { return c.mediaURL }

// CertificatePEM is the certificate of all listeners where Options.TLS is set.
func (c *Cloud) CertificatePEM() []byte { return c.certificate }

// Configure changes the options for requests that arrive after it.
func (c *Cloud) Configure(edit func(*Options)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	edit(&c.opts)
	c.opts.setDefaults()
	for _, i := range c.inboxes {
		i.sorted = nil
	}
}

func (c *Cloud) options() Options {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opts
}

// Event is one request that was received.
type Event struct {
	Time                 time.Time
	Op, Inbox, Recording string
	Method, URI          string // URI without the signature of a media link
	Status               int    // 0: no reply was begun
	CorrelationID        string
	Fault                string // name of the fault that was applied
	Notes                []string
}

// Events returns all requests so far, in order of arrival.
func (c *Cloud) Events() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Event(nil), c.events...)
}

// Requests counts the requests of an operation, including those with a fault.
func (c *Cloud) Requests(op string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[op]
}

// Await returns once n requests of an operation have arrived.
func (c *Cloud) Await(ctx context.Context, op string, n int) error {
	for {
		c.mu.Lock()
		count, arrival := c.requests[op], c.arrival
		c.mu.Unlock()
		if count >= n {
			return nil
		}
		select {
		case <-arrival:
		case <-ctx.Done():
			return fmt.Errorf("genesystest: await %d %s, got %d: %w", n, op, count, ctx.Err())
		}
	}
}

// Violations returns the rules that clients have broken so far, and the Cloud's own mistakes.
func (c *Cloud) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.violations...)
}

func (c *Cloud) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, fmt.Sprintf(format, args...))
}
