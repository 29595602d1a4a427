package main

import (
	"errors"
	"slices"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/fleet"
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Exit codes. They are a contract with service managers and CronJobs: see docs/operate.md.
const (
	exitOK         = 0
	exitUnexpected = 1 // unexpected: a panic, or a ledger on a full or failing disk
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
// exitIntegrity, and one that can't be reached exitTemporary.
func fail(code int, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, state.ErrDamaged):
		code = exitIntegrity
	case errors.Is(err, state.ErrUnavailable):
		code = exitTemporary
	}
	return &exitError{code, err}
}

// codeOf returns the exit code of a command that ended with err.
func codeOf(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if errors.Is(err, state.ErrDamaged) {
		return exitIntegrity
	}
	if _, ok := errors.AsType[*fleet.UsageError](err); ok {
		return exitUsage
	}
	return codeOfKind(failure.KindOf(err))
}

// codeOfKind is the table of exit codes by who has to act. The functions below it make
// exceptions: storeCode, loginCode and runCode.
func codeOfKind(k failure.Kind) int {
	switch k {
	case failure.KindNone:
		return exitOK
	case failure.KindConfiguration:
		return exitUsage
	case failure.KindIntegrity:
		return exitIntegrity
	case failure.KindTemporary, failure.KindStopped:
		return exitTemporary
	case failure.KindRefused, failure.KindClientRefused, failure.KindNeedsLogin:
		return exitRefused
	}
	return exitUnexpected // KindLedger, most often a full disk, and KindFailed
}

// storeCode is codeOf for an error of a store that has worked before in this command. Then
// even a missing bucket counts as temporary: it may only be out of reach.
func storeCode(err error) int {
	_, ofStore := errors.AsType[*storage.Error](err)
	if ofStore && !errors.Is(err, storage.ErrAccess) && !errors.Is(err, storage.ErrHeader) {
		return exitTemporary
	}
	return codeOf(err)
}

// loginCode is codeOf for a login. Any reply of Genesys that is not temporary refuses the
// login. Without a reply, nobody logged in in time.
func loginCode(err error) int {
	_, replied := errors.AsType[*genesys.Error](err)
	if replied && failure.KindOf(err) != failure.KindTemporary {
		return exitRefused
	}
	return exitTemporary
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

// runCode returns the exit code of a run. failing has one value for each inbox of r. A
// failure of one inbox alone is exitFailed. A login that is needed counts only with strict.
func runCode(r *archiver.Report, failing []fleet.Failures, strict bool) int {
	var codes []int
	refused := 0
	for i, in := range r.Inboxes {
		if len(in.Foreign)+len(in.Corrupt) > 0 {
			codes = append(codes, exitIntegrity)
		}
		if failing[i].Recent > 0 || strict && failing[i].NeedPerson > 0 || in.Short != "" {
			codes = append(codes, exitFailed)
		}
		switch failure.KindOf(in.Err) {
		case failure.KindNeedsLogin:
			refused++
			if strict {
				codes = append(codes, exitFailed)
			}
		case failure.KindRefused:
			refused++
			codes = append(codes, exitFailed)
		case failure.KindFailed:
			codes = append(codes, exitFailed)
		default:
			codes = append(codes, codeOf(in.Err))
		}
	}
	if refused > 0 && refused == len(r.Inboxes) {
		codes = append(codes, exitRefused)
	}
	return worst(codes)
}
