// Command archiverd moves recordings from Genesys Cloud inboxes into S3-compatible
// storage, and proves that they are there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code. The first SIGTERM or
// SIGINT asks for a stop; a second one ends the process at once, by the signal's
// own default.
func execute(args []string, out, errOut io.Writer) int {
	stop, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	go func() {
		<-stop.Done()
		release()
	}()
	root := newRoot(&app{stdout: out, stderr: errOut, stop: stop, lookupEnv: os.LookupEnv})
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(context.Background())
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		if e.err != nil {
			fmt.Fprintln(errOut, "archiverd: "+strings.ReplaceAll(e.err.Error(), "\n", "\narchiverd: "))
		}
		return e.code
	}
	fmt.Fprintf(errOut, "archiverd: %v\nRun \"archiverd --help\" for usage.\n", err)
	return exitUsage // cobra's own errors are about the command line
}
