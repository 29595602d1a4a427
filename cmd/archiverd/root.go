package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service/control"
)

const defaultConfig = "/etc/archiverd/archiverd.yaml"

// app holds what all commands share: the streams, the environment and the common
// flags. It serves a command in its own process, and one that the service runs for a
// caller.
type app struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	stop           context.Context                             // canceled by the first SIGTERM or SIGINT
	create         func(path string) (control.File, error)     // creates a file on the caller's side
	readFile       func(path string, most int) ([]byte, error) // reads a file on the caller's side
	lookupEnv      func(string) (string, bool)
	daemon         *daemon         // the service that runs the command, or nil
	caller         *control.Caller // who sent the command to the service; nil without a service

	person string // the user of the operating system who gave the command

	configPath string
	json       bool
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "archiverd",
		Short: "Archive Genesys Cloud user recordings into S3-compatible storage",
		Long: `archiverd archives the recordings that Genesys Cloud users made themselves in
S3-compatible storage, for compliance. It lists each user's inbox, downloads every
recording, uploads it, proves that the stored bytes are the downloaded ones, writes that
into its ledger and, if configured, deletes the original.

To begin: write the configuration, then archiverd config check, archiverd doctor,
archiverd login for each user, and archiverd run --once --dry-run.

Exit codes: 0 done; 1 unexpected error; 2 wrong usage or configuration; 3 some recordings
or inboxes failed; 4 Genesys refused; 5 temporary, try again; 6 the archive or the ledger
is not what it should be; 7 another process holds the ledger.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", defaultConfig, "configuration `file`")
	root.AddCommand(
		newRun(a), newLogin(a), newLogout(a), newInboxes(a), newStatus(a), newLs(a), newShow(a), newGet(a), newExport(a), newRetry(a), newWaive(a), newHold(a), newRetain(a), newErase(a), newDispose(a), newVerify(a), newReconcile(a),
		newRebuild(a), newBackup(a), newMigrate(a), newState(a), newDoctor(a), newConfig(a), newVersion(a), newMan(),
	)
	wrapErrors(root)
	return root
}

// wrapErrors turns every error of a command into an exitError. Errors that stay
// unwrapped are cobra's own, and are about the command line: a command that only has
// others below it refuses words that name none of them.
func wrapErrors(c *cobra.Command) {
	for _, sub := range c.Commands() {
		wrapErrors(sub)
	}
	if c.RunE == nil && c.HasParent() {
		c.Args = cobra.NoArgs
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	if c.RunE == nil {
		return
	}
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		err := run(c, args)
		if _, ok := errors.AsType[*exitError](err); !ok {
			return fail(codeOf(err), err)
		}
		return err
	}
}

// loadConfig reads the configuration. In the service it returns the service's own.
func (a *app) loadConfig() (*config.Config, error) {
	if a.daemon != nil {
		return a.daemon.current(), nil
	}
	c, err := config.Load(a.configPath, a.lookupEnv)
	return c, fail(exitUsage, err)
}

// How a command opens the ledger.
const (
	toRead  = true
	toWrite = false
)

// withLedger opens the ledger, toRead or toWrite, and calls f. If a service holds the
// ledger, the service runs the whole command and f is not called here: call withLedger
// before the command does anything else, and return at once if it fails.
func (a *app) withLedger(readOnly bool, f func(*config.Config, ledger) error) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if a.daemon != nil {
		return f(c, a.daemon.ledger)
	}
	if c.State.URL == "" { // a database is shared, without the service's help
		if code, err := a.callService(c, a.args, a.stdout); !errors.Is(err, control.ErrNobody) {
			return &exitError{code, err} // even with code 0: the service has run the command
		}
	}
	l, err := openLedger(a.stop, c, readOnly)
	if err != nil {
		return err
	}
	return errors.Join(f(c, l), l.Close())
}

// logger writes to w, which is stderr or, while a progress bar is shown, the bar.
func (a *app) logger(c config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	handler := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, options) }
	if c.Format == "json" || c.Format == "auto" && !isTerminal(a.stderr) {
		handler = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, options) }
	}
	if toJournald(w, a.lookupEnv) {
		return slog.New(newJournald(w, handler))
	}
	return slog.New(handler(w))
}

// callService lets the service that holds the ledger run a command.
func (a *app) callService(c *config.Config, args []string, stdout io.Writer) (code int, err error) {
	path, err := filepath.Abs(a.configPath)
	if err != nil {
		return exitUnexpected, err
	}
	r := control.Request{
		Version: version(), Config: path, Args: args,
		StdoutTerminal: isTerminal(stdout), StderrTerminal: isTerminal(a.stderr), Person: a.person,
	}
	code, err = control.Call(a.stop, socketPath(c), r, control.Local{Stdin: a.stdin, Stdout: stdout, Stderr: a.stderr, Create: a.createAsked, Open: a.openAsked})
	if err != nil {
		code = exitTemporary
	}
	return code, err
}

// createAsked creates a file for the service, but only if the command line names it:
// the caller may be root, and the service must not gain root's rights.
func (a *app) createAsked(path string) (control.File, error) {
	asked := func(arg string) bool { return strings.HasSuffix(arg, path) }
	if path != filepath.Base(path) && !slices.ContainsFunc(a.args, asked) {
		return nil, fmt.Errorf("create %s: the command line does not name it", path)
	}
	return a.create(path)
}

// openAsked opens a file for the service, but only if the command line names it.
func (a *app) openAsked(path string) (io.ReadCloser, error) {
	asked := func(arg string) bool {
		return arg == path || strings.HasPrefix(arg, "--") && strings.HasSuffix(arg, "="+path)
	}
	if !slices.ContainsFunc(a.args, asked) {
		return nil, fmt.Errorf("open %s: the command line does not name it", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err // f as a ReadCloser would not be nil
	}
	return f, nil
}

// readFile reads a file of at most most bytes.
func readFile(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("read %s: it has more than %d bytes", path, most)
	}
	return text, err
}

// socketPath is the control socket of the service that holds the ledger.
func socketPath(c *config.Config) string { return c.State.Path + ".sock" }

func isTerminal(w io.Writer) bool {
	switch w := w.(type) {
	case *os.File:
		return term.IsTerminal(int(w.Fd()))
	case *control.Output:
		return w.Terminal()
	}
	return false
}

// addJSON and addInbox declare flags that several commands share.
func (a *app) addJSON(c *cobra.Command) {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

func addInbox(c *cobra.Command) *fleet.Selection {
	s := &fleet.Selection{}
	c.Flags().Var((*filled)(&s.Org), "org", "only this organization, by its configured `name`")
	c.Flags().Var((*filled)(&s.Inbox), "inbox", "only this inbox, by its user `id`")
	return s
}

// printJSON writes one value, indented on a terminal.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	if isTerminal(a.stdout) {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
