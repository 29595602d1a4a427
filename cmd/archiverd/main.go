// Command archiverd moves recordings from Genesys Cloud inboxes into S3-compatible
// storage, and proves that they are there.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/archiverd/archiverd/durable"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/service/control"
)

func main() {
	// An unrecovered panic ends the process with SIGABRT instead of exit code 2, and
	// leaves no core dump.
	debug.SetTraceback("crash")
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	os.Exit(execute(os.Args[1:]))
}

// execute runs one command line in a process of its own and returns its exit code.
// The first SIGTERM or SIGINT asks the command to stop. From then on signals have their
// default effect, so a second one kills the process.
func execute(args []string) int {
	stop, release := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer release()
	go func() {
		<-stop.Done()
		release()
	}()
	a := &app{
		args: args, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		stop: stop, create: create, readFile: readFile, lookupEnv: os.LookupEnv, person: osUser(os.LookupEnv),
	}
	return a.execute()
}

func create(path string) (control.File, error) {
	f, err := durable.Create(path)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// execute runs the command line and returns its exit code.
func (a *app) execute() int {
	root := newRoot(a)
	root.SetArgs(a.args)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	command := root
	err := func() (err error) {
		defer fleet.Recovered(a.stderr, &err)
		command, err = root.ExecuteContextC(context.Background())
		return err
	}()
	if errors.Is(err, fleet.ErrPanic) {
		err = fail(exitUnexpected, err)
	}
	e, ok := errors.AsType[*exitError](err)
	switch {
	case err == nil:
	case !ok: // cobra's own errors are about the command line
		fmt.Fprintf(a.stderr, "archiverd: %v\nRun \"%s --help\" for usage.\n", err, command.CommandPath())
		return exitUsage
	case e.err != nil:
		fmt.Fprintln(a.stderr, "archiverd: "+strings.ReplaceAll(e.err.Error(), "\n", "\narchiverd: "))
	}
	return codeOf(err)
}
