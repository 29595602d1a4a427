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
	exitIntegrity  = 6 // the archive differs from the ledger, or the ledger is damaged
	exitHeld       = 7 // another process holds the ledger
)

// An exitError ends the process with a code. Without an error inside, nothing more is
// printed.
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

// fail returns err as an exitError, or nil for nil. A damaged ledger always has
// exitIntegrity.
func fail(code int, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrDamaged):
		code = exitIntegrity
	}
	return &exitError{code, err}
}

// recovered turns a panic into an error; call it with defer. Go's own exit code for a
// panic is 2, which here means a faulty configuration.
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

// worst returns the most severe of several exit codes.
func worst(codes []int) int {
	for _, c := range []int{exitIntegrity, exitUsage, exitHeld, exitRefused, exitTemporary, exitFailed, exitUnexpected} {
		if slices.Contains(codes, c) {
			return c
		}
	}
	return exitOK
}

// failures counts an inbox's failed recordings, by the ledger: needPerson are those
// that have been reported for a week, news are the others.
type failures struct{ news, needPerson int64 }

// runCode returns the exit code of a run. failing has one value for each inbox of r.
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
