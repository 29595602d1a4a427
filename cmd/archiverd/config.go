package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
)

func newConfig(a *app) *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Work with the configuration file"}
	check := &cobra.Command{
		Use:   "check",
		Short: "Read the configuration and report every fault, without any change or request",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.loadConfig()
			if a.json {
				return a.faultsJSON(err)
			}
			if err == nil {
				_, err = fmt.Fprintf(a.stdout, "%s: ok\n", a.configPath)
			}
			return err
		},
	}
	a.addJSON(check)
	c.AddCommand(check)
	return c
}

// faultsJSON prints the faults as data; the exit code is the same.
func (a *app) faultsJSON(loadErr error) error {
	out := struct {
		File   string         `json:"file"`
		Faults []config.Fault `json:"faults"`
	}{a.configPath, []config.Fault{}}
	if faults, ok := errors.AsType[*config.Error](loadErr); ok {
		out.Faults = faults.Faults
	}
	if err := a.printJSON(out); err != nil {
		return err
	}
	if loadErr != nil {
		return &exitError{code: exitUsage}
	}
	return nil
}
