package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
)

// decoder walks the tree of one file and collects its faults.
type decoder struct {
	dir       string // the file's directory, absolute
	lookupEnv func(string) (string, bool)
	faults    []Fault
	sections  []*section // all sections that were decoded
}

func (d *decoder) fault(at position, path, format string, args ...any) {
	d.faults = append(d.faults, Fault{at.line, at.column, path, fmt.Sprintf(format, args...)})
}

// section is one mapping. Keys that decoding never read are unknown keys.
type section struct {
	*decoder
	path    string
	at      position // of its key
	broken  bool     // not a mapping: its missing keys are not reported
	keys    []string // in the file's order
	entries map[string]value
	known   []string
}

// value is the value of a key in the file, which may be absent.
type value struct {
	*decoder
	path     string
	at       position // of the value; if absent, of the section
	key      position // of the key
	node     ast.Node // nil: absent
	required bool
}

// get returns the value of a key that may be absent.
func (s *section) get(key string) value {
	if !slices.Contains(s.known, key) {
		s.known = append(s.known, key)
	}
	if v, ok := s.entries[key]; ok {
		return v
	}
	return value{decoder: s.decoder, path: join(s.path, key), at: s.at, key: s.at}
}

// need returns the value of a key whose absence is a fault.
func (s *section) need(key string) value {
	v := s.get(key)
	v.required = !s.broken
	return v
}

func (v value) fault(format string, args ...any) { v.decoder.fault(v.at, v.path, format, args...) }

// faulty reports whether the value already has a fault, so that no other fault follows from it.
func (v value) faulty() bool {
	return slices.ContainsFunc(v.faults, func(f Fault) bool { return f.Path == v.path })
}

// absent reports whether the value is absent, and records the fault if it is required.
func (v value) absent(want string) bool {
	if v.node == nil && v.required {
		v.fault("missing; want %s", want)
	}
	return v.node == nil
}

// section returns the value as a mapping; an empty mapping if it is absent.
func (v value) section() *section {
	s := &section{decoder: v.decoder, path: v.path, at: v.key, entries: map[string]value{}}
	v.sections = append(v.sections, s)
	switch n := v.node.(type) {
	case nil:
	case *ast.MappingNode:
		for _, entry := range n.Values {
			s.add(entry)
		}
	default:
		s.broken = true
		v.mismatch("a mapping", n)
	}
	return s
}

func (s *section) add(entry *ast.MappingValueNode) {
	if s.isRefused(entry.Key) {
		return
	}
	key, at := entry.Key.GetToken().Value, positionOf(entry.Key.GetToken())
	path := join(s.path, key)
	if first, ok := s.entries[key]; ok {
		s.decoder.fault(at, path, "given a second time, first on line %d; keep one", first.key.line)
		return
	}
	s.keys = append(s.keys, key)
	s.entries[key] = value{decoder: s.decoder, path: path, at: startOf(entry.Value), key: at, node: entry.Value}
}

// list returns the value as a list; an empty list if it is absent.
func (v value) list(want string) []value {
	if v.absent(want) {
		return nil
	}
	n, ok := v.node.(*ast.SequenceNode)
	if !ok || v.required && len(n.Values) == 0 {
		v.mismatch(want, v.node)
		return nil
	}
	values := make([]value, len(n.Values))
	for i, element := range n.Values {
		at := startOf(element)
		values[i] = value{decoder: v.decoder, path: fmt.Sprintf("%s[%d]", v.path, i), at: at, key: at, node: element}
	}
	return values
}

// isRefused reports whether survey has recorded this node as one that the file may not have.
func (d *decoder) isRefused(n ast.Node) bool {
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode, *ast.MappingKeyNode, *ast.DirectiveNode:
		return true
	}
	return false
}

func (v value) mismatch(want string, n ast.Node) {
	if v.isRefused(n) {
		return
	}
	got := kindOf(n)
	if s, ok := n.(*ast.SequenceNode); ok && len(s.Values) == 0 {
		got = "an empty list"
	}
	v.fault("want %s, got %s", want, got)
}

// finish records the unknown keys as faults.
func (d *decoder) finish() {
	for _, s := range d.sections {
		for _, key := range s.keys {
			if slices.Contains(s.known, key) {
				continue
			}
			remedy := "known here: " + strings.Join(s.known, ", ")
			if near := nearest(key, s.known); near != "" {
				remedy = "did you mean " + near + "?"
			}
			v := s.entries[key]
			d.fault(v.key, v.path, "unknown key; %s", remedy)
		}
	}
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)

func join(path, key string) string {
	if !plainKey.MatchString(key) {
		key = shown(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// shown returns text from the file as a fault may show it. Text with spaces is not shown: after
// a forgotten colon or quote, the next line becomes part of the value, and it may be a secret.
func shown(text string) string {
	if len(text) > 60 || strings.ContainsFunc(text, unicode.IsSpace) {
		return "text that is long or has spaces"
	}
	return strconv.QuoteToGraphic(text)
}

// nearest returns the known key that was probably meant; empty: none.
func nearest(key string, known []string) string {
	best, least := "", min(len(key)/3+1, 4)
	for _, k := range known {
		if n := distance(key, k); n < least || n == least && best == "" {
			best, least = k, n
		}
	}
	return best
}

// distance returns the Levenshtein distance, in bytes, of keys of up to 60 bytes.
func distance(a, b string) int {
	if len(a) > 60 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
