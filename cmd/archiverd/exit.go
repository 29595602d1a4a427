package main

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/state"
)

// Exit codes. They are a contract with service managers and CronJobs: see docs/operate.md.
const (
	exitOK         = 0
	exitUnexpected = 1 // unexpected, a panic included
	exitUsage      = 2 // usage or configuration: nothing was started
	exitFailed     = 3 // some recordings or inboxes failed, the rest is archived
	exitRefused    = 4 // Genesys refused the client, its scope, or every inbox
	exitTemporary  = 5 // unreachable, limited for too long, or stopped early
	exitIntegrity  = 6 // the archive is not what the ledger says, or the ledger is damaged
	exitHeld       = 7 // another process holds the ledger
)

// An exitError ends the process with a code. Without an error inside, everything
// has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// fail is an exitError, or nil for no error. A damaged ledger has the same code whatever
// came upon it.
func fail(code int, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrDamaged):
		code = exitIntegrity
	}
	return &exitError{code, err}
}

// recovered makes an error of a panic: Go's own exit code for one is 2, which says that
// the configuration needs a person. It is for a defer.
func recovered(stderr io.Writer, err *error) {
	if r := recover(); r != nil {
		fmt.Fprintf(stderr, "%s\n", debug.Stack())
		*err = fail(exitUnexpected, fmt.Errorf("panic: %v: this is a fault of archiverd: please report it with the lines above", r))
	}
}

// codeOf is the exit code of a command that ended with err.
func codeOf(err error) int {
	var e *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &e):
		return e.code
	}
	return exitUnexpected
}

// worst picks the exit code that stands for several.
func worst(codes []int) int {
	for _, c := range []int{exitIntegrity, exitUsage, exitHeld, exitRefused, exitTemporary, exitFailed, exitUnexpected} {
		if slices.Contains(codes, c) {
			return c
		}
	}
	return exitOK
}

// failures are an inbox's recordings that the ledger counts as failed. Those that
// need a person have been reported for a week, and are no news.
type failures struct{ news, needPerson int64 }

// runCode judges a run, given the failures of each inbox of the report.
func runCode(r *archiver.Report, failing []failures, strict bool) int {
	var codes []int
	refused := 0
	for i, in := range r.Inboxes {
		if len(in.Foreign)+len(in.Corrupt) > 0 {
			codes = append(codes, exitIntegrity)
		}
		if failing[i].news > 0 || strict && failing[i].needPerson > 0 {
			codes = append(codes, exitFailed)
		}
		if in.Short != "" {
			codes = append(codes, exitFailed)
		}
		switch archiver.KindOf(in.Err) {
		case archiver.KindNone:
		case archiver.KindNeedsLogin:
			refused++
			if strict {
				codes = append(codes, exitFailed)
			}
		case archiver.KindRefused:
			refused++
			codes = append(codes, exitFailed)
		case archiver.KindClientRefused:
			codes = append(codes, exitRefused)
		case archiver.KindTemporary, archiver.KindStopped:
			codes = append(codes, exitTemporary)
		case archiver.KindConfiguration:
			codes = append(codes, exitUsage)
		case archiver.KindLedger:
			codes = append(codes, codeOf(fail(exitUnexpected, in.Err)))
		case archiver.KindIntegrity:
			codes = append(codes, exitIntegrity)
		case archiver.KindFailed:
			codes = append(codes, exitFailed)
		}
	}
	if refused > 0 && refused == len(r.Inboxes) {
		codes = append(codes, exitRefused)
	}
	return worst(codes)
}
