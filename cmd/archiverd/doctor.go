package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/doctor"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
	"github.com/archiverd/archiverd/state/postgres"
	"github.com/archiverd/archiverd/storage"
)

// doctorWidth is how many inboxes the doctor tests at the same time.
const doctorWidth = 16

func newDoctor(a *app) *cobra.Command {
	var org string
	var policy bool
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Prove configuration, access and the store's promises",
		Long: `Tests that the configured services keep the promises archiverd depends on, and says
what to do about each finding. It archives and deletes nothing. In the bucket it leaves
a few small objects below {prefix}/doctor/, one of them locked for a minute if a lock is
configured. If deletion is enabled, it sends Genesys one DELETE for a random recording
id, which cannot exist. It renews no user's token. It asks a Pushgateway and the
heartbeat's host whether they answer, and sends neither metrics nor a heartbeat.

For an organization with several inboxes, each check says how many inboxes passed and
lists at most 20 of the others. A finding that more than 20 share is one line. --json
has every check of every inbox.

--policy tests nothing. It prints the policies that the store needs, for the configured bucket
and prefix: that of archiverd's own credentials, and that of the credentials which erase and
dispose bring.

Exit codes: 0 nothing failed; 2 something is set up wrongly; 4 Genesys refused; 5 a
service can't be reached; 6 the store or the ledger breaks a promise.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !policy {
				return a.doctor(cmd.Context(), org)
			}
			c, err := a.loadConfig()
			if err != nil {
				return err
			}
			return a.printPolicies(c)
		},
	}
	c.Flags().BoolVar(&policy, "policy", false, "only print the policies that the store needs")
	c.Flags().StringVar(&org, "org", "", "only this organization, by its configured `name`")
	a.addJSON(c)
	return c
}

func (a *app) doctor(ctx context.Context, org string) error {
	c, err := a.loadConfig()
	if err != nil {
		return a.sayChecks(configFaults(err))
	}
	named := func(o config.Organization) bool { return o.Name == org }
	if org != "" && !slices.ContainsFunc(c.Organizations, named) {
		return fail(exitUsage, fmt.Errorf("--org %s: no such organization in %s", org, a.configPath))
	}
	w := &snapshot{config: c, inboxes: map[string][]inboxToken{}}
	err = a.withLedger(toRead, func(_ *config.Config, l ledger) error { return w.read(ctx, l) })
	if e, ok := errors.AsType[*exitError](err); ok && c.State.URL == "" && (e.err == nil || e.code == exitTemporary) {
		return err // the service ran the command, or could not be reached
	}
	checks := []doctor.Check{{Name: "configuration", Result: doctor.Pass, Found: a.configPath + " is complete"}}
	checks = append(checks, append(ledgerChecks(ctx, c, err), keptCheck(c, w.kept)...)...)
	b, err := newBucket(a.stop, c, nil, nil)
	if err != nil {
		return a.sayChecks(append(checks, configFaults(err)...))
	}
	d := &doctor.Doctor{
		Bucket: b, Probe: storage.NewProbe(b), Prefix: c.Storage.Prefix, Retention: retention(c),
		Encryption: c.Storage.Encryption.Mode, Deleting: c.DeleteOriginals.Enabled,
	}
	checks = append(checks, d.Store(a.stop)...)
	for _, o := range c.Organizations {
		if org == "" || named(o) {
			checks = append(checks, w.organization(a, d, o)...)
		}
	}
	return a.sayChecks(append(checks, a.watchers(c)...))
}

// ledgerChecks are those of the ledger; err is what opening and reading it gave.
func ledgerChecks(ctx context.Context, c *config.Config, err error) []doctor.Check {
	if c.State.URL == "" {
		return append(doctor.LedgerPlace(bolt.Examine(c.State.Path)), doctor.LedgerContent(err)...)
	}
	facts, failed := postgres.Examine(ctx, c.State.URL, databaseOptions(c))
	checks := doctor.Database(facts, failed)
	if failed != nil {
		return checks
	}
	return append(checks, doctor.LedgerContent(err)...)
}

// snapshot is what the doctor reads from the ledger. It closes the ledger at once, so that a
// run can start meanwhile.
type snapshot struct {
	config  *config.Config
	inboxes map[string][]inboxToken // by organization
	kept    string                  // see kept
}

type inboxToken struct {
	inbox state.Inbox
	token state.Token
}

type examinedLedger interface {
	enrolled
	searcher
	Recount(ctx context.Context) error
}

func (w *snapshot) read(ctx context.Context, l examinedLedger) (err error) {
	if w.kept, err = kept(ctx, w.config, l); err != nil {
		return err
	}
	for _, o := range w.config.Organizations {
		inboxes, err := l.Inboxes(ctx, o.Name)
		if err != nil {
			return err
		}
		for _, i := range inboxes {
			t, err := l.Token(ctx, o.Name, i.ID)
			if err != nil {
				return err
			}
			w.inboxes[o.Name] = append(w.inboxes[o.Name], inboxToken{i, t})
		}
	}
	if file, ok := l.(*bolt.Ledger); ok {
		return file.Check()
	}
	return l.Recount(ctx)
}

// organization tests an organization's inboxes at the same time.
func (w *snapshot) organization(a *app, d *doctor.Doctor, o config.Organization) []doctor.Check {
	inboxes := w.inboxes[o.Name]
	if o.Grant == genesys.GrantClientCredentials && len(inboxes) == 0 {
		inboxes = []inboxToken{{inbox: state.Inbox{Org: o.Name, ID: fleet.ClientInbox}}} // as the first run will enter it
	}
	if len(inboxes) == 0 {
		return []doctor.Check{{
			Name: "genesys.token", About: o.Name, Result: doctor.Warn,
			Found: "no inbox of this organization is known", Remedy: "have its users log in: archiverd login --org " + o.Name,
		}}
	}
	h, err := fleet.NewHosts(w.config, o, userAgent(), nil, nil)
	if err != nil {
		return configFaults(err)
	}
	found := make([][]doctor.Check, len(inboxes))
	var g errgroup.Group
	g.SetLimit(doctorWidth)
	for i, p := range inboxes {
		g.Go(func() error {
			found[i] = d.Inbox(a.stop, examined(h, p))
			return nil
		})
	}
	_ = g.Wait() // checks report, they return no error
	return slices.Concat(found...)
}

// examined makes a client for the doctor alone. It has a user's access token, but not
// the refresh token: two clients that spend that would log the user out.
func examined(h *fleet.Hosts, p inboxToken) doctor.Inbox {
	token := genesys.Token{Access: p.token.Access, Expiry: p.token.Expiry, Confirmed: p.token.Confirmed}
	out := doctor.Inbox{Org: p.inbox.Org, ID: p.inbox.ID, PerMinute: h.Org.RequestsPerMinute}
	if h.Org.Grant == genesys.GrantAuthorizationCode {
		out.NoToken, out.Remedy = noToken(p)
	} else {
		token = genesys.Token{} // a new one costs nothing and proves the client's secret
	}
	if c := p.inbox.Condition; c == state.ConditionFailing || c == state.ConditionShort {
		out.Trouble = p.inbox.Reason
	}
	budget := genesys.NewBudget(h.Org.RequestsPerMinute, genesys.BudgetState{NotBefore: p.inbox.NotBefore})
	in, client := h.Client(p.inbox, &memoryStore{token}, budget)
	out.API, out.Identity = client, in.Identity
	return out
}

// noToken returns why a user's token can't be tested, or "".
func noToken(p inboxToken) (found, remedy string) {
	switch {
	case p.inbox.Condition == state.ConditionNeedsLogin:
		return p.inbox.Reason, "have the user log in: archiverd login --org " + p.inbox.Org
	case p.token == state.Token{}:
		return "the ledger holds no token", "have the user log in: archiverd login --org " + p.inbox.Org
	case time.Until(p.token.Expiry) < 2*time.Minute:
		return "the access token has expired, and only a run may renew it", "run archiverd run --once: it renews the token, or says that the user has to log in"
	}
	return "", ""
}

// memoryStore keeps a token in memory alone.
type memoryStore struct{ token genesys.Token }

func (s *memoryStore) LoadToken(context.Context) (genesys.Token, error)   { return s.token, nil }
func (s *memoryStore) SaveToken(_ context.Context, t genesys.Token) error { s.token = t; return nil }

// configFaults is a check for each fault of the configuration.
func configFaults(err error) []doctor.Check {
	check := doctor.Check{
		Name: "configuration", Result: doctor.Fail, Found: err.Error(), Kind: failure.KindConfiguration,
		Remedy: "correct the configuration, and run archiverd doctor again",
	}
	faults, ok := errors.AsType[*config.Error](err)
	if !ok {
		return []doctor.Check{check}
	}
	var all []doctor.Check
	for _, f := range faults.Faults {
		check.About, check.Found = f.Path, faults.File+f.String()
		all = append(all, check)
	}
	return all
}

// sayChecks prints the checks, and returns their exit code as an error.
func (a *app) sayChecks(checks []doctor.Check) error {
	var codes []int
	for _, c := range checks {
		if c.Result == doctor.Fail {
			codes = append(codes, codeOfKind(c.Kind))
		}
	}
	code := worst(codes)
	if err := a.printChecks(checks, code); err != nil {
		return err
	}
	if code != exitOK {
		return &exitError{code: code}
	}
	return nil
}

func (a *app) printChecks(checks []doctor.Check, code int) error {
	if a.json {
		return a.printJSON(struct {
			Checks   []doctor.Check `json:"checks"`
			ExitCode int            `json:"exit_code"`
		}{checks, code})
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RESULT\tCHECK\tABOUT\tFOUND")
	var todo strings.Builder
	for _, c := range summed(checks) {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Result, c.Name, cell(c.About), cell(c.Found))
		if c.Remedy != "" {
			fmt.Fprintf(&todo, "%s: %s\n", strings.TrimSpace(c.Name+" "+cell(c.About)), cell(c.Remedy))
		}
	}
	if todo.Len() > 0 {
		fmt.Fprint(w, "\nWhat to do:\n", todo.String())
	}
	return w.Flush()
}
