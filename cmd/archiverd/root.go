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
	"github.com/archiverd/archiverd/state/bolt"
)

const defaultConfig = "/etc/archiverd/archiverd.yaml"

// app is what every command shares: the streams, the environment and the flags
// that all commands take. It is the same for a command that runs in its own process
// and for one that the service runs for a caller.
type app struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	stop           context.Context                         // ends with the first SIGTERM or SIGINT
	create         func(path string) (control.File, error) // a file for whoever gave the command, at their side
	lookupEnv      func(string) (string, bool)
	daemon         *daemon         // the service that runs the command, or nil
	caller         *control.Caller // for whom it does; nil without a service

	configPath string
	json       bool
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "archiverd",
		Short: "Archive Genesys Cloud user recordings into S3-compatible storage",
		Long: `archiverd empties Genesys Cloud users' recording inboxes into S3-compatible storage
for compliance retention: it lists each inbox, downloads every recording, uploads
it, proves that the stored bytes are the downloaded ones, writes the fact into its
ledger and, where asked, deletes the original.

Exit codes: 0 done, 1 unexpected error, 2 usage or configuration, 3 some recordings
or inboxes failed, 4 refused by Genesys, 5 temporary, 6 integrity of the archive or of
the ledger, 7 ledger held by another process.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", defaultConfig, "configuration `file`")
	root.AddCommand(
		newRun(a), newLogin(a), newLogout(a), newInboxes(a), newStatus(a), newLs(a), newShow(a), newGet(a), newRetry(a), newVerify(a), newReconcile(a),
		newRebuild(a), newBackup(a), newDoctor(a), newConfig(a), newVersion(a), newMan(),
	)
	own(root)
	return root
}

// own tells the errors of commands from cobra's, which are about the command line.
func own(c *cobra.Command) {
	for _, sub := range c.Commands() {
		own(sub)
	}
	if c.RunE == nil {
		return
	}
	run := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		err := run(c, args)
		var e *exitError
		if !errors.As(err, &e) {
			return fail(codeOf(err), err)
		}
		return err
	}
}

// loadConfig reads the configuration. The service answers for its own.
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

// withLedger opens the ledger, toRead or toWrite, for one command. Where a service
// holds it, the whole command runs there instead of f: call this before anything else
// is done, and do nothing after it has failed.
func (a *app) withLedger(readOnly bool, f func(*config.Config, *bolt.Ledger) error) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if a.daemon != nil {
		return f(c, a.daemon.ledger)
	}
	if code, err := a.travel(c); !errors.Is(err, control.ErrNobody) {
		return &exitError{code, err} // also of 0: the command is done
	}
	l, err := openLedger(c, readOnly)
	if err != nil {
		return err
	}
	return errors.Join(f(c, l), l.Close())
}

// logger writes to stderr, or to w where progress owns the terminal.
func (a *app) logger(c config.Log, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	handler := func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, options) }
	if c.Format == "json" || c.Format == "auto" && !isTerminal(a.stderr) {
		handler = func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, options) }
	}
	if toJournald(w, a.lookupEnv) {
		return slog.New(newJournal(w, handler))
	}
	return slog.New(handler(w))
}

// travel has the service that holds the ledger run the command.
func (a *app) travel(c *config.Config) (code int, err error) {
	path, err := filepath.Abs(a.configPath)
	if err != nil {
		return exitUnexpected, err
	}
	r := control.Request{
		Version: version(), Config: path, Args: a.args,
		StdoutTerminal: isTerminal(a.stdout), StderrTerminal: isTerminal(a.stderr),
	}
	code, err = control.Call(a.stop, socketPath(c), r, control.Local{Stdin: a.stdin, Stdout: a.stdout, Stderr: a.stderr, Create: a.createAsked})
	if err != nil {
		code = exitTemporary
	}
	return code, err
}

// createAsked makes a file for the service, if the command line speaks of it: the
// caller may be root, and the service is not.
func (a *app) createAsked(path string) (control.File, error) {
	asked := func(arg string) bool { return strings.HasSuffix(arg, path) }
	if path != filepath.Base(path) && !slices.ContainsFunc(a.args, asked) {
		return nil, fmt.Errorf("create %s: the command line does not name it", path)
	}
	return a.create(path)
}

// socketPath is where the service that holds the ledger answers.
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

// addJSON and addSelection declare flags that several commands share.
func (a *app) addJSON(c *cobra.Command) {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

func addSelection(c *cobra.Command) *fleet.Selection {
	s := &fleet.Selection{}
	c.Flags().StringVar(&s.Org, "org", "", "only this organization, by its configured `name`")
	c.Flags().StringVar(&s.Inbox, "inbox", "", "only this inbox, by its user `id`")
	return s
}

// printJSON writes one value, indented where a person reads it.
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
