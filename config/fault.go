package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error holds all faults of a configuration file.
type Error struct {
	File   string  // as given to Load
	Faults []Fault // at least one, sorted by line and column
}

// Fault is one fault to correct in the file.
type Fault struct {
	Line, Column int    // from 1; 0: the file as a whole. Columns count characters. For a missing key, the beginning of its section
	Path         string // such as organizations[0].format; empty: no key in particular
	Message      string // one line, with the remedy
}

// Error returns one line for each fault: file:line:column: path: message.
func (e *Error) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = e.File + f.String()
	}
	return strings.Join(lines, "\n")
}

// String returns the fault without the name of its file.
func (f Fault) String() string {
	s := ": " + f.Message
	if f.Path != "" {
		s = ": " + f.Path + s
	}
	if f.Line > 0 {
		s = fmt.Sprintf(":%d:%d%s", f.Line, f.Column, s)
	}
	return s
}

func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(a.Line-b.Line, a.Column-b.Column, strings.Compare(a.Path, b.Path))
	})
}
