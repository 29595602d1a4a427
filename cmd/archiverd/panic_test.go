package main

import (
	"bytes"
	"strings"
	"testing"
)

// panicking panics when it is written to.
type panicking struct{}

func (panicking) Write([]byte) (int, error) { panic("nobody expects this") }

// TestPanicExitsOne wants a panic of a command, its own or one that the service runs for a
// caller, to be an unexpected error, and never the exit code of a faulty configuration.
func TestPanicExitsOne(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{args: []string{"version"}, stdout: panicking{}, stderr: &stderr, stop: t.Context()}
	if code := a.execute(); code != exitUnexpected {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"nobody expects this", "please report it", "panic_test.go"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not in %s", want, stderr.String())
		}
	}
}
