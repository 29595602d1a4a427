package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/state"
)

type loginFlags struct {
	org, inbox, from string
	noBrowser        bool
	timeout          time.Duration
}

func newLogin(a *app) *cobra.Command {
	var f loginFlags
	c := &cobra.Command{
		Use:   "login",
		Short: "Authorize a user's inbox",
		Long: `Authorizes the inbox of the user who logs in to Genesys Cloud at the printed address.
After the login, Genesys sends the browser to the configured redirect_url, where
archiverd listens. With --no-browser the user may be at any machine; paste the address
at which the browser ends. A second login of the same user replaces the first. With
--inbox, only that user's login is accepted.

--import reads a refresh token of the organization's client from a file or from stdin.
The import uses the token up: it can't be used elsewhere afterwards.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if f.from != "" && f.from != "-" && a.daemon == nil { // the service gets it as stdin
				token, err := os.Open(f.from)
				if err != nil {
					return fail(exitUsage, fmt.Errorf("read the refresh token: %w", err))
				}
				defer token.Close()
				a.stdin = token
			}
			return a.withLedger(toWrite, func(c *config.Config, l ledger) error { return a.login(c, l, f) })
		},
	}
	c.Flags().StringVar(&f.org, "org", "", "the organization, by its configured `name`; required if there are several")
	c.Flags().StringVar(&f.inbox, "inbox", "", "accept only the login of this user `id`")
	c.Flags().BoolVar(&f.noBrowser, "no-browser", false, "open no browser and don't listen; read the address at which the browser ends from stdin")
	c.Flags().StringVar(&f.from, "import", "", "read a refresh token from this `file`, - for stdin")
	c.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for the user")
	c.MarkFlagsMutuallyExclusive("no-browser", "import")
	return c
}

type loginLedger interface {
	Login(ctx context.Context, org, inbox string, t state.Token, edit func(*state.Inbox)) error
}

func (a *app) login(c *config.Config, l loginLedger, f loginFlags) error {
	o, err := loginOrganization(c, f.org)
	if err != nil {
		return err
	}
	if secret, err := c.ClientSecretAgain(o); err == nil { // a service may have read another one long ago
		o.ClientSecret = config.NewSecret(secret)
	}
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile})
	if err != nil {
		return fail(exitUsage, err)
	}
	e := &enrolment{org: o, want: f.inbox, ledger: l, login: genesys.NewLogin(genesys.LoginOptions{
		APIURL: o.APIURL, LoginURL: o.LoginURL, ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(),
		RedirectURL: o.RedirectURL, Transport: transport, UserAgent: userAgent(),
	})}
	ctx, cancel := context.WithTimeoutCause(a.stop, f.timeout, fmt.Errorf("nobody logged in within %v", f.timeout))
	defer cancel()
	switch {
	case f.from != "":
		err = a.imported(ctx, e)
	case f.noBrowser:
		err = a.pasted(ctx, e)
	default:
		err = a.redirected(ctx, e)
	}
	if err != nil {
		return loginFailure(err)
	}
	if listed := fleet.Roster(o, a.logger(c.Log, a.stderr)); listed != nil {
		if _, ok := listed[e.user.ID]; !ok {
			fmt.Fprintf(a.stderr, "The roster %s does not name this user.\n", o.RosterFile)
		}
	}
	_, err = fmt.Fprintf(a.stdout, "%s/%s: %s\n", o.Name, cell(e.user.ID), e.result())
	return err
}

// redirected waits for the redirect to come to this machine.
func (a *app) redirected(ctx context.Context, e *enrolment) error {
	l, err := listenForRedirect(e.org.RedirectURL)
	if err != nil {
		return fail(exitUsage, err)
	}
	address := e.login.URL()
	fmt.Fprintf(a.stderr, "Log in as the user whose recordings are to be archived:\n\n%s\n\nWaiting at %s …\n", address, e.org.RedirectURL)
	if isTerminal(a.stderr) {
		openBrowser(address)
	}
	return l.serve(ctx, func(answer url.Values) (string, error) {
		err := e.answer(ctx, answer)
		switch {
		case errors.Is(err, genesys.ErrNotThisLogin):
			fmt.Fprintln(a.stderr, "Ignored a redirect from another login.")
			return "archiverd is waiting for another login. Use the address that it printed last.", err
		case err != nil:
			return "The login did not succeed: " + err.Error(), err
		}
		return e.result() + " You can close this page.", nil
	})
}

// openBrowser opens the address if it can. It reports no failure: the address is printed too.
func openBrowser(address string) {
	program, err := exec.LookPath("xdg-open")
	if err != nil {
		return
	}
	c := exec.Command(program, address)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for archiverd, not for the browser
	if c.Start() == nil {
		_ = c.Process.Release() // archiverd does not wait for the browser
	}
}

// pasted waits for the address that the user's browser ended at.
func (a *app) pasted(ctx context.Context, e *enrolment) error {
	fmt.Fprintf(a.stderr, "Log in as the user whose recordings are to be archived:\n\n%s\n\nThe browser ends at an address that begins with %s; it may show an empty page or an error.\nPaste that address here: ",
		e.login.URL(), e.org.RedirectURL)
	line, err := a.readLine(ctx)
	if err != nil {
		return err
	}
	address, err := url.Parse(line)
	if err != nil {
		return fail(exitUsage, errors.New("the pasted text is not an address"))
	}
	return e.answer(ctx, address.Query())
}

func (a *app) imported(ctx context.Context, e *enrolment) error {
	refresh, err := a.readLine(ctx)
	if err != nil {
		return err
	}
	return e.imported(ctx, refresh)
}

// maxLine is more than any address or token has.
const maxLine = 64 << 10

// readLine reads one line of stdin. If ctx ends first, the reading goroutine stays until stdin ends: a read can't be
// interrupted.
func (a *app) readLine(ctx context.Context) (string, error) {
	type read struct {
		text string
		err  error
	}
	got := make(chan read, 1)
	go func() {
		text, err := bufio.NewReader(io.LimitReader(a.stdin, maxLine)).ReadString('\n')
		got <- read{text, err}
	}()
	select {
	case r := <-got:
		text := strings.TrimSpace(strings.TrimPrefix(r.text, "\ufeff")) // some editors write a byte order mark first
		switch {
		case r.err != nil && !errors.Is(r.err, io.EOF):
			return "", fmt.Errorf("read: %w", r.err)
		case text == "" || len(r.text) == maxLine || strings.ContainsFunc(text, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) || !utf8.ValidString(text):
			return "", fail(exitUsage, errors.New("want one line with one word, in UTF-8"))
		}
		return text, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// enrolment enters the inbox of one login in the ledger.
type enrolment struct {
	org    config.Organization
	want   string // the user who is to log in; "": anyone
	ledger loginLedger
	login  *genesys.Login

	user        *genesys.User // who logged in
	unconfirmed bool          // users/me did not confirm the user
}

// answer redeems the code that came with the redirect, and stores the token. Neither the timeout nor Ctrl-C interrupts this:
// a token that is issued and not stored would cost another login.
func (e *enrolment) answer(ctx context.Context, answer url.Values) error {
	ctx = context.WithoutCancel(ctx)
	token, err := e.login.Redeem(ctx, answer)
	if err != nil {
		return err
	}
	return e.enrol(ctx, token)
}

func (e *enrolment) imported(ctx context.Context, refresh string) error {
	ctx = context.WithoutCancel(ctx)
	token, err := e.login.Import(ctx, refresh)
	if errors.Is(err, genesys.ErrNeedsLogin) {
		return fail(exitRefused, fmt.Errorf("the refresh token is not accepted: it was used before, revoked, or issued to another client (%w)", err))
	}
	if err != nil {
		return err
	}
	if err := e.enrol(ctx, token); err != nil {
		return fmt.Errorf("%w\nThe refresh token is used up all the same: try again with another one", err)
	}
	return nil
}

// enrol asks Genesys whose token it is, and stores it in that user's inbox.
func (e *enrolment) enrol(ctx context.Context, token genesys.Token) error {
	user, err := e.login.Whose(ctx, token)
	forbidden := genesys.AsError(err).Forbidden()
	switch {
	case err == nil:
		token.Confirmed = true
	case forbidden && e.want != "":
		user, e.unconfirmed = &genesys.User{ID: e.want}, true
	case forbidden:
		return fail(exitRefused, fmt.Errorf("nothing was stored, since Genesys does not say who logged in: give the client the scope users:readonly, or name the user with --inbox (%w)", err))
	default:
		return err
	}
	if e.want != "" && user.ID != e.want {
		return fail(exitRefused, fmt.Errorf("user %s (%s) logged in, not %s: nothing was stored", cell(user.ID), cell(user.Name), e.want))
	}
	e.user = user
	return e.ledger.Login(ctx, e.org.Name, user.ID, state.Token(token), func(i *state.Inbox) {
		if !e.unconfirmed {
			i.Name, i.Email = user.Name, user.Email
		}
		i.Condition, i.Reason = "", ""
	})
}

func (e *enrolment) result() string {
	if e.unconfirmed {
		return "authorized, but Genesys did not confirm whose inbox it is (scope users:readonly): it will be archived, but nothing will be deleted from it."
	}
	return fmt.Sprintf("the inbox of %s, %s, is authorized. The next run archives it.", cell(cmp.Or(e.user.Name, "a user without a name")), cell(cmp.Or(e.user.Email, "no e-mail address")))
}

// loginFailure gives a failed login its exit code, and an explanation if Genesys gives none.
func loginFailure(err error) error {
	if coded, ok := errors.AsType[*exitError](err); ok {
		return fail(coded.code, err)
	}
	switch {
	case errors.Is(err, genesys.ErrNotThisLogin):
		return fail(exitUsage, fmt.Errorf("%w: begin again with the address printed last", err))
	case errors.Is(err, genesys.ErrNoRefreshToken):
		return fail(exitRefused, fmt.Errorf(`%w, so the authorization would soon expire, and nothing was stored. Genesys issues a refresh token only
if no inactivity timeout is set for the organization or for a group of this user (Admin > Organization settings, Admin > Groups), and
if the client's grant type is Code Authorization: a confidential client, not a PKCE or implicit one`, err))
	case errors.Is(err, context.Canceled):
		return fail(exitTemporary, errors.New("stopped before anyone logged in"))
	}
	return fail(loginCode(err), err)
}
