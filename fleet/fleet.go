// Package fleet makes runs: one pass over each inbox of a configuration. It holds the rules
// that are about more than one inbox, or about more than one run:
//
//   - Whose inboxes there are, by the ledger, the roster and the grant of each
//     organization, and the client that reaches each of them. One fleet alone uses an
//     inbox's token and rate budget.
//   - One run over them, and what becomes of its result: the record of the run in the
//     ledger, the recordings that need a person, and whether the heartbeat is sent.
//   - Whether the ledger may work on the archive at all: see MayBegin.
//   - Which inboxes a reconciliation has to look at, when deletions from a rebuilt inbox
//     are allowed again, and what a person may accept before a run.
//
// It prints nothing and reads no flags; its caller decides what exit code a run has.
package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state"
)

// ClientInbox is the one inbox of an organization that uses client credentials.
const ClientInbox = "client"

// ledger is what a fleet asks of the ledger.
type ledger interface {
	inboxLister
	Inbox(ctx context.Context, org, id string) (state.Inbox, error)
	EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error
	Token(ctx context.Context, org, inbox string) (state.Token, error)
	SaveToken(ctx context.Context, org, inbox string, old, renewed state.Token) error
	Claim(ctx context.Context, org, inbox string) (state.Claim, error)
	AddRun(ctx context.Context, r state.Run) error
}

type inboxLister interface {
	Inboxes(ctx context.Context, org string) ([]state.Inbox, error)
}

// Options configure a Fleet. All are required, but for Heartbeat.
type Options struct {
	Config    *config.Config
	Ledger    ledger
	Archiver  *archiver.Archiver // no other fleet uses it
	Hosts     func(config.Organization) (*Hosts, error)
	Heartbeat func(stop context.Context) error // tells the watching host that a run went well; nil if none is configured
	Log       *slog.Logger
}

// Fleet holds every inbox of a configuration, the clients that reach them, and the
// archiver. It outlives a run, so that the next run has the same tokens, connections,
// budgets and canary. Its methods are for one caller at a time, but for Begin, Pass and End.
type Fleet struct {
	Options
	started time.Time
	mu      sync.Mutex
	hosts   map[string]*Hosts // of each organization; guarded by mu
	known   map[inboxKey]archiver.Inbox

	sending sync.WaitGroup // the heartbeat after a run
}

type inboxKey struct{ org, id string }

// New returns a Fleet.
func New(o Options) *Fleet {
	return &Fleet{Options: o, started: time.Now(), hosts: map[string]*Hosts{}, known: map[inboxKey]archiver.Inbox{}}
}

// Selection narrows to an organization or to an inbox. The zero value selects all.
type Selection struct{ Org, Inbox string }

// has reports whether the selection has an inbox of its organization.
func (s Selection) has(inbox string) bool { return s.Inbox == "" || s.Inbox == inbox }

// A UsageError is a fault of the command line or of the configuration. Nothing was started.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }
func (e *UsageError) Unwrap() error { return e.err }

func noSuchInbox(only Selection) error {
	return &UsageError{fmt.Errorf("no such inbox: --org %q --inbox %q; archiverd inboxes lists all of them", only.Org, only.Inbox)}
}

// Inboxes returns the selected inboxes with their clients. It looks for new inboxes at
// each call.
func (f *Fleet) Inboxes(ctx context.Context, only Selection) ([]archiver.Inbox, error) {
	selected, err := f.selected(ctx, only)
	if err != nil {
		return nil, err
	}
	all := make([]archiver.Inbox, len(selected))
	for n, i := range selected {
		key := inboxKey{i.Org, i.ID}
		if _, ok := f.known[key]; !ok {
			h, err := f.hostsOf(i.Org)
			if err != nil {
				return nil, err
			}
			f.known[key] = h.inbox(f.Ledger, i, f.started, f.Log)
		}
		all[n] = f.known[key]
	}
	return all, nil
}

// selected returns the selected inboxes as the ledger knows them.
func (f *Fleet) selected(ctx context.Context, only Selection) ([]state.Inbox, error) {
	var all []state.Inbox
	for _, o := range f.Config.Organizations {
		if only.Org != "" && only.Org != o.Name {
			continue
		}
		listed, err := knownInboxes(ctx, f.Ledger, o, f.Log)
		if err != nil {
			return nil, err
		}
		if len(listed) == 0 {
			f.Log.Warn("no inbox of this organization is authorized yet", "org", o.Name)
		}
		for _, i := range listed {
			if only.has(i.ID) {
				all = append(all, i)
			}
		}
	}
	if len(all) == 0 && only != (Selection{}) {
		return nil, noSuchInbox(only)
	}
	return all, nil
}

// hostsOf returns the connections to an organization, which the fleet keeps.
func (f *Fleet) hostsOf(org string) (*Hosts, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.hosts[org]; h != nil {
		return h, nil
	}
	for _, o := range f.Config.Organizations {
		if o.Name == org {
			h, err := f.Hosts(o)
			if err != nil {
				return nil, &UsageError{err}
			}
			f.hosts[org] = h
			return h, nil
		}
	}
	return nil, &UsageError{fmt.Errorf("organization %s is not in the configuration of this process", org)}
}
