package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state"
)

const defaultConfig = "/etc/archiverd/archiverd.yaml"

// app is what every command shares: the streams, the environment and the flags
// that all commands take.
type app struct {
	stdout, stderr io.Writer
	stop           context.Context // ends with the first SIGTERM or SIGINT
	lookupEnv      func(string) (string, bool)

	configPath string
	json       bool
}

// selection narrows a command to an organization or an inbox.
type selection struct{ org, inbox string }

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "archiverd",
		Short: "Archive Genesys Cloud user recordings into S3-compatible storage",
		Long: `archiverd empties Genesys Cloud users' recording inboxes into S3-compatible storage
for compliance retention: it lists each inbox, downloads every recording, uploads
it, proves that the stored bytes are the downloaded ones, writes the fact into its
ledger and, where asked, deletes the original.

Exit codes: 0 done, 1 unexpected error, 2 usage or configuration, 3 some recordings
or inboxes failed, 4 refused by Genesys, 5 temporary, 6 integrity, 7 ledger held by
another process.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.configPath, "config", defaultConfig, "configuration `file`")
	root.AddCommand(
		newRun(a), newStatus(a), newLs(a), newShow(a), newGet(a), newRetry(a), newConfig(a), newVersion(a),
	)
	return root
}

func (a *app) loadConfig() (*config.Config, error) {
	c, err := config.Load(a.configPath, a.lookupEnv)
	return c, fail(exitUsage, err)
}

// How a command opens the ledger.
const (
	toRead  = true
	toWrite = false
)

// withLedger opens the ledger, toRead or toWrite, for one command.
func (a *app) withLedger(readOnly bool, f func(*config.Config, *state.Ledger) error) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
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
	if c.Format == "json" || c.Format == "auto" && !isTerminal(a.stderr) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// addJSON and addSelection declare flags that several commands share.
func (a *app) addJSON(c *cobra.Command) {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
}

func addSelection(c *cobra.Command) *selection {
	s := &selection{}
	c.Flags().StringVar(&s.org, "org", "", "only this organization, by its configured `name`")
	c.Flags().StringVar(&s.inbox, "inbox", "", "only this inbox, by its user `id`")
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
